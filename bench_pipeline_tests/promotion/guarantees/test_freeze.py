"""G18: a freeze stops every promotion that has not been committed, at the last moment; the way back stays open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, text

from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.failover import fail_over
from bench_pipeline.promotion.observation import observe
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline, checks_of, failures_of
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import patient, until, waiting

pytestmark = pytest.mark.usefixtures("hurried")

AMPLE_S = 9  # the promotion itself waits 10 s for a lock
_GATE = 4711


def freeze(world: World) -> None:
    world.freeze(True, "the fair", "Cem")


def thaw(world: World) -> None:
    world.freeze(False, "", "Cem")


def stored(world: World) -> PromotionPlan:
    plan = world.plan()
    world.store(plan)
    return plan


def refused(world: World, plan: PromotionPlan) -> str:
    """Apply the plan, which must be refused because of the freeze and change nothing; return what is said."""
    before = world.snapshot()
    with pytest.raises(PlanRefused) as raised:
        apply_plan(world.bench, plan.hash, "Ann")
    assert raised.value.reason == "frozen"
    assert world.snapshot() == before
    return str(raised.value)


# At the last moment


def test_g18_a_freeze_between_plan_and_apply_stops_the_promotion_and_says_who_and_why(world: World) -> None:
    plan = stored(world)
    freeze(world)

    said = refused(world, plan)

    assert said.startswith("promotions are frozen by Cem since ")
    assert said.endswith(": the fair; `bench thaw` ends that")


def test_g18_a_freeze_after_every_look_is_seen_within_the_transaction(world: World) -> None:
    plan = stored(world)
    seen = observe(world.bench, plan)
    freeze(world)

    with pytest.raises(PlanRefused) as raised:
        world.bench.writer.apply(plan.hash, "Ann", None, seen)

    assert raised.value.reason == "frozen"
    assert world.holds() == [SLOW] * 3


def test_g18_after_a_thaw_the_same_plan_is_applied(world: World) -> None:
    plan = stored(world)
    freeze(world)
    thaw(world)

    assert apply_plan(world.bench, plan.hash, "Ann") is not None
    assert world.holds() == [FAST] * 3


def test_g18_the_last_word_counts(world: World) -> None:
    plan = stored(world)
    for say in (freeze, thaw, freeze):
        say(world)

    refused(world, plan)


def test_g18_a_plan_that_was_applied_already_is_no_promotion_and_is_not_stopped(world: World) -> None:
    promotion = world.promoted()
    freeze(world)

    again = apply_plan(world.bench, promotion.plan_hash, "Ann")

    assert again is not None
    assert again.promotion_id == promotion.promotion_id


# A promotion under way


@contextmanager
def gate(world: World) -> Iterator[Connection]:
    """Hold every promotion at its first row, within its transaction, until this connection is rolled back."""
    patient(world)
    wait = f"BEGIN PERFORM pg_catalog.pg_advisory_xact_lock({_GATE}); RETURN NEW; END"
    world.change(
        text(f"CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ {wait} $$"),
        text("CREATE TRIGGER gate BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION gate()"),
    )
    with world.owner.engine.connect() as keeper:
        keeper.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _GATE})
        yield keeper


def wait_for(world: World, key: int) -> None:
    """Return when somebody waits for this advisory lock; the server's own list of locks tells it."""
    query = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (classid::bigint << 32) + objid::bigint = :key"
    )
    ends = time.monotonic() + AMPLE_S
    with world.owner.engine.connect() as connection:
        while not connection.scalar(query, {"key": key}):
            connection.rollback()
            assert time.monotonic() < ends, "nobody waits for it"


@ONLY_POSTGRESQL
def test_g18_a_freeze_waits_for_the_promotion_under_way_and_stops_the_next(world: World) -> None:
    plan = stored(world)
    with ThreadPoolExecutor(2) as pool, gate(world) as keeper:
        promoting = pool.submit(apply_plan, world.bench, plan.hash, "Ann")
        wait_for(world, _GATE)
        freezing = pool.submit(freeze, world)
        until(lambda: waiting(world, "Cem"))
        frozen_while_it_was_held = freezing.done()
        keeper.rollback()
        promotion, _ = promoting.result(AMPLE_S), freezing.result(AMPLE_S)

    assert frozen_while_it_was_held is False
    assert promotion is not None
    assert world.holds() == [FAST] * 3
    world.give(GRADE_A, SLOW)
    refused(world, stored(world))


# What a freeze does not stop


def test_g18_a_rollback_works_while_promotions_are_frozen(world: World) -> None:
    world.promoted()
    freeze(world)

    roll_back(world.bench, "it is too terse", "Ann")

    assert world.holds() == [SLOW] * 3


def test_g18_undoing_a_rollback_promotes_again_and_is_stopped(world: World) -> None:
    world.promoted()
    back = roll_back(world.bench, "it is too terse", "Ann").promotion
    freeze(world)

    with pytest.raises(PlanRefused, match="promotions are frozen by Cem"):
        roll_back(world.bench, "it was not", "Ann", back.promotion_id)

    assert world.holds() == [SLOW] * 3


def test_g18_a_failover_puts_another_model_there_and_is_stopped(world: World) -> None:
    world.promoted()
    freeze(world)

    with pytest.raises(GateFailed, match="promotions are frozen by Cem"):
        fail_over(world.bench, GRADE_A, "Ann")

    assert world.holds() == [FAST] * 3


@ONE_ENGINE
def test_g18_a_failed_validation_is_undone_while_promotions_are_frozen(typed: Typed, world: World) -> None:
    world.promoted()
    freeze(world)
    world.server.models["fast:1b"].answers = {}

    typed("validate", "--task", "grading")

    assert world.holds() == [SLOW] * 3


# At the command line and in Dagster


def test_g18_the_commands_freeze_and_thaw(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    typed("freeze", "--reason", "the fair")
    stopped = typed("promote", "--task", "grading")
    held = world.holds()
    typed("thaw")
    applied = typed("promote", "--task", "grading")

    assert (stopped.returncode, held) == (1, [SLOW] * 3)
    assert stopped.stderr.startswith("bench: promotions are frozen by ")
    assert ": the fair; `bench thaw` ends that" in stopped.stderr
    assert (applied.returncode, world.holds()) == (0, [FAST] * 3)


@ONE_ENGINE
def test_g18_a_freeze_without_a_reason_is_no_freeze(typed: Typed, world: World) -> None:
    assert typed("freeze").returncode == 2
    assert world.rows("benchmark_freezes", "freeze_id") == []


def test_g18_in_dagster_the_update_fails_and_the_check_says_that_all_is_frozen(
    pipeline: Pipeline, world: World
) -> None:
    freeze(world)

    run = pipeline.run(fails=True)

    assert world.holds() == [SLOW] * 3
    assert "promotions are frozen by Cem" in failures_of(run)
    assert checks_of(run)["plan_is_unblocked"] is False
