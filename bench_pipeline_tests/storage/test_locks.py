"""Locks as rows in PostgreSQL: who gets one, who keeps it, and how its holder learns that it is lost.

What holds for both engines is in test_database.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from socket import gethostname
from typing import Any

import psutil
import pytest
from sqlalchemy import delete, func, insert, select, text, update

from bench_pipeline.domain.errors import LockLost
from bench_pipeline.storage import locks
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.locks import LEASE_S, HeldLock, LockPurpose, LockTaken
from bench_pipeline.storage.tables import locks as table
from bench_pipeline_tests.fakes.postgres_proxy import PostgresProxy
from bench_pipeline_tests.fakes.transaction_pooler import transaction_pooler
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL

pytestmark = ONLY_POSTGRESQL
WORK = LockPurpose("work")
AMPLE_S = 60


def held_by(database: Database, seconds_ago: float = 0, **holder: object) -> None:
    """Put the row of another holder, who was heard of so long ago."""
    moment = func.clock_timestamp() - text(f"interval '{seconds_ago} seconds'")
    row: dict[str, object] = {
        "purpose": WORK.keys[0],
        "token": "another",
        "host": gethostname(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "pid_namespace": locks._pid_namespace(),
        "login": "somebody",
        "taken_at": moment,
        "renewed_at": moment,
        "lease_s": LEASE_S,
    }
    with database.writing() as connection:
        connection.execute(insert(table).values(row | holder))


def is_free(database: Database) -> bool:
    try:
        with database.exclusive(WORK):
            return True
    except LockTaken:
        return False


def pid_of_the_dead() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


# Who gets it


@pytest.mark.parametrize(
    ("seconds_ago", "holder", "free"),
    [
        pytest.param(0, {}, False, id="a living process of this host"),
        pytest.param(LEASE_S - 10, {}, False, id="a living process, not heard of for a while"),
        pytest.param(LEASE_S + 1, {}, True, id="a living process whose lease ran out"),
        pytest.param(0, {"pid": pid_of_the_dead}, True, id="a dead process of this host"),
        pytest.param(0, {"process_started": 1.0}, True, id="a process whose pid another one has now"),
        pytest.param(0, {"host": "elsewhere", "pid": pid_of_the_dead}, False, id="a process of another host"),
        pytest.param(LEASE_S + 1, {"host": "elsewhere"}, True, id="a process of another host whose lease ran out"),
        pytest.param(
            0,
            {"pid_namespace": "pid:[1]", "pid": pid_of_the_dead},
            False,
            id="a process of a container that has this host's name",
        ),
    ],
)
def test_a_lock_is_free_when_its_lease_ran_out_or_its_holder_is_known_to_be_dead(
    database: Database, seconds_ago: float, holder: dict[str, Any], free: bool
) -> None:
    held_by(database, seconds_ago, **{name: value() if callable(value) else value for name, value in holder.items()})
    assert is_free(database) is free


def test_a_lock_is_free_when_its_holder_was_killed_and_its_parent_has_not_noticed(database: Database) -> None:
    """As in a container whose first process waits for none of its orphans."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        killed = psutil.Process(process.pid)
        while killed.status() != psutil.STATUS_ZOMBIE:
            assert killed.is_running()
        held_by(database, pid=process.pid, process_started=killed.create_time())
        assert is_free(database)


def test_one_of_many_racing_sessions_gets_the_lock(database: Database, database_url: str) -> None:
    """Each session sees the row of a dead holder at the same time."""
    racers = 6
    start = threading.Barrier(racers)
    held_by(database, pid=pid_of_the_dead())

    def race(mine: Database, until_all_have_tried: threading.Barrier) -> bool:
        start.wait(AMPLE_S)
        try:
            with mine.exclusive(WORK):
                until_all_have_tried.wait(AMPLE_S)
                return True
        except LockTaken:
            until_all_have_tried.wait(AMPLE_S)
            return False

    with ExitStack() as stack, ThreadPoolExecutor(racers) as pool:
        end = threading.Barrier(racers)
        mine = [open_database(database_url) for _ in range(racers)]
        for one in mine:
            stack.callback(one.close)
        assert sorted(pool.map(lambda one: race(one, end), mine)) == [False] * (racers - 1) + [True]


def test_a_refusal_names_the_holder(database: Database) -> None:
    held_by(database, host="gpu-7", pid=4711, taken_at=text("timestamptz '2026-11-30 16:25:10+00'"))
    with (
        pytest.raises(
            LockTaken, match=r"holds the work lock: process 4711 on gpu-7 as somebody, since 2026-11-30 16:2"
        ),
        database.exclusive(WORK),
    ):
        pass


