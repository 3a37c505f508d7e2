"""Adopts a `benchmark_history` that somebody else made: its rows and columns stay, and ours are added.

It happens once, when our tables are created; see schema.py. What is read from it and written to it is in history.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    VARCHAR,
    Connection,
    DateTime,
    Enum,
    Integer,
    Numeric,
    SmallInteger,
    String,
    insert,
    inspect,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn, SetColumnComment
from sqlalchemy.types import NumericCommon, TypeEngine

from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.tables import MOST, SHARED, benchmark_history

HISTORY = benchmark_history.name
_WIDTHS = {"task_type": 60, "model_name": 300}
_DIGITS = {"correctness_score": 3, "avg_latency_ms": 8, "speed_score": 8}
"""Digits before the point that a figure needs."""
_IN_POSTGRESQL = text(
    "SELECT relkind, pg_get_userbyid(relowner), pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class "
    "WHERE oid = 'benchmark_history'::regclass"
)
_IN_SQLITE = text("SELECT type, sql FROM sqlite_master WHERE lower(name) = 'benchmark_history'")
# Each is one statement, so that it is safe in a script as well.
_WIDEN = (
    "DO $do$ BEGIN ALTER TABLE benchmark_history ALTER COLUMN {} TYPE varchar({}); "
    "EXCEPTION WHEN feature_not_supported THEN NULL; END $do$"  # a view uses the column
)
_TAKEN_BACK = "DO $do$ BEGIN {}; RAISE SQLSTATE 'BP002'; EXCEPTION WHEN SQLSTATE 'BP002' THEN NULL; END $do$"
# A ranked row and one that is not, of two benchmarks.
_BEGAN = datetime(2000, 1, 1, tzinfo=UTC)
_TRIAL: dict[str, Any] = {"task_type": "trial", "model_name": "trial", "model": "trial"}
_RANKED: dict[str, Any] = {"correctness_score": 100.0, "avg_latency_ms": MOST, "speed_score": MOST, "rank": 1}
_UNRANKED: dict[str, Any] = {"correctness_score": 0.0, "avg_latency_ms": None, "speed_score": None, "rank": None}
_TRIALS = [
    _TRIAL | figures | {"benchmark_run_id": f"trial {day}", "benchmark_date": _BEGAN + timedelta(days=day)}
    for day, figures in enumerate((_RANKED, _UNRANKED))
]


class NotAdoptable(Exception):
    """The table cannot be adopted; the message is a clause that follows its name."""


def adopt(connection: Connection) -> None:
    """Add our columns and indexes to the table, and widen its names where no view forbids it.

    Raises `NotAdoptable` for a table of another owner, of another shape, or that refuses rows like ours.
    """
    _check_kind_and_owner(connection)
    present = _columns(connection)
    if found := list(_differences(present, connection.dialect.name == "sqlite")):
        raise NotAdoptable(_unlike("; ".join(found)))
    for column in benchmark_history.columns:
        if column.name in present:
            continue
        declared = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {HISTORY} ADD COLUMN {declared}")
        if column.comment and connection.dialect.supports_comments:
            connection.execute(SetColumnComment(column))
    for index in benchmark_history.indexes:
        index.create(connection, checkfirst=True)
    if connection.dialect.name == "postgresql":  # SQLite keeps to no width
        for name, width in _WIDTHS.items():
            kind = present[name]["type"]
            if isinstance(kind, VARCHAR) and kind.length is not None and kind.length < width:
                connection.exec_driver_sql(_WIDEN.format(name, width))
    _try_rows(connection)


def _try_rows(connection: Connection) -> None:
    """Insert rows like ours and take them back: constraints and triggers may refuse them, after hours of measuring."""
    rows = insert(benchmark_history).values(_TRIALS)
    trial = rows.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    try:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_TAKEN_BACK.format(trial))
        else:
            with connection.begin_nested() as nested:
                connection.exec_driver_sql(str(trial))
                nested.rollback()
    except DBAPIError as error:
        raise NotAdoptable(_unlike(f"it refuses rows like ours: {driver_message(error)}")) from None


def _unlike(why: str) -> str:
    return (
        f"bench_pipeline did not create and cannot adopt: {why}; change this, or rename it: "
        f"ALTER TABLE {HISTORY} RENAME TO earlier_history"
    )


def _check_kind_and_owner(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        kind, declared = connection.execute(_IN_SQLITE).one()
        options = declared.rpartition(")")[2].strip()  # STRICT, WITHOUT ROWID
        is_table = kind == "table" and not options
    else:
        kind, owner, is_owner = connection.execute(_IN_POSTGRESQL).one()
        is_table = kind == "r"
        if not is_owner:
            raise NotAdoptable(
                f"belongs to {owner}, and only its owner may add our columns: set BENCH_OWNER_URL to {owner}'s login "
                "and run `bench db install`, or let a superuser transfer the table to the login that installs"
            )
    if not is_table:
        raise NotAdoptable(_unlike("it is not an ordinary table"))


def _columns(connection: Connection) -> dict[str, Mapping[str, Any]]:
    """Return the columns by name. SQLite does not tell apart names that differ in case."""
    ignores_case = connection.dialect.name == "sqlite"
    found: list[Any] = inspect(connection).get_columns(HISTORY)
    return {column["name"].lower() if ignores_case else column["name"]: column for column in found}


def _differences(columns: Mapping[str, Mapping[str, Any]], is_sqlite: bool) -> Iterator[str]:
    if missing := [name for name in SHARED if name not in columns]:
        yield f"it has no column {', '.join(missing)}"
        return
    if not _counts_up(columns["benchmark_id"], is_sqlite):
        yield f"benchmark_id is not {'an INTEGER PRIMARY KEY' if is_sqlite else 'a whole number that counts up'}"
    for name in SHARED[1:]:
        kind = columns[name]["type"]
        if (needed := _needed(name, kind, is_sqlite)) is not None:
            yield f"{name} is {kind}, not {needed}"
    if "benchmark_run_id" not in columns:  # else it was adopted before
        for name in sorted(columns.keys() & set(benchmark_history.columns.keys()) - set(SHARED)):
            yield f"{name} is the name of a column of ours"


def _counts_up(column: Mapping[str, Any], is_sqlite: bool) -> bool:
    if not isinstance(column["type"], Integer):
        return False
    return column["primary_key"] == 1 if is_sqlite else bool(column["default"] or column.get("identity"))


def _needed(name: str, kind: TypeEngine[Any], is_sqlite: bool) -> str | None:
    """Return what the type of a column that others share needs to be; None when it is that."""
    if name in _DIGITS:
        return None if _holds(kind, 0 if is_sqlite else _DIGITS[name]) else "double precision"
    if name in _WIDTHS:
        return None if isinstance(kind, String) and not isinstance(kind, Enum) else "text"
    if name == "rank":
        return None if isinstance(kind, Integer) else "integer"
    return None if isinstance(kind, DateTime) or (is_sqlite and isinstance(kind, String)) else "a timestamp"


def _holds(kind: TypeEngine[Any], digits: int) -> bool:
    """Return whether a column of this type takes any figure with so many digits before the point."""
    if isinstance(kind, SmallInteger):
        return digits < 5
    if isinstance(kind, Numeric) and kind.precision is not None:
        return kind.precision - (kind.scale or 0) >= digits
    return isinstance(kind, Integer | NumericCommon)
