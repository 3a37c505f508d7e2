"""The database connection: engine, transactions and locks. Tables are in tables.py, their version in schema.py."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from bench_pipeline.domain.errors import BenchError, InputError
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.schema import (
    NO_RIGHT,
    REMEDY,
    VERSION_TABLE,
    SchemaRefused,
    begin_immediate,
    bring_up_to_date,
)

_LOCK_NOT_AVAILABLE = "55P03"
SQLITE_BUSY_LIMIT_S = 30
"""How long a transaction waits for another writer."""


class LockTaken(BenchError):
    """Another process holds a lock that only one may hold."""


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
    def exclusive(self, purpose: str, wait_s: int = 0) -> Iterator[None]:
        """Hold the lock named `purpose` across processes; it is released when the process ends.

        Raises `LockTaken` when another process still holds it after `wait_s` seconds.
        """
        lock = self._advisory_lock if self.engine.dialect.name == "postgresql" else self._file_lock
        with lock(purpose, wait_s):
            yield

    @contextmanager
    def _advisory_lock(self, purpose: str, wait_s: int) -> Iterator[None]:
        key = lock_key(purpose)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
                _wait_for_advisory_lock(connection, purpose, wait_s)
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})

    @contextmanager
    def _file_lock(self, purpose: str, wait_s: int) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(f"{self.engine.url.database}.{purpose}.lock", timeout=wait_s)
        try:
            lock.acquire()
        except Timeout:
            raise LockTaken(_taken(purpose)) from None
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _wait_for_advisory_lock(connection: Connection, purpose: str, wait_s: int) -> None:
    if wait_s <= 0:
        raise LockTaken(_taken(purpose))
    connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": f"{wait_s}s"})
    try:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(purpose)})
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise LockTaken(_taken(purpose)) from None
    finally:
        connection.execute(text("RESET lock_timeout"))


def lock_key(purpose: str) -> int:
    """Return the key of the advisory lock for a purpose, in PostgreSQL's range."""
    return int.from_bytes(hashlib.sha256(f"bench_pipeline:{purpose}".encode()).digest()[:8], signed=True)


def _taken(purpose: str) -> str:
    return f"another process holds the {purpose} lock on this database; wait until it ends, then try again"


def open_database(url: str, variable: str = "BENCH_DATABASE_URL") -> Database:
    """Open the database at `url` and bring our tables up to date; SQLite's file and directory are created.

    Raises `InputError` when the address is invalid or the server does not answer.
    """
    address = _checked_url(variable, url)
    try:
        engine = create_engine(address, **_engine_options(address))
        if address.get_backend_name() == "sqlite":
            _prepare_sqlite(engine, address)
        bring_up_to_date(engine)
        event.listen(engine, "handle_error", _explain_missing_privilege)
    except SchemaRefused as error:
        raise InputError(f"{variable}: {_shown(address)} {error}") from None
    except (DBAPIError, ArgumentError, ImportError, OSError) as error:
        raise InputError(f"{variable}: {_shown(address)} cannot be used: {driver_message(error)}") from None
    return Database(engine)


def look_into(url: str, variable: str = "BENCH_DATABASE_URL") -> Database:
    """Open the database at `url` for reading only. Nothing is created, migrated or locked, also by an owner.

    Raises `InputError` as `open_database` does, and `FileMissing` when SQLite's file does not exist.
    """
    address = _checked_url(variable, url)
    try:
        database = Database(_reading_engine(variable, address))
        inspect(database.engine).has_table(VERSION_TABLE)  # connects; SQLite reads the file only now
    except (DBAPIError, ArgumentError, ImportError, OSError) as error:
        raise InputError(f"{variable}: {_shown(address)} cannot be used: {driver_message(error)}") from None
    return database


def _reading_engine(variable: str, address: URL) -> Engine:
    if address.get_backend_name() == "postgresql":
        return create_engine(address, **_engine_options(address), execution_options={"postgresql_readonly": True})
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
    address = _checked_url(variable, url)
    return create_engine(address, **_engine_options(address))


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
    file = address.database or ":memory:"
    if address.get_backend_name() == "sqlite" and file.startswith((":memory:", "file:")):
        raise InputError(
            f"{variable}: SQLite needs a file, because several processes share the database; write sqlite:///FILE"
        )
    return address


def _engine_options(address: URL) -> dict[str, Any]:
    if address.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_BUSY_LIMIT_S}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, "application_name": "bench_pipeline"}}


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
