"""The schema version of our tables: created directly in a new database, migrated in an older one.

The tables themselves are in tables.py, the steps between versions in migrations/.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.storage.tables import metadata

SCHEMA_VERSION = "0006"
MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = Table(
    "benchmark_schema_version", MetaData(), Column("version_num", String(32), primary_key=True, nullable=False)
)
VERSION_TABLE = _VERSION.name
NO_RIGHT = ("42501", "25006")
"""SQLSTATE of a missing privilege and of a read-only session."""
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
        if getattr(error.orig, "pgcode", None) in NO_RIGHT:
            raise SchemaRefused(
                f"needs our tables in version {SCHEMA_VERSION}, which this login may not create; {REMEDY}"
            ) from None
        raise


def _make_or_migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('bench_pipeline:schema'))"))
    version = version_of(connection)
    if version is None:
        _create(connection)
    elif version != SCHEMA_VERSION:
        upgrade(connection)


def _create(connection: Connection) -> None:
    # Importing Alembic would cost 0.2 s of the first run; a test checks that migrations give the same tables.
    if taken := sorted(metadata.tables.keys() & set(inspect(connection).get_table_names())):
        raise SchemaRefused(f"has a table {', '.join(taken)} that bench_pipeline did not create; rename it")
    metadata.create_all(connection, checkfirst=False)
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
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(select(_VERSION.c.version_num))
    return version
