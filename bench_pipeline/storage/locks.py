"""Locks that one process holds at a time: in PostgreSQL a row with a lease, in SQLite a locked file.

The row needs no session, so it works behind a pooler and outlives a connection that the server ends. A thread renews
it; when its holder dies, the lease runs out. Transactions and the advisory lock of promotions are elsewhere.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from socket import gethostname
from time import monotonic, sleep
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, insert, or_, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from bench_pipeline.domain.errors import BenchError, LockLost
from bench_pipeline.storage.tables import locks

LEASE_S = 45
"""How long a lock stays taken after its holder was last heard of."""
HEARTBEAT_S = 10.0
POLL_S = 0.5
TOLD_EVERY_S = 180.0
"""How often a process that waits is told for whom."""
_CLOCK_SLACK_S = 60.0
"""How much the start of one process may differ between two readings: it moves when the system's clock is set."""


class LockTaken(BenchError):
    """Another process holds a lock that only one may hold."""


@dataclass(frozen=True, slots=True)
class LockPurpose:
    """What only one process does at a time: on the database, with `per_host` on each host that uses it.

    With `places` it is done at each of these at once: all of them are taken, or none.
    """

    name: str
    per_host: bool = False
    places: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its rows, in the order in which every process takes them."""
        places = self.places or ((this_host(),) if self.per_host else ())
        return tuple(f"{self.name} on {place}" for place in sorted(set(places))) or (self.name,)

    def at(self, places: Collection[str]) -> LockPurpose:
        """Return the purpose at these places."""
        return replace(self, places=tuple(places))


BENCHMARK = LockPurpose("benchmark", per_host=True)
"""Two benchmarks on one accelerator would slow each other down; without places it is that of this machine."""
DOCUMENTS = LockPurpose("documents")


def this_host() -> str:
    """The name by which others know this machine, in lower case as in an address."""
    return gethostname().lower()


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock. Its start and its namespace of pids tell it from others with its pid."""

    host: str
    pid: int
    process_started: float
    pid_namespace: str

    @property
    def is_dead(self) -> bool:
        """Whether the process ended. False for one that this process cannot see."""
        if (self.host, self.pid_namespace) != (gethostname(), _pid_namespace()):
            return False
        import psutil  # takes a moment; most commands take no lock

        try:
            process = psutil.Process(self.pid)
            other = abs(process.create_time() - self.process_started) > _CLOCK_SLACK_S
            return other or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return not _is_hidden(self.pid)
        except psutil.Error:
            return False


class HeldLock(Protocol):
    """A lock while it is held."""

    def check(self) -> None:
        """Raise `LockLost` unless the lock is still held."""

    def claim(self, connection: Connection, benchmark_id: str) -> bool:
        """Reserve a benchmark for this holder; return False when another one measures it now."""

    def check_claim(self, connection: Connection, benchmark_id: str) -> None:
        """Raise `LockLost` when another holder claimed the benchmark in the meantime."""


OnWait = Callable[[str], None]
"""Called with the holder in words, at once and every few minutes, while a lock is waited for."""


@contextmanager
def hold(engine: Engine, purpose: LockPurpose, wait_s: float, on_wait: OnWait) -> Iterator[HeldLock]:
    """Hold the lock. Raises `LockTaken` when another process still holds it after `wait_s` seconds."""
    lock = _Lease(engine, purpose) if engine.dialect.name == "postgresql" else _LockedFile(engine, purpose)
    _take(lock, purpose, wait_s, on_wait)
    try:
        yield lock
    finally:
        lock.release()


def _take(lock: _Lease | _LockedFile, purpose: LockPurpose, wait_s: float, on_wait: OnWait) -> None:
    give_up = monotonic() + wait_s
    tell_at = 0.0
    while not lock.take():
        now = monotonic()
        taken = f"another process holds the {purpose.name} lock{lock.holder()}"
        if now >= give_up:
            raise LockTaken(f"{taken}; wait until it ends, then try again")
        if now >= tell_at:
            on_wait(taken)
            tell_at = now + TOLD_EVERY_S
        sleep(min(POLL_S, give_up - now))