def test_a_waiting_process_is_told_the_holder_repeatedly(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_S", 0.0)
    monkeypatch.setattr(locks, "TOLD_EVERY_S", 0.0)
    held_by(database, host="gpu-7", pid=4711)
    told: list[str] = []

    def hear(why: str) -> None:
        told.append(why)
        if len(told) == 3:
            free(database)

    with database.exclusive(WORK, AMPLE_S, hear):
        assert len(told) == 3
    assert all("process 4711 on gpu-7" in why for why in told)


def test_two_hosts_hold_a_lock_of_the_host_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    per_host = LockPurpose("work", per_host=True)
    with database.exclusive(per_host):
        with pytest.raises(LockTaken), database.exclusive(per_host):
            pass
        monkeypatch.setattr(locks, "gethostname", lambda: "elsewhere")
        with database.exclusive(per_host):
            pass


def test_a_lock_of_several_places_is_taken_at_all_of_them_or_at_none(database: Database) -> None:
    one, both, other = (WORK.at(places) for places in (["gpu1:1"], ["gpu2:1", "gpu1:1"], ["gpu2:1"]))
    with database.exclusive(one):
        with pytest.raises(LockTaken, match=r"the work lock of gpu1:1: process \d+ on"), database.exclusive(both):
            pass
        with database.exclusive(other) as lock:
            lock.check()
    with database.exclusive(both) as lock:
        for each in (one, other):
            with pytest.raises(LockTaken), database.exclusive(each):
                pass
        with database.writing() as connection:
            assert lock.claim(connection, "grading-1")
            assert set(connection.execute(select(table.c.purpose, table.c.benchmark_id))) == {
                ("work on gpu1:1", "grading-1"),
                ("work on gpu2:1", "grading-1"),
            }
            connection.execute(delete(table).where(table.c.purpose == "work on gpu2:1"))
        with pytest.raises(LockLost):
            lock.check()


# Who keeps it


def free(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(delete(table))


def let_another_take_it(database: Database) -> None:
    free(database)
    held_by(database, host="gpu-7")


def test_a_lock_that_is_held_passes_its_check(database: Database) -> None:
    with database.exclusive(WORK) as lock:
        lock.check()


@pytest.mark.parametrize(
    ("lose", "why"),
    [(free, "its row in benchmark_locks was deleted"), (let_another_take_it, r"another process took it: .* on gpu-7")],
)
def test_a_lock_that_was_lost_does_not_pass_its_check(database: Database, lose: Any, why: str) -> None:  # noqa: ANN401
    with database.exclusive(WORK) as lock:
        lose(database)
        with pytest.raises(LockLost, match=rf"^the work lock was lost: {why}.*run the same command again to continue$"):
            lock.check()


@pytest.fixture
def unreachable(database_url: str) -> Iterator[tuple[PostgresProxy, HeldLock]]:
    """A lock whose holder cannot reach the database any longer."""
    with PostgresProxy(database_url) as proxy:
        mine = open_database(proxy.url)
        with mine.exclusive(WORK) as lock:
            proxy.refuse = True
            mine.engine.dispose()
            yield proxy, lock
        mine.close()


def test_a_lock_is_kept_while_the_database_is_away_for_less_than_the_lease(
    unreachable: tuple[PostgresProxy, HeldLock],
) -> None:
    proxy, lock = unreachable
    lock.check()
    proxy.refuse = False
    lock.check()


def test_a_lock_is_lost_when_the_database_is_away_for_longer_than_the_lease(
    unreachable: tuple[PostgresProxy, HeldLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 0)
    with pytest.raises(LockLost, match="the database has not answered for"):
        unreachable[1].check()


def test_a_holder_renews_its_lease_while_it_works(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.01)
    with database.exclusive(WORK):
        before = renewed_at(database)
        give_up = time.monotonic() + AMPLE_S
        while renewed_at(database) == before:
            assert time.monotonic() < give_up


def renewed_at(database: Database) -> object:
    with database.engine.connect() as connection:
        return connection.scalar(select(table.c.renewed_at))


def test_work_that_is_done_stands_even_if_its_lock_cannot_be_released(database: Database) -> None:
    with database.exclusive(WORK), database.writing() as connection:
        connection.execute(text("DROP TABLE benchmark_locks"))


def test_a_lock_works_behind_a_pooler_that_gives_each_transaction_another_session(
    database: Database, database_url: str
) -> None:
    with transaction_pooler(database_url) as pooled_url:
        pooled = open_database(pooled_url)
        with pooled.exclusive(WORK) as lock:
            lock.check()
            assert not is_free(database)
            assert not is_free(pooled)
        assert is_free(database)
        pooled.close()


# What it covers


def test_a_benchmark_is_claimed_by_one_holder_at_a_time(database: Database) -> None:
    """Two hosts may measure at once, but not the same interrupted benchmark."""
    with database.exclusive(WORK) as mine, database.exclusive(LockPurpose("other work")) as other:
        assert [claims(database, one, "grading-1") for one in (mine, other, mine)] == [True, False, True]
        assert claims(database, other, "grading-2")


def test_a_holder_whose_lease_ran_out_loses_its_benchmark_and_its_lock(database: Database) -> None:
    with database.exclusive(WORK) as mine, database.exclusive(LockPurpose("other work")) as other:
        claims(database, mine, "grading-1")
        with database.writing() as connection:
            long_ago = table.c.renewed_at - func.make_interval(0, 0, 0, 1)
            connection.execute(update(table).where(table.c.purpose == WORK.keys[0]).values(renewed_at=long_ago))
        assert claims(database, other, "grading-1")
        with pytest.raises(LockLost):
            mine.check()


def claims(database: Database, lock: HeldLock, benchmark_id: str) -> bool:
    with database.writing() as connection:
        return lock.claim(connection, benchmark_id)
