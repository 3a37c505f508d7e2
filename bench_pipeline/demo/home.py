"""Dagster's home: DAGSTER_HOME, or else `.dagster` in this folder with our `dagster.yaml`. Starts no process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import dagster as dg

from bench_pipeline.domain.errors import InputError
from bench_pipeline.operation.pools import set_limits

_PACKAGE = Path(__file__).resolve().parent.parent
_SHIPPED = (_PACKAGE / "_dagster.yaml", _PACKAGE.parent / "dagster.yaml")


def dagster_home() -> Path:
    """Return DAGSTER_HOME; if it is not set, create `.dagster` and update its `dagster.yaml`.

    Raises `InputError` when the folder cannot be used.
    """
    if given := os.environ.get("DAGSTER_HOME"):
        return _checked(given)
    home = Path(".dagster")
    try:
        home = home.absolute()  # fails in a folder that was deleted
        home.mkdir(exist_ok=True)
        ours = next(path for path in _SHIPPED if path.exists()).read_bytes()
        configuration = home / "dagster.yaml"
        if not configuration.exists() or configuration.read_bytes() != ours:
            configuration.write_bytes(ours)
    except OSError as error:
        raise InputError(
            f"{home}: cannot be written: {error.strerror}; correct that or set DAGSTER_HOME to a folder that can"
        ) from None
    return home


def _checked(given: str) -> Path:
    home = Path(given)
    if not home.is_absolute():
        # A shell removes quotes and expands ~; an env file or a service's unit keeps them.
        bare = given.strip("'\"")
        meant = Path(bare).expanduser() if bare.startswith("~/") else Path(bare)
        raise InputError(f"DAGSTER_HOME={given}: must be an absolute path; write DAGSTER_HOME={meant.absolute()}")
    if not home.is_dir():
        problem = "is not a folder" if home.exists() else "does not exist"
        raise InputError(f"DAGSTER_HOME={given}: {problem}; create it (mkdir -p) or name an existing folder")
    try:
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        raise InputError(
            f"DAGSTER_HOME={given}: cannot be written: {error.strerror}; correct that or name another folder"
        ) from None
    return home


def open_instance(home: Path) -> dg.DagsterInstance:
    """Open the instance of a home. Raises `InputError` when its `dagster.yaml` or its storage cannot be used.

    Opening it once, alone, also creates its tables and sets the limits of its pools: several processes that open a
    fresh SQLite home at once corrupt it (dagster-io/dagster issue 27390).
    """
    try:
        instance = dg.DagsterInstance.from_config(str(home))  # `get()` reads the variable, which may not be set
        set_limits(instance)
    except Exception as error:  # noqa: BLE001 - YAML, plugins, databases: whatever the file names can fail in its own way
        cause = str(error).partition("\n")[0].rstrip(".")
        raise InputError(
            f"{home}: Dagster cannot open its instance: {cause}; correct dagster.yaml there or set DAGSTER_HOME"
        ) from None
    return instance