class _Lease:
    """The lock as a row. All its moments are told by the database's clock."""

    def __init__(self, engine: Engine, purpose: LockPurpose) -> None:
        self._engine = engine
        self._purpose = purpose
        self._token = secrets.token_hex(16)
        self._mine = (locks.c.purpose.in_(purpose.keys), locks.c.token == self._token)
        self._renewed = 0.0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"{purpose.name}-lock", daemon=True)

    def take(self) -> bool:
        """Take the lock if it is free, its lease ran out, or its holder is dead."""
        now = func.clock_timestamp()
        row = asdict(this_process()) | {"token": self._token, "login": text("session_user"), "benchmark_id": None}
        row |= {"taken_at": now, "renewed_at": now, "lease_s": LEASE_S}
        self._renewed = monotonic()
        with self._engine.connect() as connection:
            for key in self._purpose.keys:
                free = or_(_expired(), locks.c.token == _token_of_the_dead(connection, key))
                put = postgresql.insert(locks).values(row | {"purpose": key})
                put = put.on_conflict_do_update(index_elements=[locks.c.purpose], set_=row, where=free)
                if connection.scalar(put.returning(locks.c.token)) is None:
                    return False
            connection.commit()
        self._heart.start()
        return True

    def holder(self) -> str:
        """Return who holds the lock, as the end of a sentence."""
        with self._engine.connect() as connection:
            return _holder_in_words(connection, self._purpose, self._token)

    def check(self) -> None:
        """See `HeldLock`."""
        try:
            held = self._renew()
        except (SQLAlchemyError, BenchError):
            silent_s = monotonic() - self._renewed
            if silent_s < LEASE_S:
                return
            raise self._lost(f"the database has not answered for {silent_s:.0f} s") from None
        if not held:
            taker = self.holder()
            raise self._lost(f"another process took it{taker}" if taker else "its row in benchmark_locks was deleted")

    def claim(self, connection: Connection, benchmark_id: str) -> bool:
        """See `HeldLock`. A holder whose lease ran out loses its lock, because it may still believe to hold it."""
        others = self._others(benchmark_id)
        connection.execute(delete(locks).where(others, _expired()))
        if connection.scalar(select(exists().where(others))):
            return False
        connection.execute(update(locks).where(*self._mine).values(benchmark_id=benchmark_id))
        return True

    def check_claim(self, connection: Connection, benchmark_id: str) -> None:
        """See `HeldLock`."""
        if connection.scalar(select(exists().where(self._others(benchmark_id)))):
            raise self._lost(f"another process continues {benchmark_id}")

    def release(self) -> None:
        """Free the lock. When the database does not answer, the lease frees it, and the work under it stands."""
        self._ended.set()
        with suppress(SQLAlchemyError, BenchError), self._engine.begin() as connection:
            connection.execute(delete(locks).where(*self._mine))

    def _others(self, benchmark_id: str) -> ColumnElement[bool]:
        return and_(locks.c.benchmark_id == benchmark_id, locks.c.token != self._token)

    def _renew(self) -> bool:
        asked = monotonic()
        with self._engine.begin() as connection:
            renewed = update(locks).where(*self._mine).values(renewed_at=func.clock_timestamp())
            held = connection.execute(renewed).rowcount == len(self._purpose.keys)
        self._renewed = asked if held else self._renewed
        return held

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            with suppress(SQLAlchemyError, BenchError):  # what that means is decided by check()
                self._renew()

    def _lost(self, why: str) -> LockLost:
        return LockLost(
            f"the {self._purpose.name} lock was lost: {why}; what was measured is stored, run the same command again "
            "to continue"
        )


