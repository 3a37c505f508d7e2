"""A conversation handed to its runner-up: one command, as long as the runner-up's evidence is valid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.failover import fail_over
from bench_pipeline.promotion.gates import set_freeze
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, REGRADE
from bench_pipeline_tests.kit.world import World


def handed_over(world: World, conversation: int = GRADE_B) -> Promotion:
    return fail_over(world.bench, conversation, "the tests")


def test_the_conversation_gets_its_runner_up_and_the_others_keep_their_champion(world: World) -> None:
    world.promoted()
    made = handed_over(world)
    assert world.holds(GRADE_A, GRADE_B, REGRADE) == [FAST, SLOW, FAST]
    assert (made.kind, made.status, made.account) == ("failover", "applied", "the tests")
    row = world.registry()[GRADE_B]
    assert (row.champion_actor_id, row.runner_up_actor_id) == (SLOW, None)


def test_a_failover_can_be_undone_and_made_again(world: World) -> None:
    world.promoted()
    before = world.registry()
    for _ in range(2):
        made = handed_over(world)
        roll_back(world.bench, "it works again", "the tests", made.promotion_id)
        assert world.holds() == [FAST] * 3
        assert world.registry() == before


@ONE_ENGINE
def test_it_waits_for_no_validation_and_no_approval(world: World) -> None:
    world.settings = world.settings.model_copy(update={"approval": "required"})
    for conversation in (GRADE_A, GRADE_B, REGRADE):
        world.give(conversation, FAST)
    world.apply(world.plan())  # nothing changes, but the champion and its runner-up are registered
    handed_over(world)
    assert world.holds() == [FAST, SLOW, FAST]


def aged(world: World) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=36)
    world.change(update(tables.benchmark_model_runs).values(started_at=long_ago))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(lambda w: w.set_actor(SLOW, enabled=False), "actor_disabled", id="it was disabled"),
        pytest.param(lambda w: w.remove_actor(SLOW), "actor_gone", id="it was deleted"),
        pytest.param(lambda w: setattr(w.server.models["slow:7b"], "digest", "sha256:99"), "identity_changed",
                     id="it is another model now"),
        pytest.param(aged, "evidence_old", id="it was measured long ago"),
        pytest.param(lambda w: w.give(GRADE_B, WRONG), "conversation_changed", id="an operator was there first"),
        pytest.param(lambda w: set_freeze(w.database, True, "a holiday", "the tests"), "frozen", id="frozen"),
    ],
)  # fmt: skip
def test_it_is_refused_when_the_runner_up_is_no_longer_what_was_measured(
    world: World, changes: Callable[[World], None], reason: str
) -> None:
    world.promoted()
    changes(world)
    before = world.holds()
    with pytest.raises(PlanRefused) as refused:
        handed_over(world)
    assert refused.value.reason == reason
    assert world.holds() == before


@ONE_ENGINE
def test_without_a_runner_up_or_a_champion_it_says_so(world: World) -> None:
    with pytest.raises(InputError, match="has no champion"):
        handed_over(world)
    world.promoted()
    handed_over(world)
    with pytest.raises(GateFailed, match="has no runner-up"):
        handed_over(world)


def test_the_champion_that_failed_is_not_planned_again_until_something_in_its_evidence_changes(world: World) -> None:
    world.promoted()
    handed_over(world)
    world.give(GRADE_A, SLOW)
    again = world.plan(world.ranked("fast", "slow"))
    assert [row.decision for row in again.rows] == ["promote", "keep", "keep"]
    assert "failover 2 replaced it (requested by the tests" in again.rows[1].reason
    world.server.models["fast:1b"].digest = "sha256:fb"
    world.runtimes.close()
    assert world.plan(world.ranked("fast", "slow")).rows[1].decision == "promote"


def test_a_plan_that_was_left_waiting_does_not_bring_back_what_was_undone_since(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    waiting = world.plan(ranked, min_gain=0.06)
    world.apply(world.plan(ranked))
    roll_back(world.bench, "answers in French", "the tests")
    with pytest.raises(
        PlanRefused, match=r"fast is barred from conversation 3336: promotion 1 did this and was undone"
    ):
        world.apply(waiting)
    assert world.holds() == [SLOW] * 3
