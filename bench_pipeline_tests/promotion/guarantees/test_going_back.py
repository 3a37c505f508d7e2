"""G10: a rollback gives back exactly what a promotion took, leaves what was changed since, and can be undone itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import delete

from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.promoting.plan import PlanKind, PlanRow, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.rollback import Rollback, roll_back
from bench_pipeline.storage.plans import plan_by_hash
from bench_pipeline_tests.kit.models import BROKEN, FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import actors, conversations
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, GRADE_B, IMPROVE, REGRADE
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import (
    BOTH_TASKS,
    OLD_ACTORS,
    apply_stored,
    applying,
    bench_of,
    edit,
    operator,
    plan_of_both,
    plan_of_now,
    state,
)


def promoted(world: World) -> Promotion:
    """Promote `fast` in four conversations of two tasks, which had two other actors, and one none."""
    promotion = apply_stored(world, plan_of_both(world))
    assert promotion is not None
    return promotion


def undo(world: World, promotion_id: int | None = None) -> Rollback:
    return roll_back(world.bench, "the tests want it", "the tests", promotion_id)


def numbers(rows: tuple[object, ...]) -> set[int]:
    return {row.conversation_id for row in rows}  # type: ignore[attr-defined]


def test_g10_a_rollback_restores_different_old_actors_and_none_exactly(world: World) -> None:
    plan = plan_of_both(world)
    before = world.snapshot()
    apply_stored(world, plan)
    undone = undo(world)
    assert world.holds(*BOTH_TASKS) == OLD_ACTORS
    assert world.snapshot() == before
    assert (numbers(undone.restored), undone.left) == (set(BOTH_TASKS), ())


@pytest.mark.parametrize(
    ("edited", "theirs"),
    [(GRADE_A, WRONG), (GRADE_B, SLOW), (REGRADE, None), (EXTRACT, 404)],
    ids=["another actor", "an actor where none was", "no actor", "an unknown actor"],
)
def test_g10_a_row_that_an_operator_changed_since_is_named_and_left(
    world: World, edited: int, theirs: int | None
) -> None:
    promoted(world)
    world.give(edited, theirs)
    undone = undo(world)
    assert (numbers(undone.left), numbers(undone.restored)) == ({edited}, set(BOTH_TASKS) - {edited})
    expected = dict(zip(BOTH_TASKS, OLD_ACTORS, strict=True)) | {edited: theirs}
    assert world.holds(*BOTH_TASKS) == list(expected.values())


def test_g10_a_row_that_was_deleted_since_is_named_and_left(world: World) -> None:
    promoted(world)
    world.change(delete(conversations).where(conversations.c.conversation_id == REGRADE))
    assert numbers(undo(world).left) == {REGRADE}
    assert world.holds(GRADE_A, GRADE_B, EXTRACT) == [SLOW, None, SLOW]


def test_g10_a_row_whose_old_actor_is_gone_is_named_and_left(world: World) -> None:
    promoted(world)
    world.change(delete(actors).where(actors.c.actor_id == WRONG))
    assert numbers(undo(world).left) == {REGRADE}
    assert world.holds(*BOTH_TASKS) == [SLOW, None, FAST, SLOW]


def test_g10_an_old_actor_that_is_disabled_now_is_restored_all_the_same(world: World) -> None:
    promoted(world)
    world.set_actor(WRONG, enabled=False)
    assert undo(world).left == ()
    assert world.holds(*BOTH_TASKS) == OLD_ACTORS


def test_g10_a_rollback_is_audited_like_a_promotion(world: World) -> None:
    promotion = promoted(world)
    world.give(REGRADE, SLOW)
    undo(world)
    made = world.promotions()[-1]
    assert (made.kind, made.undoes, made.reason, made.account) == (
        PlanKind.ROLLBACK, promotion.promotion_id, "the tests want it", "the tests",
    )  # fmt: skip
    assert {row.conversation_id: (row.old_actor_id, row.new_actor_id, row.changed) for row in made.rows} == {
        GRADE_A: (FAST, SLOW, True), GRADE_B: (FAST, None, True), REGRADE: (FAST, WRONG, False),
        EXTRACT: (FAST, SLOW, True),
    }  # fmt: skip


def test_g10_a_rollback_restores_the_champions_from_before(world: World) -> None:
    promoted(world)
    first = world.registry()
    world.server.models["wrong:3b"].answers = world.server.models["slow:7b"].answers
    apply_stored(world, plan_of_now(world))
    assert {one.champion_actor_id for one in world.registry().values()} == {WRONG}
    undo(world)
    assert world.registry() == first


def test_g10_a_rollback_can_be_undone(world: World) -> None:
    promotion = promoted(world)
    after = state(world)
    undone = undo(world)
    undo(world, undone.promotion.promotion_id)
    assert world.holds(*BOTH_TASKS) == [FAST] * 4
    assert world.registry().keys() == set(BOTH_TASKS)
    assert state(world)["benchmark_champions"] == after["benchmark_champions"]
    assert only([one for one in world.promotions() if one.promotion_id == promotion.promotion_id]).in_force


def test_g10_undoing_a_rollback_leaves_what_it_left_and_what_was_changed_since(world: World) -> None:
    promoted(world)
    world.give(REGRADE, SLOW)
    undone = undo(world)
    world.give(EXTRACT, WRONG)
    again = undo(world, undone.promotion.promotion_id)
    assert (numbers(again.restored), numbers(again.left)) == ({GRADE_A, GRADE_B}, {EXTRACT})
    assert world.holds(*BOTH_TASKS) == [FAST, FAST, SLOW, WRONG]


def test_g10_a_rollback_waits_for_an_operators_open_edit_and_leaves_that_row(world: World) -> None:
    promotion = promoted(world)
    plan = reverse(world, promotion)
    world.store(plan)
    with operator(world) as connection:
        connection.execute(edit(REGRADE, SLOW))
        with applying(world, plan) as outcome:
            connection.commit()
            made = outcome.result()
    assert made is not None
    assert [row.conversation_id for row in made.rows if not row.changed] == [REGRADE]
    assert world.holds(*BOTH_TASKS) == [SLOW, None, SLOW, SLOW]


# Hand-made rollbacks: whoever may store a plan may store a lie


def reverse(world: World, promotion: Promotion, reason: str = "the tests want it") -> PromotionPlan:
    """The exact reverse of a promotion."""
    with world.database.engine.connect() as connection:
        stored = plan_by_hash(connection, promotion.plan_hash)
    assert stored is not None
    rows = [
        PlanRow(
            task=row.task,
            conversation_id=row.conversation_id,
            conversation=row.conversation,
            decision=None,
            reason=reason,
            old_actor_id=row.new_actor_id,
            old_actor=row.new_actor,
            new_actor_id=row.old_actor_id,
            new_actor=row.old_actor,
        )
        for row in promotion.changed
    ]
    return PromotionPlan(
        kind=PlanKind.ROLLBACK,
        undoes=promotion.promotion_id,
        reason=reason,
        evidence=(),
        terms=stored.plan.terms,
        rows=tuple(rows),
    )


def lie(world: World, plan: PromotionPlan) -> PlanRefused:
    """Store a plan and hand it to the writer itself, which must refuse it; return the refusal."""
    world.store(plan)
    before = state(world)
    with bench_of(world) as bench, pytest.raises(PlanRefused) as refused:
        bench.writer.apply(plan.hash, "the tests", None, [])
    assert state(world) == before
    return refused.value


def test_g10_the_exact_reverse_is_an_undoing(world: World) -> None:
    plan = reverse(world, promoted(world))
    world.store(plan)
    apply_stored(world, plan)
    assert world.holds(*BOTH_TASKS) == OLD_ACTORS


def first_row(**values: object) -> Callable[[PromotionPlan], PromotionPlan]:
    return lambda plan: plan.model_copy(update={"rows": (plan.rows[0].model_copy(update=values), *plan.rows[1:])})


def head(**values: object) -> Callable[[PromotionPlan], PromotionPlan]:
    return lambda plan: plan.model_copy(update=values)


def one_row_more(plan: PromotionPlan) -> PromotionPlan:
    more = plan.rows[0].model_copy(update={"conversation_id": IMPROVE, "old_actor_id": SLOW, "new_actor_id": FAST})
    return plan.model_copy(update={"rows": (*plan.rows, more)})


def one_row_less(plan: PromotionPlan) -> PromotionPlan:
    return plan.model_copy(update={"rows": plan.rows[1:]})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(first_row(new_actor_id=BROKEN), id="another actor comes back"),
        pytest.param(first_row(new_actor_id=None), id="nobody comes back"),
        pytest.param(first_row(old_actor_id=SLOW), id="another actor goes"),
        pytest.param(first_row(conversation_id=IMPROVE), id="another conversation"),
        pytest.param(first_row(decision=DecisionKind.KEEP), id="a row is kept"),
        pytest.param(one_row_more, id="a row more"),
        pytest.param(one_row_less, id="a row less"),
        pytest.param(head(undoes=None), id="nothing is undone"),
        pytest.param(head(undoes=77), id="what was never done is undone"),
        pytest.param(head(kind=PlanKind.PROMOTION), id="called a promotion"),
        pytest.param(head(kind=PlanKind.FAILOVER), id="called a failover"),
    ],
)
def test_g10_a_rollback_that_is_not_the_exact_reverse_is_refused(
    world: World, change: Callable[[PromotionPlan], PromotionPlan]
) -> None:
    plan = reverse(world, promoted(world))
    assert lie(world, change(plan)).reason == "not_an_undoing"


def test_g10_a_row_that_a_rollback_left_is_no_part_of_its_reverse(world: World) -> None:
    promoted(world)
    world.give(REGRADE, SLOW)
    undone = undo(world).promotion
    world.give(REGRADE, WRONG)  # what the rollback would have put there
    whole = [replace(row, changed=True) for row in undone.rows]
    assert lie(world, reverse(world, replace(undone, rows=tuple(whole)))).reason == "not_an_undoing"


def test_g10_a_promotion_is_undone_once(world: World) -> None:
    promotion = promoted(world)
    undo(world)
    for conversation in BOTH_TASKS:
        world.give(conversation, FAST)
    refused = lie(world, reverse(world, promotion, "once more"))
    assert (refused.reason, refused.facts["reason"]) == ("undone_already", "the tests want it")