class _LockedFile:
    """The lock as a file that the system unlocks when its process ends. The row only tells who holds it."""

    def __init__(self, engine: Engine, purpose: LockPurpose) -> None:
        from filelock import FileLock

        self._engine = engine
        self._purpose = purpose
        self._file = FileLock(f"{engine.url.database}.{purpose.name}.lock", timeout=0)

    def take(self) -> bool:
        """Take the lock if it is free."""
        from filelock import Timeout

        try:
            self._file.acquire()
        except Timeout:
            return False
        now = datetime.now(UTC)
        row = {"token": "", "taken_at": now, "renewed_at": now, "lease_s": 0}
        try:
            self._put(asdict(this_process()) | row)
        except BaseException:
            self._file.release()
            raise
        return True

    def holder(self) -> str:
        """Return who holds the lock, as the end of a sentence."""
        with self._engine.connect() as connection:
            return _holder_in_words(connection, self._purpose)

    def check(self) -> None:
        """See `HeldLock`: the system takes no file's lock away."""

    def claim(self, connection: Connection, benchmark_id: str) -> bool:  # noqa: ARG002
        """See `HeldLock`: one process measures on this database."""
        return True

    def check_claim(self, connection: Connection, benchmark_id: str) -> None:
        """See `HeldLock`: one process measures on this database."""

    def release(self) -> None:
        """Free the lock."""
        with suppress(SQLAlchemyError):
            self._put(None)
        self._file.release()

    def _put(self, row: dict[str, Any] | None) -> None:
        with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
            connection.execute(delete(locks).where(locks.c.purpose.startswith(self._purpose.name)))
            if row is not None:
                connection.execute(insert(locks), [row | {"purpose": key} for key in self._purpose.keys])


def holder_of(engine: Engine, purpose: LockPurpose) -> str:
    """Return who holds the lock now, or one of its places, as a clause; empty when it is free. Takes nothing."""
    c = locks.c
    query = select(c.host, c.pid, c.process_started, c.pid_namespace).where(c.purpose.in_(purpose.keys))
    if engine.dialect.name == "postgresql":
        query = query.where(~_expired())
    with engine.connect() as connection:
        if all(Holder(*row).is_dead for row in connection.execute(query)):
            return ""
        return f"another process holds the {purpose.name} lock{_holder_in_words(connection, purpose)}"


def _expired() -> ColumnElement[bool]:
    lease = func.make_interval(0, 0, 0, 0, 0, 0, locks.c.lease_s)
    return func.clock_timestamp() - locks.c.renewed_at > lease


def _token_of_the_dead(connection: Connection, key: str) -> str | None:
    c = locks.c
    query = select(c.token, c.host, c.pid, c.process_started, c.pid_namespace).where(c.purpose == key)
    row = connection.execute(query).first()
    return row.token if row is not None and Holder(*row[1:]).is_dead else None


def _holder_in_words(connection: Connection, purpose: LockPurpose, token: str | None = None) -> str:
    """Return who holds the lock at one of its places, other than the holder of the token."""
    c = locks.c
    held = c.purpose.in_(purpose.keys) if token else c.purpose.startswith(purpose.name)
    query = select(c.purpose, c.host, c.pid, c.login, c.taken_at).where(held, c.token != (token or "-"))
    row = connection.execute(query.order_by(c.purpose)).first()
    if row is None:
        return ""
    login = f" as {row.login}" if row.login else ""
    _, _, place = row.purpose.partition(" on ")
    where = f" of {place}" if place.partition(":")[0] not in ("", this_host()) else ""
    return f"{where}: process {row.pid} on {row.host}{login}, since {row.taken_at:%Y-%m-%d %H:%M} UTC"


@cache
def _start_of(pid: int) -> float:
    import psutil

    return psutil.Process(pid).create_time()


def this_process() -> Holder:
    """Return this process, as others will know it."""
    pid = os.getpid()
    return Holder(gethostname(), pid, _start_of(pid), _pid_namespace())


def _is_hidden(pid: int) -> bool:
    """Return whether a process exists that this one is not shown, as with ProtectProc= of systemd."""
    if sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _pid_namespace() -> str:
    """Return what tells a container's pids from the host's; empty where there is no such thing."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
