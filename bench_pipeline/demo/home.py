"""Dagster's home for a person who has none: `.dagster` beside the data, with our `dagster.yaml`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg

_PACKAGE = Path(__file__).resolve().parent.parent
_SHIPPED = (_PACKAGE / "_dagster.yaml", _PACKAGE.parent / "dagster.yaml")


def open_instance() -> dg.DagsterInstance:
    """Open the instance of DAGSTER_HOME, which is `.dagster` unless it is set.

    Opening it once, alone, also makes its tables: several processes at once on a fresh SQLite home corrupt
    it (dagster-io/dagster issue 27390).
    """
    if not os.environ.get("DAGSTER_HOME"):
        home = Path(".dagster").absolute()
        home.mkdir(exist_ok=True)
        if not (home / "dagster.yaml").exists():
            shutil.copyfile(next(path for path in _SHIPPED if path.exists()), home / "dagster.yaml")
        os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.get()
