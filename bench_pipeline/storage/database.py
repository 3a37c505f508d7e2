"""The database connection: engine and transactions.

Tables are in tables.py, their version in schema.py, locks in locks.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.lock_timeout import explain_lock_timeout, limit_lock_wait
from bench_pipeline.storage.locks import HeldLock, LockPurpose, OnWait, hold
from bench_pipeline.storage.own_schema import VERSION_TABLE, NoOwnSchema, in_own_schema
from bench_pipeline.storage.schema import NO_RIGHT, REMEDY, SchemaRefused, begin_immediate, bring_up_to_date

_DRIVERS = {"sqlite": "pysqlite", "postgresql": "psycopg2"}  # errors and passwords are read as these have them
SQLITE_BUSY_LIMIT_S = 30
"""How long a transaction waits for another writer."""

_CONNECT_ARGUMENTS = {
    "connect_timeout": 10,
    "application_name": "bench_pipeline",
    # A server that vanished without a word is noticed within a minute, also while an answer is waited for.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""What libpq is told unless the address says otherwise: in seconds, the last one in milliseconds."""


class FileMissing(InputError):
    """The SQLite file to look into does not exist."""


class Database:
    """An open database. Its schema is up to date, unless it was only looked into."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def name(self) -> str:
        """The address without its password, for messages."""
        return _shown(self.engine.url)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first statement (SQLite: BEGIN IMMEDIATE)."""
        with begin_immediate(self.engine) as connection:
            yield connection

    @contextmanager
    def exclusive(
        self, purpose: LockPurpose, wait_s: float = 0.0, on_wait: OnWait = lambda _: None
    ) -> Iterator[HeldLock]:
        """Hold the lock for `purpose` across processes; it is free again soon after the process ended.

        Raises `LockTaken` when another process still holds it after `wait_s` seconds.
        """
        with hold(self.engine, purpose, wait_s, on_wait) as lock:
            yield lock

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(url: str, variable: str = "BENCH_DATABASE_URL", schema: str | None = None) -> Database:
    """Open the database at `url` and bring our tables up to date; SQLite's file and directory are created.

    In PostgreSQL our tables are in `schema`, or where `in_own_schema` finds them.

    Raises `InputError` when the address is invalid or the server does not answer.
    """
    address = _checked_url(variable, url)
    try:
        engine = _engine(address)
        if address.get_backend_name() == "sqlite":
            _prepare_sqlite(engine, address)
        engine = in_own_schema(engine, schema)
        bring_up_to_date(engine)
        event.listen(engine, "handle_error", _explain_missing_privilege)
    except (SchemaRefused, NoOwnSchema) as error:
        raise InputError(f"{variable}: {_shown(address)} {error}") from None
    except (DBAPIError, ArgumentError, ImportError, OSError) as error:
        raise InputError(f"{variable}: {_shown(address)} cannot be used: {driver_message(error)}") from None
    return Database(engine)


def without_tables(url: str, variable: str, schema: str | None = None) -> Database:
    """Open the database at `url` as it is: our tables may be missing, or of another version. Raises `InputError`."""
    engine = connect_to(variable, url)
    try:
        return Database(in_own_schema(engine, schema))
    except NoOwnSchema as error:
        raise InputError(f"{variable}: {_shown(engine.url)} {error}") from None
    except DBAPIError as error:
        raise InputError(f"{variable}: {_shown(engine.url)} cannot be used: {driver_message(error)}") from None


def look_into(url: str, variable: str = "BENCH_DATABASE_URL", schema: str | None = None) -> Database:
    """Open the database at `url` for reading only. Nothing is created, migrated or locked, also by an owner.

    Raises `InputError` as `open_database` does, and `FileMissing` when SQLite's file does not exist.
    """
    address = _checked_url(variable, url)
    try:
        database = Database(in_own_schema(_reading_engine(variable, address), schema))
        inspect(database.engine).has_table(VERSION_TABLE)  # connects; SQLite reads the file only now
    except NoOwnSchema as error:
        raise InputError(f"{variable}: {_shown(address)} {error}") from None
    except (DBAPIError, ArgumentError, ImportError, OSError) as error:
        raise InputError(f"{variable}: {_shown(address)} cannot be used: {driver_message(error)}") from None
    return database


