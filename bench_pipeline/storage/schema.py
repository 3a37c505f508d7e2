"""The version of our tables: made at once in a fresh database, brought forward by migrations in an older one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.storage.tables import metadata

SCHEMA_VERSION = "0004"
MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = Table(
    "benchmark_schema_version", MetaData(), Column("version_num", String(32), primary_key=True, nullable=False)
)
VERSION_TABLE = _VERSION.name
NO_RIGHT = ("42501", "25006")
"""SQLSTATE of a login that may not do it, and of a session that may not write."""
REMEDY = "log in as the recorder, and run `bench db install` as the owner of the tables"


class SchemaRefused(Exception):
    """The database's tables are not ones that this program may use; the message goes on from its address."""


def is_ours(name: str | None, kind: str, parents: object) -> bool:  # noqa: ARG001 - Alembic's signature
    """Tell Alembic which tables it may compare: the application's tables are none of its business."""
    return kind != "table" or name in metadata.tables


@contextmanager
def begin_immediate(engine: Engine) -> Iterator[Connection]:
    """Yield a transaction that holds the write lock from its first statement (SQLite: BEGIN IMMEDIATE)."""
    with engine.connect() as raw, raw.execution_options(immediate=True) as connection, connection.begin():
        yield connection


def bring_up_to_date(engine: Engine) -> None:
    """Make our tables, or migrate them to the version of this program.

    Raises `SchemaRefused` for tables of a newer version, or of somebody else under our names, and for a login that
    may not make or migrate them.
    """
    with engine.connect() as connection:
        if _version_of(connection) == SCHEMA_VERSION:
            return
    try:
        with begin_immediate(engine) as connection:
            _make_or_migrate(connection)
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) in NO_RIGHT:
            raise SchemaRefused(
                f"needs our tables in version {SCHEMA_VERSION}, and this login may not make them; {REMEDY}"
            ) from None
        raise


def _make_or_migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('bench_pipeline:schema'))"))
    version = _version_of(connection)
    if version is None:
        _create(connection)
    elif version != SCHEMA_VERSION:
        upgrade(connection)


def _create(connection: Connection) -> None:
    # Importing Alembic for a fresh database would cost 0.2 s of the first run; a test holds both ways equal.
    if taken := sorted(metadata.tables.keys() & set(inspect(connection).get_table_names())):
        raise SchemaRefused(f"holds a table {', '.join(taken)} that is not ours; rename it, its rows are yours")
    metadata.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=SCHEMA_VERSION))


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations up to a version. Raises `SchemaRefused` for a database of one that they do not know."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise SchemaRefused(f"was made by a newer version; update bench_pipeline ({error})") from None


def _version_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(select(_VERSION.c.version_num))
    return version
