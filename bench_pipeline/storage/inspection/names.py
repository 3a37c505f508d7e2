"""Names and texts as SQL takes them. The driver's own quoting would double a percent sign."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

_NAMES = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def quoted(name: str) -> str:
    """Return a name, in quotes where it needs them."""
    return _NAMES.quote(name)


def formatted(table: Table) -> str:
    """Return the name of a table, with its schema if it states one."""
    return _NAMES.format_table(table)


def literal(value: str) -> str:
    """Return a text in quotes."""
    return "'" + value.replace("'", "''") + "'"


def schema_keeper(owner: str) -> str:
    """Return who can act as the owner of a schema: that of public is a role which stands for the database's owner."""
    return "a superuser" if owner == "pg_database_owner" else owner
