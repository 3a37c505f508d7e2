"""The schema that holds our tables in PostgreSQL, whatever the search path of a login. SQLite has none.

Creating and migrating the tables is in schema.py.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

VERSION_TABLE = "benchmark_schema_version"
_FOUND = text("""
SELECT n.nspname, pg_catalog.pg_table_is_visible(c.oid) FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = :name AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND (
    pg_catalog.pg_table_is_visible(c.oid) OR (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
) ORDER BY n.nspname
""")
_EXISTS = text("SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = :name")


class NoOwnSchema(Exception):
    """There is no schema for our tables, or more than one; the message continues after the database's address."""


def in_own_schema(engine: Engine, stated: str | None) -> Engine:
    """Return the engine with our tables in their schema: the stated one, or else where they are.

    That is where the search path finds them, else the only schema in which this login can read them, else the first
    one of the search path, where they are created. Raises `NoOwnSchema`.
    """
    if engine.dialect.name == "sqlite":
        if stated is not None:
            raise NoOwnSchema("is SQLite, which has no schemas; remove BENCH_SCHEMA")
        return engine
    with engine.connect() as connection:
        schema = _stated(connection, stated) if stated is not None else _found(connection)
    return engine.execution_options(schema_translate_map={None: schema})


def own_schema(bound: Engine | Connection) -> str | None:
    """Return the schema of our tables; None for SQLite, and for an engine that was not bound to one."""
    schemas = bound.get_execution_options().get("schema_translate_map") or {}
    name: str | None = schemas.get(None)
    return name


def search_only(connection: Connection) -> None:
    """Let names without a schema mean our schema alone, until the transaction ends: for DDL that is written as text."""
    if (schema := own_schema(connection)) is not None:
        connection.execute(text("SELECT pg_catalog.set_config('search_path', :path, true)"), {"path": _quoted(schema)})


def _stated(connection: Connection, name: str) -> str:
    if not connection.scalar(_EXISTS, {"name": name}):
        raise NoOwnSchema(f"has no schema {name}; correct BENCH_SCHEMA, or create it as the owner of your tables")
    return name


def _found(connection: Connection) -> str:
    found = connection.execute(_FOUND, {"name": VERSION_TABLE}).all()
    names = [name for name, visible in found if visible] or [name for name, _ in found]
    if len(names) > 1:
        raise NoOwnSchema(f"has our tables in the schemas {', '.join(names)}; set BENCH_SCHEMA to one of them")
    first: str | None = names[0] if names else connection.scalar(text("SELECT pg_catalog.current_schema()"))
    if first is None:
        raise NoOwnSchema(
            "has our tables in no schema that this login may read, and its search_path names no schema that exists; "
            "run `bench db install` as the owner of the tables, with BENCH_SCHEMA"
        )
    return first


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
