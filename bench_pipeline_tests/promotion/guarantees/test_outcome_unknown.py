"""G8: when the connection is lost at the commit, how it ended is found out before anything is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, NullPool, create_engine, event, make_url, text

from bench_pipeline.benchmark.workbench import Workbench, make_workbench
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import OutcomeUnknown
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.writers import postgresql as writer
from bench_pipeline_tests.fakes.postgres_proxy import Cut, PostgresProxy
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import (
    BOTH_TASKS,
    OLD_ACTORS,
    halt_after,
    halting,
    halting_commits,
    plan_of_both,
    state,
    until,
    waiting,
)

pytestmark = ONLY_POSTGRESQL
CALL = "benchmark_apply"


@pytest.fixture
def proxy(world: World) -> Iterator[PostgresProxy]:
    """What stands between the promoter and the server."""
    assert world.promoter_url is not None
    with PostgresProxy(world.promoter_url) as proxy:
        yield proxy


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """Every call of the promotion's function that is sent to the server."""
    sent: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if CALL in statement and "regprocedure" not in statement:
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def bench_behind(proxy: PostgresProxy, world: World, recorder: Database | None = None) -> Iterator[Workbench]:
    settings = world.settings.model_copy(update={"promoter_url": SecretStr(proxy.url)})
    bench = make_workbench(settings, recorder or world.database, world.production, world.runtimes)
    yield bench
    bench.writer.close()


@contextmanager
def recorder_behind(proxy: PostgresProxy) -> Iterator[Database]:
    """The recorder's database by the same way, and no connection kept that would outlast the way's end."""
    url = make_url(proxy.url).set(username="bench_recorder")
    database = Database(create_engine(url, poolclass=NullPool))
    yield database
    database.close()


def apply_behind(proxy: PostgresProxy, world: World, plan: PromotionPlan) -> Promotion | None:
    with bench_behind(proxy, world) as bench:
        return apply_plan(bench, plan.hash, "the tests")


def test_g8_a_commit_that_never_reached_the_server_is_tried_again_once(
    world: World, proxy: PostgresProxy, calls: list[str]
) -> None:
    plan = plan_of_both(world)
    proxy.cut(Cut.BEFORE_COMMIT, containing=CALL)
    assert apply_behind(proxy, world, plan) == only(world.promotions())
    assert (proxy.cuts, len(calls)) == (1, 2)
    assert world.holds(*BOTH_TASKS) == [FAST] * 4


def test_g8_a_commit_whose_answer_was_lost_is_found_and_not_tried_again(
    world: World, proxy: PostgresProxy, calls: list[str]
) -> None:
    plan = plan_of_both(world)
    proxy.cut(Cut.AFTER_COMMIT, containing=CALL)
    assert apply_behind(proxy, world, plan) == only(world.promotions())
    assert (proxy.cuts, len(calls)) == (1, 1)
    assert world.holds(*BOTH_TASKS) == [FAST] * 4


@pytest.mark.parametrize("at", [Cut.BEFORE_COMMIT, Cut.AFTER_COMMIT, Cut.DURING_STATEMENT])
def test_g8_wherever_the_connection_is_lost_every_row_is_changed_and_recorded_once(
    world: World, proxy: PostgresProxy, at: Cut
) -> None:
    plan = plan_of_both(world)
    proxy.cut(at, containing=CALL)
    made = apply_behind(proxy, world, plan)
    assert made is not None
    assert proxy.cuts == 1
    assert world.holds(*BOTH_TASKS) == [FAST] * 4
    assert world.rows("benchmark_promotion_rows", "promotion_id", "conversation_id") == [
        (made.promotion_id, number) for number in sorted(BOTH_TASKS)
    ]
    assert world.rows("benchmark_intents", "promotion_id") == [(made.promotion_id,)]


@contextmanager
def cut_off_at_work(proxy: PostgresProxy, world: World, plan: PromotionPlan) -> Iterator[Future[Promotion | None]]:
    """Apply a plan, cut its client off while its backend halts, and go on once somebody asks how it ended."""
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(apply_behind, proxy, world, plan)
        until(lambda: waiting(world))
        for connection in proxy._connections:
            connection.hang_up()
        until(lambda: asked_how_it_ended(world))
        yield outcome


