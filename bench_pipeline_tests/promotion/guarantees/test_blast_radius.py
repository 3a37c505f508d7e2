"""G19: a change is the listed conversations' actor and nothing else, and not more of them than the limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench_pipeline.domain.promoting.plan import PlanRow, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.failover import fail_over
from bench_pipeline.promotion.observation import observe
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.settings import Settings
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, GRADE_B, REGRADE, SERVED, task_value, write_task
from bench_pipeline_tests.kit.world import World

pytestmark = pytest.mark.usefixtures("hurried")


def what_changed(world: World, change: Callable[[], object]) -> dict[tuple[str, object], tuple[object, object]]:
    """Compare every row of every table of production before and after: the cells that differ, by table and row."""
    before = world.snapshot()
    change()
    after = world.snapshot()
    assert {name: len(rows) for name, rows in before.items()} == {name: len(rows) for name, rows in after.items()}
    return {
        (table, old_row[0]): (old, new)
        for table in before
        for old_row, new_row in zip(before[table], after[table], strict=True)
        for old, new in zip(old_row, new_row, strict=True)
        if old != new
    }


def of_another_conversation(plan: PromotionPlan) -> PromotionPlan:
    """The same plan with a conversation in the last row that is none of the task's, as somebody would forge it."""
    *rows, last = plan.rows
    forged = last.model_copy(update={"conversation_id": EXTRACT, "conversation": "Extract"})
    return plan.model_copy(update={"rows": (*rows, forged)})


def limited(world: World, **settings: object) -> Settings:
    world.settings = world.settings.model_copy(update=settings)
    return world.settings


def rules(**promotion: object) -> dict[str, object]:
    return task_value() | {"promotion": {"auto": list(SERVED)} | promotion}


# Nothing else


def test_g19_a_promotion_changes_the_actor_of_its_conversations_and_no_other_cell(world: World) -> None:
    plan = world.plan()

    changed = what_changed(world, lambda: world.apply(plan))

    assert changed == {("conversations", number): (SLOW, FAST) for number in SERVED}


def test_g19_a_rollback_changes_the_actor_of_its_conversations_and_no_other_cell(world: World) -> None:
    world.give(GRADE_B, None)
    world.promoted()

    changed = what_changed(world, lambda: roll_back(world.bench, "why not", "Ann"))

    assert changed == {
        ("conversations", GRADE_A): (FAST, SLOW),
        ("conversations", GRADE_B): (FAST, None),
        ("conversations", REGRADE): (FAST, SLOW),
    }


def test_g19_a_failover_changes_the_actor_of_one_conversation_and_no_other_cell(world: World) -> None:
    world.promoted()

    changed = what_changed(world, lambda: fail_over(world.bench, GRADE_B, "Ann"))

    assert changed == {("conversations", GRADE_B): (FAST, SLOW)}


def test_g19_a_conversation_that_is_kept_is_not_touched_beside_those_that_change(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.give(GRADE_A, FAST)

    changed = what_changed(world, lambda: world.apply(world.plan(ranked)))

    assert changed == {("conversations", number): (SLOW, FAST) for number in (GRADE_B, REGRADE)}


# Only what the task serves


def test_g19_a_plan_that_names_another_conversation_is_refused_as_a_whole(world: World) -> None:
    forged = of_another_conversation(world.plan())

    def attempt() -> None:
        with pytest.raises(PlanRefused, match=f"task grading does not serve conversation {EXTRACT} "):
            world.apply(forged)

    assert what_changed(world, attempt) == {}


def test_g19_the_transaction_itself_refuses_a_conversation_that_was_not_the_tasks_when_it_was_measured(
    world: World,
) -> None:
    forged = of_another_conversation(world.plan())
    write_task(world.folder / "testcases", task=task_value() | {"conversations": [*SERVED, EXTRACT]})
    seen = observe(world.bench, forged)
    world.store(forged)

    def attempt() -> None:
        with pytest.raises(PlanRefused) as refused:
            world.bench.writer.apply(forged.hash, "Ann", None, seen)
        assert refused.value.reason == "not_listed"

    assert what_changed(world, attempt) == {}


@ONE_ENGINE
def test_g19_a_conversation_that_the_task_serves_no_longer_stops_the_plan(world: World) -> None:
    plan = world.plan()
    rest = [GRADE_A, GRADE_B]
    write_task(world.folder / "testcases", task=task_value() | {"conversations": rest, "promotion": {"auto": rest}})

    with pytest.raises(PlanRefused, match=f"task grading does not serve conversation {REGRADE} "):
        world.apply(plan)

    assert world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_g19_a_row_of_a_task_without_a_benchmark_is_refused(world: World) -> None:
    plan = world.plan()
    row: PlanRow = plan.rows[0].model_copy(update={"conversation_id": EXTRACT, "task": "extraction"})

    with pytest.raises(PlanRefused):
        world.apply(plan.model_copy(update={"rows": (row,)}))

    assert world.holds(EXTRACT) == [SLOW]


# Not too many


def test_g19_a_plan_of_more_rows_than_the_limit_is_refused_and_says_what_to_raise(world: World) -> None:
    limited(world, max_rows=2)
    plan = world.plan()

    def attempt() -> None:
        with pytest.raises(PlanRefused) as refused:
            world.apply(plan)
        assert str(refused.value) == (
            "the plan changes 3 conversations, the limit is 2; raise max_rows in task.yaml or BENCH_MAX_ROWS, or "
            "promote fewer tasks at once"
        )

    assert what_changed(world, attempt) == {}


def test_g19_a_plan_of_as_many_rows_as_the_limit_is_applied(world: World) -> None:
    limited(world, max_rows=3)

    assert world.apply(world.plan()) is not None


@pytest.mark.parametrize(
    ("setting", "of_task", "limit"),
    [(2, None, 2), (20, 2, 2), (1, 2, 1), (20, None, 3)],
    ids=["BENCH_MAX_ROWS", "task.yaml", "the smaller one", "all that the task serves"],
)
@ONE_ENGINE
def test_g19_the_limit_is_the_smallest_of_those_that_are_set(
    world: World, setting: int, of_task: int | None, limit: int
) -> None:
    write_task(world.folder / "testcases", task=rules(max_rows=of_task))
    limited(world, max_rows=setting)

    assert world.plan().terms.max_rows == limit


def test_g19_rows_that_do_not_change_do_not_count(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.give(GRADE_A, FAST)
    limited(world, max_rows=2)

    world.apply(world.plan(ranked))

    assert world.holds() == [FAST] * 3


@ONE_ENGINE
def test_g19_at_the_command_line_the_limit_comes_from_the_environment(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MAX_ROWS", "2")
    world.ranked("fast", "slow")

    done = typed("promote", "--task", "grading")

    assert (done.returncode, "the limit is 2" in done.stderr) == (1, True)
    assert world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_g19_a_plan_whose_rows_were_exchanged_is_not_the_stored_one(world: World) -> None:
    plan = world.plan()
    world.store(plan)
    row = plan.rows[0].model_copy(update={"new_actor_id": WRONG})

    with pytest.raises(PlanRefused, match="there is no stored plan"):
        apply_plan(world.bench, plan.model_copy(update={"rows": (row, *plan.rows[1:])}).hash, "Ann")
