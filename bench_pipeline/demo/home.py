"""Dagster's home: DAGSTER_HOME, or else `.dagster` in this folder with our `dagster.yaml`. Starts no process."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from bench_pipeline.domain.errors import InputError

_PACKAGE = Path(__file__).resolve().parent.parent
_SHIPPED = (_PACKAGE / "_dagster.yaml", _PACKAGE.parent / "dagster.yaml")


def dagster_home() -> Path:
    """Return DAGSTER_HOME; if it is not set, create `.dagster` and update its `dagster.yaml`."""
    if given := os.environ.get("DAGSTER_HOME"):
        home = Path(given)
        if not (home.is_absolute() and home.is_dir()):
            raise InputError(f"DAGSTER_HOME={given}: must be the absolute path of an existing folder; create it first")
        return home
    home = Path(".dagster").absolute()
    home.mkdir(exist_ok=True)
    ours = next(path for path in _SHIPPED if path.exists()).read_text(encoding="utf-8")
    configuration = home / "dagster.yaml"
    if not configuration.exists() or configuration.read_text(encoding="utf-8") != ours:
        configuration.write_text(ours, encoding="utf-8")
    return home


def open_instance(home: Path) -> dg.DagsterInstance:
    """Open the instance of a home.

    Opening it once, alone, also creates its tables: several processes that open a fresh SQLite home at once
    corrupt it (dagster-io/dagster issue 27390).
    """
    return dg.DagsterInstance.from_config(str(home))  # `get()` reads the variable, which may not be set
