"""Applying a plan and undoing it: all rows or none, each compared before it is set, and no other row touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import delete, text

from bench_pipeline.benchmark.ranking import rank_benchmark
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.changes import PromotionRow
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.rollback import Rollback, roll_back
from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import conversations
from bench_pipeline_tests.kit.tasks import EXTRACT, FORMAT, GRADE_A, GRADE_B, IMPROVE, REGRADE, SERVED, TICKET
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World


def undo(world: World, promotion_id: int | None = None, task: str | None = None) -> Rollback:
    return roll_back(world.bench, "the tests want it", "the tests", promotion_id, task)


def numbers(rows: Sequence[PromotionRow]) -> tuple[int, ...]:
    return tuple(row.conversation_id for row in rows)


def nothing_of_ours(world: World) -> bool:
    tables = ("benchmark_promotions", "benchmark_promotion_rows", "benchmark_intents")
    return not any(world.rows(table, "promotion_id") for table in tables) and not world.registry()


# Applying


def test_a_plan_gives_every_conversation_its_new_actor_and_leaves_an_audit_row(world: World) -> None:
    plan = world.plan()
    promotion = world.apply(plan)
    assert promotion is not None
    assert world.holds() == [FAST, FAST, FAST]
    assert (promotion.status, promotion.plan_hash, promotion.terms_hash) == ("applied", plan.hash, plan.terms_hash)
    assert promotion.account == "the tests"
    assert only(world.rows("benchmark_promotions", "plan")) == (plan.model_dump(mode="json"),)
    columns = ("conversation_id", "old_actor_id", "new_actor_id", "runner_up_actor_id", "evidence_hash", "changed")
    evidence = plan.evidence[0].evidence_hash
    assert world.rows("benchmark_promotion_rows", *columns) == [(n, SLOW, FAST, SLOW, evidence, True) for n in SERVED]


def test_only_the_actor_of_the_listed_conversations_is_changed(world: World) -> None:
    plan = world.plan()
    before = world.snapshot()
    world.apply(plan)
    after = world.snapshot()
    changed = {old: new for old, new in zip(before["conversations"], after["conversations"], strict=True) if old != new}
    assert [old[0] for old in changed] == list(SERVED)
    assert all(new == (old[0], old[1], FAST, old[3]) for old, new in changed.items())
    assert {**before, "conversations": None} == {**after, "conversations": None}
    assert world.holds(EXTRACT, IMPROVE, FORMAT) == [SLOW] * 3


@pytest.mark.parametrize("theirs", [WRONG, None, 404], ids=["another actor", "no actor", "an unknown actor"])
@pytest.mark.parametrize("stale", SERVED, ids=["first row", "second row", "last row"])
def test_a_row_that_an_operator_changed_is_named_and_no_row_changes(
    world: World, stale: int, theirs: int | None
) -> None:
    plan = world.plan()
    world.give(stale, theirs)
    before = world.snapshot()
    with pytest.raises(PlanRefused, match=rf"conversation {stale} \(.*\) does not hold actor {SLOW} \(slow\)"):
        world.apply(plan)
    assert world.snapshot() == before
    assert nothing_of_ours(world)


@ONE_ENGINE
def test_a_row_that_was_deleted_is_named_and_no_row_changes(world: World) -> None:
    plan = world.plan()
    world.change(delete(conversations).where(conversations.c.conversation_id == REGRADE))
    with pytest.raises(PlanRefused, match=f"conversation {REGRADE}"):
        world.apply(plan)
    assert world.holds(GRADE_A, GRADE_B) == [SLOW, SLOW]


@ONE_ENGINE
def test_a_row_that_an_operator_set_to_the_champion_already_is_refused_too(world: World) -> None:
    plan = world.plan()
    world.give(GRADE_B, FAST)
    with pytest.raises(PlanRefused, match=f"conversation {GRADE_B}"):
        world.apply(plan)
    assert world.holds() == [SLOW, FAST, SLOW]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(lambda w: w.set_actor(FAST, enabled=False), "fast is disabled", id="disabled"),
        pytest.param(lambda w: w.set_actor(FAST, actor_type="script"), "fast is no longer a model", id="made a script"),
        pytest.param(lambda w: w.remove_actor(FAST), "actor 1 .fast. is gone", id="deleted"),
        pytest.param(
            lambda w: w.set_actor(FAST, execution_path="ollama:wrong:3b"),
            "path of actor fast is 'ollama:wrong:3b' now",
            id="pointed at another model",
        ),
        pytest.param(
            lambda w: w.set_actor(FAST, execution_path="run.py"),
            "path of actor fast is 'run.py' now",
            id="pointed at no model",
        ),
    ],
)
def test_a_champion_that_changed_since_the_plan_is_not_promoted(
    world: World, changes: Callable[[World], None], says: str
) -> None:
    plan = world.plan()
    changes(world)
    with pytest.raises(PlanRefused, match=says):
        world.apply(plan)
    assert world.holds() == [SLOW] * 3
    assert nothing_of_ours(world)


@ONE_ENGINE
def test_another_spelling_of_the_same_path_is_the_same_actor(world: World) -> None:
    plan = world.plan()
    world.set_actor(FAST, execution_path=" fast:1b ")
    world.apply(plan)
    assert world.holds() == [FAST] * 3


def rank_anew(world: World, plan: PromotionPlan) -> None:
    world.change(delete(tables.benchmark_samples).where(tables.benchmark_samples.c.sample_id == 1))
    rank_benchmark(world.database, plan.evidence[0].benchmark_id)


def lose_the_ranking(world: World, plan: PromotionPlan) -> None:
    world.change(delete(tables.benchmark_history))


@pytest.mark.parametrize(
    ("changes", "says"), [(rank_anew, "was ranked again"), (lose_the_ranking, "is gone")], ids=["anew", "gone"]
)
def test_a_plan_whose_evidence_is_no_longer_the_same_is_refused(
    world: World, changes: Callable[[World, PromotionPlan], None], says: str
) -> None:
    plan = world.plan()
    changes(world, plan)
    with pytest.raises(PlanRefused, match=says):
        world.apply(plan)
    assert world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_a_plan_that_was_tampered_with_is_refused(world: World) -> None:
    plan = world.plan()
    row = plan.rows[0].model_copy(update={"new_actor_id": WRONG})
    with pytest.raises(PlanRefused):
        world.apply(plan.model_copy(update={"rows": (row, *plan.rows[1:])}))
    assert world.holds() == [SLOW] * 3


def test_a_row_that_the_database_refuses_leaves_all_rows_as_they_were(world: World) -> None:
    plan = world.plan()
    refuse_third = {
        "sqlite": f"CREATE TRIGGER refuse BEFORE UPDATE ON conversations WHEN NEW.conversation_id = {REGRADE} "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        "postgresql": f"ALTER TABLE conversations ADD CHECK (conversation_id <> {REGRADE} OR actor_id <> {FAST})",
    }
    world.change(text(refuse_third[world.database.engine.dialect.name]))
    with pytest.raises(Exception, match=r"not this one|violates check"):
        world.apply(plan)
    assert world.holds() == [SLOW] * 3
    assert nothing_of_ours(world)


def test_a_conversation_without_an_actor_gets_one_and_gives_it_back(world: World) -> None:
    world.give(GRADE_B, None)
    world.promoted()
    assert world.holds() == [FAST] * 3
    undo(world)
    assert world.holds() == [SLOW, None, SLOW]


@ONE_ENGINE
def test_a_script_is_never_replaced(world: World) -> None:
    world.give(GRADE_B, 6)
    world.promoted()
    assert world.holds(GRADE_A, GRADE_B, REGRADE, TICKET) == [FAST, 6, FAST, 6]


def test_a_plan_that_was_applied_is_the_same_promotion_when_it_is_applied_again(world: World) -> None:
    plan = world.plan()
    assert world.apply(plan) == world.apply(plan)
    assert len(world.rows("benchmark_promotions", "promotion_id")) == 1


def test_a_plan_that_was_applied_and_changed_since_is_not_said_to_be_applied(world: World) -> None:
    plan = world.plan()
    world.apply(plan)
    world.give(GRADE_B, WRONG)
    with pytest.raises(PlanRefused, match=f"but conversation {GRADE_B} now holds actor {WRONG}, not {FAST}"):
        world.apply(plan)
    assert world.holds() == [FAST, WRONG, FAST]


def test_a_change_that_was_undone_is_not_planned_again_on_the_same_evidence(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.apply(world.plan(ranked))
    undo(world)
    again = world.plan(ranked)
    assert [row.decision for row in again.rows] == [DecisionKind.KEEP] * 3
    assert "was undone" in again.rows[0].reason
    assert world.apply(again) is None


def test_a_plan_that_was_undone_is_refused(world: World) -> None:
    plan = world.plan()
    world.apply(plan)
    undo(world)
    with pytest.raises(GateFailed, match=r"applied and undone \(the tests want it\); run a new benchmark"):
        world.apply(plan)
    assert world.holds() == [SLOW] * 3


def test_a_plan_without_changes_is_no_promotion(world: World) -> None:
    plan = world.plan(world.ranked("wrong"))
    before = world.snapshot()
    assert world.apply(plan) is None
    assert world.snapshot() == before
    assert nothing_of_ours(world)


# The champion registry


def test_champion_and_runner_up_are_registered_with_their_benchmark(world: World) -> None:
    plan = world.plan()
    world.apply(plan)
    registry = world.registry()
    assert list(registry) == list(SERVED)
    row = registry[GRADE_B]
    assert (row.champion_actor_id, row.runner_up_actor_id) == (FAST, SLOW)
    assert (row.task_type, row.benchmark_id, row.avg_latency_ms) == (
        "grading",
        plan.evidence[0].benchmark_id,
        plan.rows[1].avg_latency_ms,
    )


@ONE_ENGINE
def test_a_champion_without_a_second_has_no_runner_up(world: World) -> None:
    world.set_actor(SLOW, enabled=False)
    world.apply(world.plan(world.ranked("fast", "slow")))
    assert {row.runner_up_actor_id for row in world.registry().values()} == {None}


def test_an_incumbent_that_is_confirmed_is_registered_without_a_promotion(world: World) -> None:
    for conversation in SERVED:
        world.give(conversation, FAST)
    assert world.apply(world.plan()) is None
    assert {(row.champion_actor_id, row.runner_up_actor_id) for row in world.registry().values()} == {(FAST, SLOW)}
    assert world.rows("benchmark_promotions", "promotion_id") == []


# Undoing


def test_undoing_gives_every_conversation_its_old_actor_back(world: World) -> None:
    before = world.snapshot()
    promotion = world.promoted()
    undone = undo(world)
    assert world.snapshot() == before
    assert (undone.undone.promotion_id, numbers(undone.restored), undone.left) == (promotion.promotion_id, SERVED, ())
    first, second = world.promotions()
    assert (first.status, first.undone_by, first.undone_because) == ("rolled_back", 2, "the tests want it")
    assert (second.kind, second.undoes, second.status) == ("rollback", 1, "applied")


def test_undoing_leaves_a_row_that_somebody_changed_since_and_names_it(world: World) -> None:
    world.promoted()
    world.give(GRADE_B, WRONG)
    undone = undo(world)
    assert (numbers(undone.restored), numbers(undone.left)) == ((GRADE_A, REGRADE), (GRADE_B,))
    assert world.holds() == [SLOW, WRONG, SLOW]
    assert [(row.conversation_id, row.changed) for row in world.promotions()[-1].rows] == [
        (GRADE_A, True),
        (GRADE_B, False),
        (REGRADE, True),
    ]


@ONE_ENGINE
def test_when_somebody_changed_every_row_undoing_changes_none(world: World) -> None:
    world.promoted()
    for conversation in SERVED:
        world.give(conversation, WRONG)
    undone = undo(world)
    assert (undone.restored, numbers(undone.left)) == ((), SERVED)
    assert world.holds() == [WRONG] * 3


def test_undoing_twice_is_refused(world: World) -> None:
    promotion = world.promoted()
    undo(world)
    with pytest.raises(GateFailed, match=f"promotion {promotion.promotion_id} is already undone: the tests want it"):
        undo(world, promotion.promotion_id)
    with pytest.raises(InputError, match="there is no promotion to undo"):
        undo(world)


@pytest.mark.parametrize(("promotion_id", "task"), [(None, None), (77, None), (None, "formatting")])
@ONE_ENGINE
def test_without_a_promotion_there_is_nothing_to_undo(world: World, promotion_id: int | None, task: str | None) -> None:
    if task:
        world.promoted()
    with pytest.raises(InputError, match=r"there is no promotion (77 )?to undo"):
        undo(world, promotion_id, task)


def test_the_first_promotions_registry_rows_go_when_it_is_undone(world: World) -> None:
    world.promoted()
    undo(world)
    assert world.registry() == {}


def test_undoing_the_second_promotion_restores_the_first_ones_champions(world: World) -> None:
    world.server.models["wrong:3b"].answers = world.server.models["slow:7b"].answers
    world.apply(world.plan())
    first = world.registry()
    world.apply(world.plan(world.ranked("wrong", "fast")))
    assert world.holds() == [WRONG] * 3
    assert {row.champion_actor_id for row in world.registry().values()} == {WRONG}
    undo(world)
    assert world.holds() == [FAST] * 3
    assert world.registry() == first


@ONE_ENGINE
def test_the_promotions_are_undone_last_first(world: World) -> None:
    world.server.models["wrong:3b"].answers = world.server.models["slow:7b"].answers
    one = world.apply(world.plan())
    two = world.apply(world.plan(world.ranked("wrong", "fast")))
    assert one is not None
    assert two is not None
    assert [undo(world, task="grading").undone.promotion_id for _ in range(2)] == [
        two.promotion_id,
        one.promotion_id,
    ]
    assert world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_the_registry_keeps_a_row_whose_conversation_was_left(world: World) -> None:
    world.promoted()
    world.give(GRADE_B, WRONG)
    undo(world)
    assert list(world.registry()) == [GRADE_B]


@ONE_ENGINE
def test_a_promotion_that_was_undone_keeps_its_row_as_it_was(world: World) -> None:
    world.promoted()
    columns = [column.name for column in tables.promotions.columns]
    before = world.rows("benchmark_promotions", *columns)
    undo(world)
    assert world.rows("benchmark_promotions", *columns)[:1] == before


def test_an_undoing_can_be_undone_and_that_again(world: World) -> None:
    promotion = world.promoted()
    registered = world.registry()
    assert undo(world).promotion.promotion_id == 2
    again = undo(world, 2)
    assert (world.holds(), world.registry()) == ([FAST] * 3, registered)
    assert (again.undone.promotion_id, again.promotion.promotion_id) == (2, 3)
    assert [one.status for one in world.promotions()] == ["reapplied", "rolled_back", "applied"]
    assert undo(world, promotion.promotion_id).undone.promotion_id == 3
    assert (world.holds(), world.registry()) == ([SLOW] * 3, {})


def test_an_undoing_is_not_undone_for_an_actor_that_was_disabled_since(world: World) -> None:
    world.promoted()
    undo(world)
    world.set_actor(FAST, enabled=False)
    with pytest.raises(PlanRefused, match="actor fast is disabled"):
        undo(world, 2)
    assert world.holds() == [SLOW] * 3


def test_undoing_leaves_a_row_whose_old_actor_is_gone(world: World) -> None:
    world.promoted()
    world.remove_actor(SLOW)
    undone = undo(world)
    assert (undone.restored, numbers(undone.left)) == ((), SERVED)
    assert world.holds() == [FAST] * 3


def test_undoing_gives_back_an_actor_that_was_disabled_since_for_it_is_exact(world: World) -> None:
    world.promoted()
    world.set_actor(SLOW, enabled=False)
    undo(world)
    assert world.holds() == [SLOW] * 3
