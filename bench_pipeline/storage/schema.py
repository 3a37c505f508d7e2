"""The schema version of our tables: created directly in a new database, migrated in an older one.

The tables themselves are in tables.py, the steps between versions in migrations/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, event, inspect, select, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.storage import sql_triggers  # noqa: F401 - its listeners add them when the tables are created
from bench_pipeline.storage.adoption import HISTORY, NotAdoptable, adopt
from bench_pipeline.storage.own_schema import VERSION_TABLE, own_schema, search_only
from bench_pipeline.storage.tables import metadata

SCHEMA_VERSION = "0011"
MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True, nullable=False))
NO_RIGHT = ("42501", "25006")
"""SQLSTATE of a missing privilege and of a read-only session."""
_READS = re.compile(r"\s*SELECT\b", re.IGNORECASE)
REMEDY = "log in as the recorder, and run `bench db install` as the owner of the tables"


class SchemaRefused(Exception):
    """This program cannot use the database's tables; the message continues after its address."""


def is_ours(name: str | None, kind: str, parents: object) -> bool:  # noqa: ARG001 - Alembic's signature
    """Whether Alembic may compare this object; it must ignore the application's tables."""
    return kind != "table" or name in metadata.tables


@contextmanager
def begin_immediate(engine: Engine) -> Iterator[Connection]:
    """Yield a transaction that holds the write lock from its first statement (SQLite: BEGIN IMMEDIATE)."""
    with engine.connect() as raw, raw.execution_options(immediate=True) as connection, connection.begin():
        yield connection


def bring_up_to_date(engine: Engine) -> None:
    """Create our tables, or migrate them to this program's version.

    Raises `SchemaRefused` for tables of a newer version, for foreign tables with our names, and for a login that
    lacks the privilege to create or migrate them.
    """
    with engine.connect() as connection:
        if version_of(connection) == SCHEMA_VERSION:
            return
    try:
        with begin_immediate(engine) as connection:
            _make_or_migrate(connection)
    except DBAPIError as error:
        raise _told(error) from None


def pending_statements(engine: Engine) -> list[str]:
    """Return what `bring_up_to_date` would execute on PostgreSQL, as statements without parameters. Changes nothing.

    It is executed in a transaction that is rolled back, because a migration depends on the rows that it finds.
    Raises as `bring_up_to_date` does.
    """
    noted: list[str] = []
    with engine.connect() as connection, connection.begin() as transaction:
        if version_of(connection) == SCHEMA_VERSION:
            return []
        event.listen(connection, "before_cursor_execute", _noting(noted))
        try:
            _make_or_migrate(connection)
        except DBAPIError as error:
            raise _told(error) from None
        finally:
            transaction.rollback()
    return noted


def _noting(noted: list[str]) -> Callable[..., None]:
    def note(_connection: object, cursor: Any, statement: str, parameters: Any, *_: object) -> None:  # noqa: ANN401 - the driver's
        if _READS.match(statement) is None or "setval(" in statement:
            each = parameters if isinstance(parameters, list) else [parameters]
            noted.extend(cursor.mogrify(statement, one).decode().strip() for one in each)

    return note


def _told(error: DBAPIError) -> Exception:
    if getattr(error.orig, "pgcode", None) in NO_RIGHT:
        return SchemaRefused(f"needs our tables in version {SCHEMA_VERSION}, which this login may not create; {REMEDY}")
    return error


def _make_or_migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('bench_pipeline:schema'))"))
        search_only(connection)
    version = version_of(connection)
    if version is None:
        _create(connection)
    elif version != SCHEMA_VERSION:
        upgrade(connection)


def _create(connection: Connection) -> None:
    # Importing Alembic would cost 0.2 s of the first run; a test checks that migrations give the same tables.
    seen = inspect(connection)
    taken = sorted(name for name in metadata.tables if seen.has_table(name, own_schema(connection)))
    if others := [name for name in taken if name != HISTORY]:
        raise SchemaRefused(f"has a table {', '.join(others)} that bench_pipeline did not create; rename it")
    if taken:
        try:
            search_only(connection)  # its DDL is text
            adopt(connection)
        except NotAdoptable as why:
            raise SchemaRefused(f"has a table {HISTORY} that {why}") from None
    metadata.create_all(connection, [table for table in metadata.sorted_tables if table.name not in taken], False)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=SCHEMA_VERSION))


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations up to a version. Raises `SchemaRefused` when the database has an unknown version."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise SchemaRefused(f"was created by a newer version; update bench_pipeline ({error})") from None


def version_of(connection: Connection) -> str | None:
    """Return the version of our tables; None where this login sees none."""
    if not inspect(connection).has_table(VERSION_TABLE, own_schema(connection)):
        return None
    version: str | None = connection.scalar(select(_VERSION.c.version_num))
    return version
