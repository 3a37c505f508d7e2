"""After a promotion the known cases are run once more, and a champion that does not hold is taken back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from bench_pipeline.benchmark.ranking import latest_benchmark_id
from bench_pipeline.promotion.validating import ValidationResult, validate_promotion
from bench_pipeline.storage import tables
from bench_pipeline.storage.promotions import Promotion
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.world import (
    CASES,
    FAST,
    GRADE_B,
    ONE_ENGINE,
    SERVED,
    SLOW,
    WRONG,
    World,
    only,
)

LIMIT = 8_000_000_000


def validate(world: World, promotion: Promotion, limit: int = LIMIT) -> ValidationResult:
    world.runtimes.close()  # a new process, which asks the server anew
    return validate_promotion(
        world.database,
        world.production,
        world.prepared(),
        promotion,
        world.candidates(),
        world.runtimes,
        limit,
        world.events.append,
    )


def statuses(world: World) -> list[str]:
    return [status for (status,) in world.rows("benchmark_promotions", "status")]


def test_a_champion_that_is_still_right_and_no_slower_stays(world: World) -> None:
    result = validate(world, world.promoted())
    assert (result.passed, result.reasons, result.rollback) == (True, (), None)
    assert world.holds() == [FAST] * 3
    assert statuses(world) == ["validated"]
    passed, details = only(world.rows("benchmark_validations", "passed", "details"))
    assert passed is True
    assert (details["model"], details["cases_correct"], details["cases"]) == ("fast", 4, 4)


def test_validating_runs_every_case_on_the_champion_alone(world: World) -> None:
    promotion = world.promoted()
    before = len(world.server.log)
    validate(world, promotion)
    assert world.calls(since=before) == [("fast:1b", case) for case in CASES]


def test_a_validation_is_no_benchmark_and_makes_no_history(world: World) -> None:
    promotion = world.promoted()
    history = world.rows("benchmark_history", "benchmark_id", "model_name")
    validate(world, promotion)
    assert latest_benchmark_id(world.database, "grading") == promotion.benchmark_id
    assert world.rows("benchmark_history", "benchmark_id", "model_name") == history
    assert sorted(purpose for (purpose,) in world.rows("benchmark_runs", "purpose")) == ["benchmark", "validation"]


def become(**changes: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        for name, value in changes.items():
            setattr(world.server.models["fast:1b"], name, value)

    return change


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(become(answers={}), "got 2/4 cases right: FAIL_001: said PASS", id="wrong"),
        pytest.param(become(fault=Fault.EMPTY_CONTENT), "got 0/4 cases right: PASS_001: empty reply", id="silent"),
        pytest.param(become(fault=Fault.CUT_STREAM), "got 0/4 cases right", id="connection closed"),
        pytest.param(become(fault=Fault.LOADING_REFUSED), "got 0/4 cases right", id="does not load"),
        pytest.param(lambda w: w.server.__exit__(), "cannot be called: no Ollama server", id="server down"),
        pytest.param(lambda w: w.server.models.pop("fast:1b"), "cannot be called: fast:1b is not installed",
                     id="removed"),
        pytest.param(lambda w: w.set_actor(FAST, enabled=False), "cannot be called: it is not enabled", id="disabled"),
        pytest.param(lambda w: w.remove_actor(FAST), "cannot be called: it is no actor any more", id="deleted"),
        pytest.param(become(size_bytes=9_000_000_000), "cannot be called: 9.0 GB, the limit is 8.0 GB", id="grown"),
    ],
)  # fmt: skip
def test_a_champion_that_does_not_hold_is_taken_back(world: World, changes: Callable[[World], None], says: str) -> None:
    promotion = world.promoted()
    changes(world)
    result = validate(world, promotion)
    assert result.passed is False
    assert says in "; ".join(result.reasons)
    assert world.holds() == [SLOW] * 3
    assert result.rollback is not None
    assert (result.rollback.restored, result.rollback.left) == (SERVED, ())
    assert statuses(world) == ["rolled_back"]
    reason, = only(world.rows("benchmark_promotions", "rollback_reason"))  # fmt: skip
    assert reason.startswith("validation failed: ")
    assert says in reason
    passed, details = only(world.rows("benchmark_validations", "passed", "details"))
    assert (passed, details["reasons"]) == (False, list(result.reasons))


def test_a_champion_that_holds_more_memory_than_the_limit_is_taken_back(world: World) -> None:
    result = validate(world, world.promoted(), limit=900_000_000)
    assert result.reasons == ("fast holds 1.0 GB, the limit is 0.9 GB",)
    assert world.holds() == [SLOW] * 3


def test_a_failed_validation_leaves_a_conversation_that_somebody_changed_since(world: World) -> None:
    promotion = world.promoted()
    world.server.models["fast:1b"].answers = {}
    world.give(GRADE_B, WRONG)
    result = validate(world, promotion)
    assert result.rollback is not None
    assert result.rollback.left == (GRADE_B,)
    assert world.holds() == [SLOW, WRONG, SLOW]


@ONE_ENGINE
def test_an_incumbent_that_did_not_qualify_is_no_measure_of_speed(world: World) -> None:
    for conversation in SERVED:
        world.give(conversation, WRONG)
    promotion = world.apply(world.plan(world.ranked("fast", "wrong")))
    assert promotion is not None
    world.server.models["fast:1b"].latency_ms = 10
    assert validate(world, promotion).passed


def test_a_champion_that_is_slower_than_the_incumbent_was_is_taken_back(world: World) -> None:
    promotion = world.promoted()
    history = tables.benchmark_history
    world.change(
        update(history).where(history.c.model_name == "slow").values(case_medians_ms=dict.fromkeys(CASES, 10.0))
    )
    world.server.models["fast:1b"].latency_ms = 20
    result = validate(world, promotion)
    assert "slower than slow was (95% interval" in only(result.reasons)
    assert world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_a_promotion_can_be_validated_again_and_taken_back_later(world: World) -> None:
    promotion = world.promoted()
    assert validate(world, promotion).passed
    world.server.models["fast:1b"].answers = {}
    assert not validate(world, promotion).passed
    assert world.holds() == [SLOW] * 3
    assert [passed for (passed,) in world.rows("benchmark_validations", "passed")] == [True, False]
