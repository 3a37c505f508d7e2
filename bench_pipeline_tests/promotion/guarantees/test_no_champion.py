"""G5, G6: what could not be measured is neither right nor wrong, and without a champion production stays as it is."""

from __future__ import annotations

from collections.abc import Container

import pytest
from sqlalchemy import delete, func, select

from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.storage import tables
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, WRONG
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, SERVED
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import state

LIMIT_S = 0.3
INFRASTRUCTURE = [
    Fault.BUSY,
    Fault.SERVER_ERROR,
    Fault.NEVER_ANSWERS,
    Fault.CUT_STREAM,
    Fault.ERROR_IN_STREAM,
    Fault.JUNK,
    Fault.NOT_FOUND,
]
INVALID = [Fault.DONE_FALSE, Fault.ENDED_WITHOUT_DONE, Fault.WHOLE_WITHOUT_DONE, Fault.EMPTY_CONTENT, Fault.LENGTH]
# Struck at every call, or at one case alone; the first call of a model is its warm-up.
CALLS = pytest.mark.parametrize("on_calls", [None, [3]], ids=["always", "once"])


def strike(world: World, model: str, fault: Fault, on_calls: Container[int] | None = None) -> None:
    world.server.models["slow:7b"].latency_ms = 0  # what is ranked is set
    struck = world.server.models[model]
    struck.fault, struck.fault_on_calls = fault, on_calls


def benchmark(world: World, *models: str, repeats: int = 1) -> RankedBenchmark:
    return world.ranked(*models, time_limit_s=LIMIT_S, repeats=repeats)


def standing(ranked: RankedBenchmark, model: str) -> Standing:
    return only([result.standing for result in ranked.scoreboard.results if result.model == model])


# G5


@CALLS
@pytest.mark.parametrize("fault", INFRASTRUCTURE)
@ONE_ENGINE
def test_g5_an_error_of_infrastructure_leaves_a_model_inconclusive(
    world: World, fault: Fault, on_calls: Container[int] | None
) -> None:
    strike(world, "fast:1b", fault, on_calls)
    assert standing(benchmark(world, "fast", "slow"), "fast") is Standing.INCONCLUSIVE


@ONE_ENGINE
def test_g5_a_case_that_failed_once_and_was_right_once_leaves_a_model_inconclusive(world: World) -> None:
    strike(world, "fast:1b", Fault.SERVER_ERROR, [3])
    assert standing(benchmark(world, "fast", "slow", repeats=2), "fast") is Standing.INCONCLUSIVE


@CALLS
@pytest.mark.parametrize("fault", INVALID)
@ONE_ENGINE
def test_g5_a_reply_without_its_end_or_its_verdict_does_not_qualify(
    world: World, fault: Fault, on_calls: Container[int] | None
) -> None:
    strike(world, "fast:1b", fault, on_calls)
    assert standing(benchmark(world, "fast", "slow"), "fast") is Standing.DISQUALIFIED


@ONE_ENGINE
def test_g5_a_model_with_a_sample_missing_does_not_qualify(world: World) -> None:
    benchmark_id = world.run("fast", "slow")
    run, sample = tables.benchmark_model_runs.c, tables.benchmark_samples.c
    mine = select(func.min(sample.sample_id)).join_from(tables.benchmark_samples, tables.benchmark_model_runs)
    missing = mine.where(run.actor_id == FAST).scalar_subquery()
    world.change(delete(tables.benchmark_samples).where(sample.sample_id == missing))
    assert standing(rank_benchmark(world.database, benchmark_id), "fast") is not Standing.QUALIFIED


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.SERVER_ERROR, Fault.NEVER_ANSWERS, Fault.DONE_FALSE])
def test_g5_a_challenger_that_was_not_measured_well_changes_nothing(world: World, fault: Fault) -> None:
    strike(world, "fast:1b", fault, [3])
    for conversation in SERVED:
        world.give(conversation, WRONG)  # who would be replaced by any model that qualifies
    plan = world.plan(benchmark(world, "fast", "wrong"))
    before = state(world)
    assert world.apply(plan) is None
    assert state(world) == before


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.SERVER_ERROR, Fault.NEVER_ANSWERS])
def test_g5_an_incumbent_that_could_not_be_measured_is_not_replaced(world: World, fault: Fault) -> None:
    strike(world, "slow:7b", fault, [3])
    plan = world.plan(benchmark(world, "fast", "slow"))
    assert {row.decision for row in plan.rows} == {DecisionKind.INCONCLUSIVE}
    before = state(world)
    assert world.apply(plan) is None
    assert state(world) == before


# G6


def all_wrong(world: World) -> None:
    for model in world.server.models.values():
        model.answers, model.fault = {}, None
    world.give(GRADE_A, None)


def test_g6_without_a_qualified_model_production_is_untouched(world: World) -> None:
    all_wrong(world)
    plan = world.plan(benchmark(world, "fast", "slow", "wrong"))
    before = state(world)
    assert world.apply(plan) is None
    assert state(world) == before


def test_g6_without_a_qualified_model_every_command_leaves_production_untouched(typed: Typed, world: World) -> None:
    all_wrong(world)
    before = state(world)
    for command in ("run", "plan", "promote"):
        typed(command, "--task", "grading")
    assert state(world) == before


@pytest.mark.parametrize("command", ["run", "plan"])
@ONE_ENGINE
def test_g6_the_exit_status_tells_that_there_is_no_champion(
    typed: Typed, world: World, command: str, with_final: None
) -> None:
    typed("run", "--task", "grading", "--models", "fast,slow")
    with_champion = typed(command, "--task", "grading").returncode
    all_wrong(world)
    typed("run", "--task", "grading", "--models", "fast,slow", "--fresh")
    assert (with_champion, typed(command, "--task", "grading").returncode) == (0, 1)


@ONE_ENGINE
def test_g6_promote_says_that_there_is_nothing_to_promote_and_why(typed: Typed, world: World) -> None:
    all_wrong(world)
    typed("run", "--task", "grading")
    said = typed("promote", "--task", "grading").stdout
    assert "no model was correct in all cases" in said
    assert "nothing to promote" in said
