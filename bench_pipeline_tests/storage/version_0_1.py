"""What version 0.1 left behind: a SQLite database, the same in PostgreSQL under its two roles, and the task.

The files in `golden/version_0_1` were made by version 0.1 itself (schema 0003), through its own commands against the
fake Ollama server: four benchmarks of the task `grading`; promotion 1, validated, and rollback 2 of it; a freeze and
a thaw; promotion 3, validated; failover 4; and a plan for conversation 3339 that is approved but not applied yet.
Conversation 3339 was edited by hand in between. `database.sql` is SQLite's dump of the file, and `install.sql` the
output of `bench db install --sql`. They are never made again: a later version cannot make them.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, event, inspect, text

from bench_pipeline.storage.schema import VERSION_TABLE, upgrade

GOLDEN = Path(__file__).parent / "golden" / "version_0_1"
SCHEMA = "0003"
GRADE_A, GRADE_B, REGRADE = 3336, 3337, 3339
FAST, SLOW = 1, 2
BENCHMARKS = (
    "grading-20261125T134952Z-175f",
    "grading-20261125T134958Z-f18e",
    "grading-20261125T135012Z-8294",
    "grading-20261125T135021Z-54bc",
)
CHANGES = ((1, "promotion"), (2, "rollback"), (3, "promotion"), (4, "failover"))
DECISIONS = range(1, 16)
APPROVED = "8318c74ed2216787a7ecef7ea6bf151bcb971904dfc7c97243c069dd0fe3059f"
"""The plan that is approved and not applied."""
Rows = Mapping[str, list[tuple[Any, ...]]]


def write_task_of_old(folder: Path, golden: Path = GOLDEN) -> None:
    """Write the task as it was measured."""
    shutil.copytree(golden / "grading", folder / "testcases" / "grading")


def write_sqlite(file: Path, golden: Path = GOLDEN) -> None:
    """Write the database file."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((golden / "database.sql").read_text(encoding="utf-8"))


def rows_of_sqlite(file: Path) -> Rows:
    """Every row of every table, in a fixed order."""
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}  # noqa: S608


def fill_postgresql(url: str, scratch: Path, golden: Path = GOLDEN, schema: str = SCHEMA) -> None:
    """Make that version in the empty database at `url`: tables, rows, function and roles.

    All moments are moved so that the last approval is given now: the approved plan may still be applied.
    """
    file = scratch / f"{golden.name}.db"
    write_sqlite(file, golden)
    engine = create_engine(url)
    with engine.begin() as connection:
        _make_production(connection, file)
        upgrade(connection, schema)
        _copy(connection, file)
        connection.exec_driver_sql((golden / "install.sql").read_text(encoding="utf-8").replace("%", "%%"))
    engine.dispose()


def _make_production(connection: Connection, file: Path) -> None:
    source = create_engine(f"sqlite:///{file}")
    production = MetaData()
    event.listen(production, "column_reflect", _take_any_dialects_type)
    production.reflect(source, only=lambda name, _: not name.startswith("benchmark_"))
    source.dispose()
    production.create_all(connection)


def _take_any_dialects_type(_inspector: object, _table: object, column: dict[str, Any]) -> None:
    column["type"] = column["type"].as_generic()


def _copy(connection: Connection, file: Path) -> None:
    tables = MetaData()
    tables.reflect(connection)
    with closing(sqlite3.connect(file)) as source:
        (last,) = source.execute("SELECT max(approved_at) FROM benchmark_approvals").fetchone()
        later = datetime.now(UTC) - _moment(last)
        for table in tables.sorted_tables:
            if table.name == VERSION_TABLE:
                continue
            names = ", ".join(column.name for column in table.columns)
            kinds = [str(column.type) for column in table.columns]
            marks = ", ".join(["%s"] * len(kinds))
            for row in source.execute(f"SELECT {names} FROM {table.name}"):  # noqa: S608
                values = tuple(_as_postgresql(*pair, later) for pair in zip(kinds, row, strict=True))
                connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", values)  # noqa: S608
            _go_on_counting(connection, table.name)


def _as_postgresql(kind: str, value: Any, later: timedelta) -> Any:  # noqa: ANN401 - a value of any column
    if value is None:
        return None
    if kind == "BOOLEAN":
        return bool(value)
    return _moment(value) + later if kind == "TIMESTAMP" else value


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


def _go_on_counting(connection: Connection, table: str) -> None:
    for key in inspect(connection).get_pk_constraint(table)["constrained_columns"]:
        sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:table, :key)"), {"table": table, "key": key})
        if sequence:
            connection.exec_driver_sql(f"SELECT setval('{sequence}', max({key})) FROM {table}")  # noqa: S608
