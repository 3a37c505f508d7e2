"""Schemas: where our tables are or would be created, and whether the logins find them there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import Connection, text

from bench_pipeline.storage.identifiers import quoted
from bench_pipeline.storage.inspection.findings import Finding, Stops
from bench_pipeline.storage.own_schema import VERSION_TABLE, own_schema

_SETTING = """
SELECT substr(s.entry, length('search_path=') + 1) FROM pg_db_role_setting d
CROSS JOIN LATERAL unnest(d.setconfig) AS s(entry)
WHERE s.entry LIKE 'search_path=%' AND d.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = :role))
    AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY d.setrole = 0, d.setdatabase = 0 LIMIT 1
"""
_ORDINARY = '"$user", public'
_ENTRY = re.compile(r'"((?:[^"]|"")*)"|([^,\s]+)')
_HOMES = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = :table AND c.relkind = 'r' ORDER BY 1
"""
_SCHEMA = """
SELECT pg_get_userbyid(nspowner), has_schema_privilege(CAST(:role AS name), oid, 'CREATE')
FROM pg_namespace WHERE nspname = :schema
"""


def schema_keeper(owner: str) -> str:
    """Return who can act as the owner of a schema: that of public is a role which stands for the database's owner."""
    return "a superuser" if owner == "pg_database_owner" else owner


def search_path(connection: Connection, role: str) -> tuple[str, ...]:
    """Return the schemas that exist in a role's search path, in their order: this login's own, or as settings say."""
    if role == connection.scalar(text("SELECT current_user")):
        return tuple(connection.scalar(text("SELECT CAST(current_schemas(false) AS text[])")) or ())
    stated = connection.scalar(text(_SETTING), {"role": role}) or _ORDINARY
    names = [inside.replace('""', '"') or plain.lower() for inside, plain in _ENTRY.findall(stated)]
    names = [role if name == "$user" else name for name in names]
    existing = set(connection.scalars(text("SELECT nspname FROM pg_namespace")))
    return tuple(dict.fromkeys(name for name in names if name in existing))


def our_schemas(connection: Connection) -> tuple[str, ...]:
    """Return the schemas that hold tables of ours, whether or not this login's search path names them."""
    return tuple(connection.scalars(text(_HOMES), {"table": VERSION_TABLE}))


def may_read_version(connection: Connection) -> bool:
    """Whether this login sees our tables and may read their version."""
    query = "SELECT has_table_privilege(to_regclass(:table), 'SELECT')"
    name = f"{quoted(own_schema(connection) or 'public')}.{VERSION_TABLE}"
    return bool(connection.scalar(text(query), {"table": name}))


def creation(connection: Connection, owner: str, path: tuple[str, ...]) -> Iterator[Finding]:
    """Find whether the owner of conversations may create our tables, in the first schema of its search path."""
    if not path:
        yield Finding(
            Stops.PROMOTION,
            f"the search path of {owner} names no schema that exists, so there is no place for our tables",
            f"as a superuser: `CREATE SCHEMA {quoted(owner)} AUTHORIZATION {quoted(owner)}`",
        )
        return
    holder, may = connection.execute(text(_SCHEMA), {"role": owner, "schema": path[0]}).one()
    if not may:
        yield Finding(
            Stops.PROMOTION,
            f"{owner} owns conversations but lacks the right CREATE on the schema {path[0]}, where our tables go",
            f"as {schema_keeper(holder)}: `GRANT CREATE ON SCHEMA {quoted(path[0])} TO {quoted(owner)}`",
        )
