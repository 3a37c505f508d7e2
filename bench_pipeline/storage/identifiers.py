"""Names and texts as SQL takes them. The driver's own quoting would double a percent sign."""

from __future__ import annotations

from sqlalchemy import Engine, Table
from sqlalchemy.dialects import postgresql

from bench_pipeline.storage.own_schema import own_schema

_NAMES = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def quoted(name: str) -> str:
    """Return a name, in quotes where it needs them."""
    return _NAMES.quote(name)


def literal(value: str) -> str:
    """Return a text in quotes."""
    return "'" + value.replace("'", "''") + "'"


def formatted(table: Table) -> str:
    """Return the name of a table, with its schema if it states one."""
    return _NAMES.format_table(table)


def home(engine: Engine, schema: str | None = None) -> str:
    """Return the name of a schema, without one of the schema of our own tables."""
    return quoted(schema or own_schema(engine) or "public")


def in_schema(engine: Engine, name: str) -> str:
    """Return the name of a table of ours, or the signature of a function of ours, with its schema."""
    return f"{home(engine)}.{name}"


def relation(engine: Engine, table: Table) -> str:
    """Return the name of a table of production with its schema."""
    return f"{home(engine, table.schema)}.{quoted(table.name)}"
