"""Finds the application's tables and columns under their names, in the schema where they really are.

Which names are looked for is in domain/mapping/names.py; what is read from the tables is in production.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Connection, Enum, Float, MetaData, Table, inspect, select, text
from sqlalchemy.exc import SAWarning
from sqlalchemy.types import NullType, TypeEngine

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import (
    KEYS,
    KNOWN_NAMES,
    OPTIONAL,
    OPTIONAL_COLUMNS,
    REQUIRED,
    Names,
    column_name,
    table_name,
    written_relation,
)
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.identifiers import formatted, quoted
from bench_pipeline.storage.production_keys import KeyKind, ProductionKey, key_type, type_name

_JOINED = (
    ("conversations.actor_id", "actors.actor_id"),
    ("workflow_conversations.workflow_id", "workflows.workflow_id"),
    ("workflow_conversations.conversation_id", "conversations.conversation_id"),
)
"""References, and the ids that the database compares them with."""
_FIND = """
SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = :name AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%'
    AND n.nspname <> 'information_schema' AND {where} ORDER BY n.nspname
"""
_VISIBLE = text(_FIND.format(where="pg_catalog.pg_table_is_visible(c.oid)"))
_IN_SCHEMA = text(_FIND.format(where="n.nspname = :schema"))
_ANYWHERE = text(_FIND.format(where="true"))
_VIEW = "make a view with the columns that are needed, and name it in BENCH_PRODUCTION_NAMES"


def find_tables(database: Database, names: Names) -> dict[str, Table]:
    """Return the tables by our names; each has its real schema, and its columns have our keys.

    Raises `InputError` with every table and column that is missing, and for ids of a type that cannot be one.
    """
    if unknown := sorted(names.keys() - KNOWN_NAMES):
        raise InputError(
            f"BENCH_PRODUCTION_NAMES: unknown {', '.join(unknown)}; use names from {', '.join(sorted(KNOWN_NAMES))}"
        )
    faults: list[str] = []
    tables: dict[str, Table] = {}
    with database.engine.connect() as connection:
        for table in REQUIRED | OPTIONAL:
            found = _find_table(connection, names, table, faults)
            if found is not None:
                tables[table] = found
    if faults:
        raise InputError(
            f"{database.name} lacks {', '.join(faults)}; set BENCH_DATABASE_URL to your production database, "
            "BENCH_PRODUCTION_NAMES to your names (`bench db map` proposes them), or run `bench demo` to create a "
            "database to try"
        )
    with database.engine.connect() as connection:
        _check_keys(connection, tables)
    return tables


def has_table(connection: Connection, names: Names, table: str) -> bool:
    """Return whether a table exists under its name."""
    return _located(connection, *table_name(names, table)) is not None


def _find_table(connection: Connection, names: Names, table: str, faults: list[str]) -> Table | None:
    """Return a table with its columns, or None without it; add to `faults` what is missing and needed."""
    stated, real_name = table_name(names, table)
    needed = table in REQUIRED or any(name.partition(".")[0] == table for name in names)
    located = _located(connection, stated, real_name)
    if located is None:
        if needed:
            faults.append(f"table {written_relation(stated, real_name)}{_elsewhere(connection, stated, real_name)}")
        return None
    (schema,) = located
    live = live_columns(connection, schema, real_name)
    real = {column: column_name(names, table, column) for column in (REQUIRED | OPTIONAL)[table]}
    extra = {column: column_name(names, table, column) for column in OPTIONAL_COLUMNS.get(table, ())}
    faults += [
        f"column {real_name}.{name}"
        for column, name in extra.items()
        if name not in live and f"{table}.{column}" in names
    ]
    missing = [f"column {real_name}.{name}" for name in real.values() if name not in live]
    if missing and needed:
        faults += missing
    if missing:
        return None
    here = {key: name for key, name in (real | extra).items() if name in live}
    kept_as = _stored_kinds(connection, schema, real_name, {n: live[n] for key, n in here.items() if key in KEYS})
    columns = [
        Column(name, _type_of(connection, live[name], kept_as.get(name)) if key in KEYS else live[name], key=key)
        for key, name in here.items()
    ]
    return Table(real_name, MetaData(), *columns, schema=schema)


def live_columns(connection: Connection, schema: str | None, table: str) -> dict[str, TypeEngine[Any]]:
    """Return the types of a table's columns by their names; an unknown type is `NullType`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Did not recognize type", SAWarning)
        columns = inspect(connection).get_columns(table, schema=schema)
    return {column["name"]: column["type"] for column in columns}


