"""G1, G7, G9: all conversations change or none, a plan is applied once, and one promoter works at a time."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.tasks import REGRADE
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import (
    BOTH_TASKS,
    OLD_ACTORS,
    apply_stored,
    applying,
    bench_of,
    halt_after,
    halting,
    plan_of_both,
    refusal,
    state,
    terminate,
    until,
    waiting,
)
from bench_pipeline_tests.promotion.guarantees.processes import apply_and_die, apply_at_once

# G1


def refuse_row(world: World, table: str, verb: str, when: str) -> None:
    """Let the database refuse such a row after it was written."""
    if world.promoter_url is None:
        world.change(
            text(
                f"CREATE TRIGGER refuse AFTER {verb} ON {table} WHEN {when} "
                "BEGIN SELECT RAISE(FAIL, 'not this one'); END"
            )
        )
        return
    world.change(
        text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$"
        ),
        text(f"CREATE TRIGGER refuse AFTER {verb} ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"),
    )


def test_g1_all_selected_conversations_of_all_tasks_change(world: World) -> None:
    plan = plan_of_both(world)
    assert world.holds(*BOTH_TASKS) == OLD_ACTORS
    apply_stored(world, plan)
    assert world.holds(*BOTH_TASKS) == [FAST] * 4
    columns = ("conversation_id", "task_type", "old_actor_id", "new_actor_id", "changed")
    tasks = ["grading", "grading", "grading", "extraction"]
    rows = sorted(zip(BOTH_TASKS, tasks, OLD_ACTORS, [FAST] * 4, [True] * 4, strict=True))
    assert world.rows("benchmark_promotion_rows", *columns) == rows


@pytest.mark.parametrize("refused", BOTH_TASKS)
def test_g1_when_the_database_refuses_one_row_no_conversation_of_any_task_changes(world: World, refused: int) -> None:
    plan = plan_of_both(world)
    refuse_row(world, "conversations", "UPDATE", f"NEW.conversation_id = {refused}")
    before = state(world)
    with pytest.raises(GateFailed, match=r"failed \(refuse\): not this one; nothing was changed"):
        apply_stored(world, plan)
    assert state(world) == before


@pytest.mark.parametrize(
    "table", ["benchmark_promotions", "benchmark_promotion_rows", "benchmark_intents", "benchmark_champions"]
)
def test_g1_when_the_audit_cannot_be_written_no_conversation_changes(world: World, table: str) -> None:
    plan = plan_of_both(world)
    refuse_row(world, table, "INSERT", "1 = 1")
    before = state(world)
    with pytest.raises(GateFailed, match="not this one"):
        apply_stored(world, plan)
    assert state(world) == before


@ONLY_POSTGRESQL
def test_g1_when_the_database_refuses_the_commit_no_conversation_changes(world: World) -> None:
    plan = plan_of_both(world)
    world.change(
        text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$"
        ),
        text(
            "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON conversations DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
    )
    before = state(world)
    with pytest.raises(GateFailed, match=r"failed \(refuse\): not this one; nothing was changed"):
        apply_stored(world, plan)
    assert state(world) == before


@ONLY_POSTGRESQL
@pytest.mark.parametrize("last", BOTH_TASKS)
def test_g1_a_backend_that_dies_after_any_row_has_changed_no_conversation(world: World, last: int) -> None:
    plan = plan_of_both(world)
    halt_after(world, last)
    before = state(world)
    with halting(world), applying(world, plan) as outcome:
        for _ in range(2):  # it is tried once more
            (backend,) = until(lambda: waiting(world))
            terminate(world, backend)
        with pytest.raises(GateFailed, match="lost 2 times before the commit; nothing was changed"):
            outcome.result()
    assert state(world) == before


@ONLY_POSTGRESQL
def test_g1_after_a_backend_that_died_between_two_rows_all_conversations_change(world: World) -> None:
    plan = plan_of_both(world)
    halt_after(world, BOTH_TASKS[1])
    with halting(world) as release, applying(world, plan) as outcome:
        terminate(world, only(waiting(world)))
        until(lambda: waiting(world))
        assert world.holds(*BOTH_TASKS) == OLD_ACTORS
        release()
        promotion = outcome.result()
    assert world.holds(*BOTH_TASKS) == [FAST] * 4
    assert world.promotions() == [promotion]


# G7


def test_g7_a_plan_that_is_applied_twice_is_one_promotion(world: World) -> None:
    plan = plan_of_both(world)
    first = apply_stored(world, plan)
    once = state(world)
    assert apply_stored(world, plan) == first
    assert state(world) == once


def test_g7_a_plan_whose_promoter_was_killed_after_its_commit_is_not_applied_again(world: World) -> None:
    plan = plan_of_both(world)
    apply_and_die(world, plan)
    once = state(world)
    assert world.holds(*BOTH_TASKS) == [FAST] * 4
    assert [apply_stored(world, plan)] == world.promotions()
    assert state(world) == once


def test_g7_a_plan_that_was_undone_is_not_applied_again(world: World) -> None:
    plan = plan_of_both(world)
    apply_stored(world, plan)
    roll_back(world.bench, "the tests want it", "the tests")
    assert refusal(world, plan).reason == "plan_undone"


def test_g7_a_plan_that_was_applied_does_not_take_back_what_an_operator_changed_since(world: World) -> None:
    plan = plan_of_both(world)
    apply_stored(world, plan)
    world.give(REGRADE, SLOW)
    refused = refusal(world, plan)
    assert (refused.reason, refused.facts["conversation_id"], refused.facts["holds"]) == (
        "changed_since",
        REGRADE,
        SLOW,
    )


# G9


def two_plans(world: World) -> tuple[PromotionPlan, PromotionPlan]:
    """Store two plans over the same rows in opposite order: one for `fast`, one for `wrong`, which is right now.

    The second benchmark did not measure `fast`, so the first plan is not outdated.
    """
    first = plan_of_both(world)
    world.server.models["wrong:3b"].answers = world.server.models["slow:7b"].answers
    return first, plan_of_both(world, ["extraction", "grading"], ["wrong", "slow"])


def advisory_locks(world: World) -> list[int]:
    """The backends of this database that hold one, or wait for one."""
    query = text(
        "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE locktype = 'advisory' AND d.datname = current_database()"
    )
    with world.owner.engine.connect() as connection:
        return list(connection.scalars(query))


def test_g9_two_processes_that_apply_the_same_plan_at_once_make_one_promotion(world: World) -> None:
    plan = plan_of_both(world)
    answers = apply_at_once(world, plan, plan)
    made = only(world.promotions())
    assert answers == [made.promotion_id] * 2
    assert world.holds(*BOTH_TASKS) == [FAST] * 4


def test_g9_two_processes_with_different_plans_for_the_same_rows_make_one_promotion(world: World) -> None:
    plans = two_plans(world)
    answers = apply_at_once(world, *plans)
    made = only(world.promotions())
    assert sorted(answers, key=str) == [made.promotion_id, "conversation_changed"]
    won = answers.index(made.promotion_id)
    assert world.holds(*BOTH_TASKS) == [[FAST, WRONG][won]] * 4
    assert made.plan_hash == plans[won].hash


def test_g9_after_a_race_nothing_is_left_locked(world: World) -> None:
    apply_at_once(world, *two_plans(world))
    roll_back(world.bench, "the tests want it", "the tests")
    assert world.holds(*BOTH_TASKS) == OLD_ACTORS


@ONLY_POSTGRESQL
def test_g9_a_promoter_that_stays_open_after_its_promotion_and_a_refusal_holds_no_lock(world: World) -> None:
    plan = plan_of_both(world)
    with bench_of(world) as bench:
        apply_plan(bench, plan.hash, "the tests")
        assert advisory_locks(world) == []
        world.give(REGRADE, SLOW)
        with pytest.raises(PlanRefused):
            apply_plan(bench, plan.hash, "the tests")
        assert advisory_locks(world) == []


@ONLY_POSTGRESQL
def test_g9_a_second_promoter_waits_for_the_first_ones_commit_and_gets_its_promotion(world: World) -> None:
    plan = plan_of_both(world)
    halt_after(world, BOTH_TASKS[1])
    with halting(world) as release, applying(world, plan) as first, applying(world, plan, waiters=2) as second:
        release()
        assert first.result() == second.result() == only(world.promotions())


@ONLY_POSTGRESQL
def test_g9_a_second_promoter_goes_on_when_the_first_ones_backend_dies(world: World) -> None:
    plan = plan_of_both(world)
    halt_after(world, BOTH_TASKS[1])
    with halting(world) as release, applying(world, plan) as first:
        (backend,) = waiting(world)
        with applying(world, plan, waiters=2) as second:
            terminate(world, backend)
            release()
            assert first.result() == second.result() == only(world.promotions())
    assert advisory_locks(world) == []