def asked_how_it_ended(world: World) -> bool:
    """Whether the recorder looks for the lock of the lost attempt."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'bench_recorder' "
        "AND query LIKE '%ShareRowExclusiveLock%'"
    )
    with world.owner.engine.connect() as connection:
        return bool(connection.scalar(query))


def test_g8_while_a_lost_attempt_still_writes_its_end_is_waited_for(
    world: World, proxy: PostgresProxy, calls: list[str]
) -> None:
    plan = plan_of_both(world)
    halt_after(world, BOTH_TASKS[1])
    with halting(world) as release, cut_off_at_work(proxy, world, plan) as outcome:
        assert (len(calls), world.holds(*BOTH_TASKS)) == (1, OLD_ACTORS)
        release()
        assert outcome.result() == only(world.promotions())
    assert len(calls) == 2
    assert world.holds(*BOTH_TASKS) == [FAST] * 4


def test_g8_while_a_lost_attempt_still_commits_its_end_is_waited_for(
    world: World, proxy: PostgresProxy, calls: list[str]
) -> None:
    plan = plan_of_both(world)
    with halting_commits(world) as release, cut_off_at_work(proxy, world, plan) as outcome:
        assert (len(calls), world.holds(*BOTH_TASKS)) == (1, OLD_ACTORS)
        release()
        assert outcome.result() == only(world.promotions())
    assert len(calls) == 1
    assert world.holds(*BOTH_TASKS) == [FAST] * 4


def test_g8_a_lost_attempt_that_does_not_end_in_time_is_not_tried_again(
    world: World, proxy: PostgresProxy, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of_both(world)
    proxy.cut(Cut.DURING_STATEMENT, containing="COMMIT")
    monkeypatch.setattr(writer, "LOCK_TIMEOUT_S", 0.1)
    with halting_commits(world) as release:
        with pytest.raises(OutcomeUnknown):
            apply_behind(proxy, world, plan)
        assert len(calls) == 1
        release()
    proxy.settle()
    assert apply_behind(proxy, world, plan) == only(world.promotions())


def test_g8_a_connection_that_is_lost_twice_before_the_commit_has_changed_nothing(
    world: World, proxy: PostgresProxy, calls: list[str]
) -> None:
    plan = plan_of_both(world)
    before = state(world)
    proxy.cut(Cut.BEFORE_COMMIT, times=2, containing=CALL)
    with pytest.raises(GateFailed, match="lost 2 times before the commit; nothing was changed, try again"):
        apply_behind(proxy, world, plan)
    assert (proxy.cuts, len(calls)) == (2, 2)
    assert state(world) == before


def test_g8_a_connection_that_is_lost_while_the_address_is_checked_is_tried_again(
    world: World, proxy: PostgresProxy
) -> None:
    plan = plan_of_both(world)
    proxy.cut(Cut.DURING_STATEMENT, containing="pg_locks")
    assert apply_behind(proxy, world, plan) == only(world.promotions())
    assert proxy.cuts == 1


def test_g8_a_server_that_cannot_be_reached_has_changed_nothing(world: World, proxy: PostgresProxy) -> None:
    plan = plan_of_both(world)
    before = state(world)
    proxy.refuse = True
    with pytest.raises(InputError, match=r"BENCH_PROMOTER_URL: cannot be used: .*; nothing was changed"):
        apply_behind(proxy, world, plan)
    assert state(world) == before


@pytest.mark.parametrize(
    ("at", "holds"),
    [(Cut.BEFORE_COMMIT, OLD_ACTORS), (Cut.AFTER_COMMIT, [FAST] * 4)],
    ids=["it was not applied", "it was applied"],
)
def test_g8_when_nobody_tells_how_it_ended_that_is_said_and_the_next_call_finds_out(
    world: World, proxy: PostgresProxy, at: Cut, holds: list[int | None]
) -> None:
    plan = plan_of_both(world)
    proxy.cut(at, containing=CALL, then_refuse=True)
    with recorder_behind(proxy) as recorder, bench_behind(proxy, world, recorder) as bench:
        with pytest.raises(OutcomeUnknown) as unknown:
            apply_plan(bench, plan.hash, "the tests")
        short = plan.hash[:12]
        assert f"the connection was lost while plan {short} was applied" in str(unknown.value)
        assert f"`bench promote --plan {short}` finds out first" in str(unknown.value)
        assert world.holds(*BOTH_TASKS) == holds
        proxy.refuse = False
        assert apply_plan(bench, plan.hash, "the tests") == only(world.promotions())
    assert world.holds(*BOTH_TASKS) == [FAST] * 4