def _located(connection: Connection, schema: str | None, name: str) -> tuple[str | None] | None:
    """Return the schema that holds a table, in a tuple because SQLite's is None; None if there is no such table."""
    if connection.dialect.name == "sqlite":
        return (schema,) if inspect(connection).has_table(name, schema=schema) else None
    if schema is None:
        found = connection.scalars(_VISIBLE, {"name": name}).first()
    else:
        found = connection.scalars(_IN_SCHEMA, {"name": name, "schema": schema}).first()
    return None if found is None else (found,)


def _elsewhere(connection: Connection, schema: str | None, name: str) -> str:
    """Return where a table of this name is that the search path does not lead to."""
    if schema is not None or connection.dialect.name == "sqlite":
        return ""
    found = [written_relation(one, name) for one in connection.scalars(_ANYWHERE, {"name": name})]
    return f" in the search path (write {' or '.join(found)})" if found else ""


def _stored_kinds(
    connection: Connection, schema: str | None, table: str, keys: Mapping[str, TypeEngine[Any]]
) -> dict[str, KeyKind]:
    """Return what SQLite's columns without a declared type hold, by their names."""
    kinds: dict[str, KeyKind] = {}
    for name in (name for name, kind in keys.items() if isinstance(kind, NullType)):
        if connection.dialect.name != "sqlite":
            continue
        column: Column[Any] = Column(name)
        query = select(column).select_from(Table(table, MetaData(), column, schema=schema))
        value = connection.scalar(query.where(column.is_not(None)).limit(1))
        kinds[name] = "text" if isinstance(value, str) else "any"
    return kinds


def _type_of(connection: Connection, native: TypeEngine[Any], stored: KeyKind | None) -> TypeEngine[Any]:
    return key_type(native, connection.dialect.name, stored) or native


def _check_keys(connection: Connection, tables: Mapping[str, Table]) -> None:
    if faults := [*_no_keys(connection, tables), *_unlike_keys(connection, tables)]:
        raise InputError("\n".join(faults))


def _no_keys(connection: Connection, tables: Mapping[str, Table]) -> Iterator[str]:
    for table in tables.values():
        for column in table.columns:
            if column.key in KEYS and not isinstance(column.type, ProductionKey):
                usable = "bigint" if isinstance(column.type, Float) else "text"
                problem = f"{place(column)} is {type_name(column.type)}, which cannot be an id"
                yield f"{problem}; {_VIEW}{_retyped(connection, column, usable)}"


def _unlike_keys(connection: Connection, tables: Mapping[str, Table]) -> Iterator[str]:
    for reference, key in _JOINED:
        one, other = (_column(tables, name) for name in (reference, key))
        if one is None or other is None or not _differ(one, other):
            continue
        problem = f"{place(one)} is {_shown(one)}, but {place(other)} is {_shown(other)}, so they cannot be compared"
        yield f"{problem}; {_VIEW}{_retyped(connection, one, _shown(other))}"


def _retyped(connection: Connection, column: Column[Any], usable: str) -> str:
    """Return the statement that gives a column of a table another type; views and SQLite have none."""
    table = column.table
    if connection.dialect.name == "sqlite" or table.name in inspect(connection).get_view_names(table.schema):
        return ""
    name = quoted(column.name)
    statement = f"ALTER TABLE {formatted(table)} ALTER COLUMN {name} TYPE {usable} USING {name}::{usable}"
    return f", or as the owner of the table: `{statement}`"


def _column(tables: Mapping[str, Table], name: str) -> Column[Any] | None:
    table, _, column = name.partition(".")
    return tables[table].c[column] if table in tables else None


def _shown(column: Column[Any]) -> str:
    return column.type.shown if isinstance(column.type, ProductionKey) else type_name(column.type)


def _differ(one: Column[Any], other: Column[Any]) -> bool:
    """Whether the ids of two columns cannot be the same."""
    if not (isinstance(one.type, ProductionKey) and isinstance(other.type, ProductionKey)):
        return False
    kinds = {
        (key.kind, key.shown if isinstance(key.native, Enum) else "")
        for key in (one.type, other.type)
        if key.kind != "any"
    }
    return len(kinds) > 1


def place(column: Column[Any]) -> str:
    """Return table and column as a message names them."""
    return f"table {column.table.name}, column {column.name}"
