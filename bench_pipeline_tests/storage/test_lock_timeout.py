"""A lock in the database that another session holds: the wait is limited, and the line names who holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, create_engine, text

from bench_pipeline.domain.errors import BenchError, DatabaseBusy
from bench_pipeline.storage import lock_timeout
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline_tests.fakes.transaction_pooler import transaction_pooler
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

pytestmark = ONLY_POSTGRESQL
ACCESS_EXCLUSIVE = "LOCK TABLE actors IN ACCESS EXCLUSIVE MODE"
SHORT_MS = 200
AMPLE_S = 60


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_timeout, "LOCK_TIMEOUT_MS", SHORT_MS)


@pytest.fixture
def another(world: World) -> Iterator[Connection]:
    """A session of the owner, in a transaction."""
    with world.owner.engine.connect() as connection:
        connection.begin()
        yield connection


def pid_of(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)


@pytest.mark.parametrize(
    ("held", "asked", "holder"),
    [
        pytest.param(
            f"LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE; {ACCESS_EXCLUSIVE}",
            "SELECT * FROM actors",
            "holds AccessExclusiveLock on actors",
            id="a table, to read it",
        ),
        pytest.param(
            ACCESS_EXCLUSIVE, 'SELECT * FROM "actors"', "holds AccessExclusiveLock on actors", id="a quoted name"
        ),
        pytest.param(
            ACCESS_EXCLUSIVE,
            "SELECT * FROM callable_actors",
            "holds AccessExclusiveLock on actors",
            id="a table behind a view",
        ),
        pytest.param(
            "LOCK TABLE benchmark_locks IN SHARE MODE",
            "DELETE FROM benchmark_locks",
            "holds ShareLock on benchmark_locks",
            id="a table, to write it",
        ),
        pytest.param(
            "UPDATE actors SET enabled = enabled WHERE actor_id = 1",
            "UPDATE actors SET enabled = enabled WHERE actor_id = 1",
            "holds RowExclusiveLock on actors",
            id="a row",
        ),
        pytest.param(
            "LOCK TABLE benchmark_freezes IN SHARE MODE",  # what a promotion holds
            "INSERT INTO benchmark_freezes (frozen, reason, set_by, set_at) VALUES (true, '', '', now())",
            "holds ShareLock on benchmark_freezes",
            id="the freezes, to freeze",
        ),
    ],
)
def test_the_line_names_the_holder_and_what_it_holds(
    world: World, another: Connection, held: str, asked: str, holder: str
) -> None:
    world.change(text("CREATE VIEW callable_actors AS SELECT * FROM actors"))
    another.execute(text("CREATE TEMPORARY TABLE actors_to_check (actor_id int)"))  # which others do not wait for
    another.execute(text(held))
    with pytest.raises(DatabaseBusy) as busy, world.owner.engine.begin() as connection:
        connection.execute(text(asked))
    assert re.fullmatch(
        rf"the database gave no lock within 0\.2 s: process {pid_of(another)} of postgres {holder}, in a transaction "
        r"that began \d+ s ago; wait until it is free, then run the same command again",
        str(busy.value),
    )


def test_a_session_that_waits_in_front_is_named(world: World, another: Connection) -> None:
    """A migration that waits for a reader keeps all later readers waiting."""
    another.execute(text("SELECT count(*) FROM actors"))
    migration = create_engine(world.owner.engine.url)
    with ThreadPoolExecutor(1) as pool, migration.connect() as waiting:
        pid = pid_of(waiting)
        waits = pool.submit(waiting.execute, text(ACCESS_EXCLUSIVE))
        while not another.scalar(text("SELECT count(*) FROM pg_locks WHERE pid = :pid AND NOT granted"), {"pid": pid}):
            assert not waits.done()
        with pytest.raises(DatabaseBusy, match=f"process {pid} of postgres waits for AccessExclusiveLock on actors"):
            read_actors(world.owner)
        another.rollback()
        waits.result(AMPLE_S)
    migration.dispose()


def read_actors(database: Database) -> None:
    with database.engine.connect() as connection:
        connection.execute(text("SELECT count(*) FROM actors"))


def test_a_command_ends_with_one_line_that_says_what_its_login_may_not_see(
    world: World, another: Connection, typed: Typed
) -> None:
    another.execute(text(ACCESS_EXCLUSIVE))
    done = typed("models")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert (
        f"process {pid_of(another)} of postgres holds AccessExclusiveLock on actors; this login may not" in done.stderr
    )
    another.rollback()
    assert typed("models").returncode == 0


def test_opening_the_database_is_limited_too(world: World, another: Connection) -> None:
    another.execute(text("LOCK TABLE benchmark_schema_version IN ACCESS EXCLUSIVE MODE"))
    with pytest.raises(BenchError, match="holds AccessExclusiveLock on benchmark_schema_version"):
        open_database(world.url)


def test_the_limit_holds_behind_a_pooler(world: World, another: Connection) -> None:
    another.execute(text(ACCESS_EXCLUSIVE))
    with transaction_pooler(world.url) as pooled_url:
        pooled = open_database(pooled_url)
        for _ in range(2):
            with pytest.raises(DatabaseBusy):
                read_actors(pooled)
        pooled.close()


def test_what_the_address_says_of_the_connection_counts(world: World) -> None:
    database = open_database(f"{world.url}?application_name=nightly&keepalives_idle=7&connect_timeout=3")
    with database.engine.connect() as connection:
        given = connection.connection.driver_connection.get_dsn_parameters()  # type: ignore[union-attr]
    assert [given[name] for name in ("application_name", "keepalives_idle", "connect_timeout")] == ["nightly", "7", "3"]
    assert given["keepalives_count"] == "3"
    database.close()