def check_file(url: str, variable: str = "BENCH_DATABASE_URL") -> None:
    """Raise `FileMissing` when SQLite's file does not exist, for what must not create one."""
    address = _checked_url(variable, url)
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).exists():
        raise FileMissing(f"{variable}: {_shown(address)} does not exist")


def _reading_engine(variable: str, address: URL) -> Engine:
    if address.get_backend_name() == "postgresql":
        return _engine(address).execution_options(postgresql_readonly=True)
    file = Path(str(address.database)).absolute()
    if not file.exists():
        raise FileMissing(f"{variable}: {_shown(address)} does not exist")
    log = file.with_name(f"{file.name}-wal")
    # A reader of a file in WAL mode would create the log. Without one, all of the data is in the file itself.
    unlogged = "" if log.exists() and log.stat().st_size else "&immutable=1"
    location = f"{file.as_uri()}?mode=ro{unlogged}"
    return create_engine(address, creator=lambda: sqlite3.connect(location, uri=True, check_same_thread=False))


def _explain_missing_privilege(context: ExceptionContext) -> None:
    """Raise `InputError` with the remedy for a missing privilege, except while the owner installs."""
    if getattr(context.original_exception, "pgcode", None) not in NO_RIGHT or context.engine is None:
        return
    if context.connection is None or not context.connection.get_execution_options().get("as_owner"):
        cause = driver_message(context.original_exception)
        raise InputError(f"{_shown(context.engine.url)}: {cause}; {REMEDY}") from None


def _shown(address: URL) -> str:
    return address.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)


def connect_to(variable: str, url: str) -> Engine:
    """Return an engine for the address in `variable`; it connects on first use. Raises `InputError`."""
    return _engine(_checked_url(variable, url))


def _checked_url(variable: str, url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is not a number
        raise InputError(
            f"{variable}: must be a database address; write sqlite:///FILE or postgresql+psycopg2://USER@HOST/NAME"
        ) from None
    if "@" in f"{address.host}{address.database}" and address.password is not None:
        # The host now contains the rest of the password, which no message may show.
        raise InputError(f"{variable}: the password must be percent-encoded: write %40 for each @ in it")
    if address.drivername in ("postgresql", "postgres"):
        # SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, but dagster-postgres installs psycopg2.
        address = address.set(drivername="postgresql+psycopg2")
    if address.get_backend_name() not in ("sqlite", "postgresql"):
        raise InputError(f"{variable}: {address.drivername} is not supported; use SQLite or PostgreSQL")
    if address.get_driver_name() != _DRIVERS[address.get_backend_name()]:
        known = "sqlite" if address.get_backend_name() == "sqlite" else "postgresql+psycopg2"
        raise InputError(f"{variable}: the driver of {address.drivername} is not supported; write {known}://")
    file = address.database or ":memory:"
    if address.get_backend_name() == "sqlite" and file.startswith((":memory:", "file:")):
        raise InputError(
            f"{variable}: SQLite needs a file, because several processes share the database; write sqlite:///FILE"
        )
    return address


def _engine(address: URL) -> Engine:
    if address.get_backend_name() == "sqlite":
        return create_engine(address, connect_args={"timeout": SQLITE_BUSY_LIMIT_S})
    arguments = {name: value for name, value in _CONNECT_ARGUMENTS.items() if name not in address.query}
    engine = create_engine(address, pool_pre_ping=True, connect_args=arguments)
    event.listen(engine, "begin", limit_lock_wait)
    event.listen(engine, "handle_error", explain_lock_timeout)
    return engine


def _prepare_sqlite(engine: Engine, address: URL) -> None:
    file = Path(str(address.database)).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists() or not file.stat().st_size:
        _make_file(file)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, record: object) -> None:  # noqa: ANN401, ARG001 - the DB-API's own type
        connection.isolation_level = None  # otherwise the driver begins transactions late, without the immediate lock
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _make_file(file: Path) -> None:
    """Create a database file in WAL mode, which persists. Locked, because two concurrent switches would fail."""
    from filelock import FileLock

    with FileLock(f"{file}.open.lock"), closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
