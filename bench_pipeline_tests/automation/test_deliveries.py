"""What the sensor `deliveries` brings into production: a decision that is due, a plan that can be applied now."""

from __future__ import annotations

from contextlib import ExitStack

import dagster as dg
import pytest
from sqlalchemy import update

from bench_pipeline.assets.trigger_tags import BENCHMARK as BENCHMARK_TAG
from bench_pipeline.assets.trigger_tags import CAUSE, PLAN
from bench_pipeline.domain.triggers.trigger import Cause, TriggerState
from bench_pipeline.storage import locks, tables
from bench_pipeline.storage.locks import BENCHMARK
from bench_pipeline_tests.kit.daemon import (
    MEASURING,
    execute,
    pass_the_pause,
    requests_of,
    tick,
    told,
    triggers_now,
)
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import BROKEN, FAST, SILENT, SLOW, WRONG
from bench_pipeline_tests.kit.pipeline import Pipeline
from bench_pipeline_tests.kit.tasks import task_value, write_task

pytestmark = ONE_ENGINE
NOTHING = "grading: nothing is to be delivered"


@pytest.fixture
def measured(pipeline: Pipeline) -> Pipeline:
    """What the code location that measures leaves behind: a ranked benchmark, and no decision."""
    for actor in (BROKEN, SILENT, WRONG):
        pipeline.world.remove_actor(actor)
    pipeline.run(assets=MEASURING)
    return pipeline


def needs_approval(pipeline: Pipeline) -> None:
    write_task(pipeline.world.folder / "testcases", task=task_value() | {"promotion": {"auto": []}})


def test_a_benchmark_without_a_decision_is_decided_upon_once(measured: Pipeline) -> None:
    (request,) = requests_of(tick(measured, "deliveries"))
    execute(measured, request)

    assert request.job_name == "promote_grading"
    assert request.tags[BENCHMARK_TAG] == measured.metadata("grading/scoreboard")["benchmark_id"]
    assert measured.world.holds() == [FAST] * 3
    assert told(tick(measured, "deliveries")) == NOTHING
    assert [one.state for one in triggers_now(measured)] == [TriggerState.DONE]


def test_each_of_two_benchmarks_is_decided_upon_in_their_order(measured: Pipeline) -> None:
    """The second one ranks the champion by its earlier run, so only the first has the final that decides for it."""
    measured.world.add_actor(WRONG, "wrong", "ollama:wrong:3b")
    measured.instance.add_dynamic_partitions("models", ["wrong"])
    measured.run(partition="wrong", assets=MEASURING)

    (first,) = requests_of(tick(measured, "deliveries"))
    assert requests_of(tick(measured, "deliveries")) == []
    execute(measured, first)
    assert measured.world.holds() == [FAST] * 3
    (second,) = requests_of(tick(measured, "deliveries"))
    execute(measured, second)

    assert first.tags[BENCHMARK_TAG] < second.tags[BENCHMARK_TAG]
    assert measured.world.holds() == [FAST] * 3
    assert told(tick(measured, "deliveries")) == NOTHING


def test_a_delivery_that_fails_twice_is_repeated(measured: Pipeline) -> None:
    for attempt in (1, 2):
        (request,) = requests_of(tick(measured, "deliveries"))
        execute(measured, request, only=["workflow_docs"])
        assert f"{attempt} of 5 attempts failed; no decision was taken from " in told(tick(measured, "deliveries"))
        pass_the_pause(measured)

    (request,) = requests_of(tick(measured, "deliveries"))
    execute(measured, request)

    assert measured.world.holds() == [FAST] * 3
    assert told(tick(measured, "deliveries")) == NOTHING


def test_a_delivery_is_not_held_back_by_a_benchmark_only_its_validation_waits(
    measured: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as another:
        another.enter_context(measured.world.database.exclusive(BENCHMARK))
        (request,) = requests_of(tick(measured, "deliveries"))
        monkeypatch.setattr(locks, "sleep", lambda _: another.close())
        execute(measured, request)

    tick(measured, "deliveries")
    assert [(one.state, one.attempts) for one in triggers_now(measured)] == [(TriggerState.DONE, 0)]


def test_a_plan_waits_for_its_approval_and_is_then_applied(measured: Pipeline) -> None:
    needs_approval(measured)
    (request,) = requests_of(tick(measured, "deliveries"))
    execute(measured, request, fails=True)
    assert measured.world.holds() == [SLOW] * 3
    assert told(tick(measured, "deliveries")) == NOTHING
    plan_hash = measured.metadata("grading/promotion_plan")["plan_hash"]

    measured.world.approve(plan_hash, "ann")
    (request,) = requests_of(tick(measured, "deliveries"))
    execute(measured, request)

    assert (request.tags[CAUSE], request.tags[PLAN]) == (Cause.APPROVED.value, plan_hash)
    assert measured.world.holds() == [FAST] * 3
    assert told(tick(measured, "deliveries")) == NOTHING


def test_what_an_end_between_the_stages_left_open_is_completed(measured: Pipeline) -> None:
    (request,) = requests_of(tick(measured, "deliveries"))
    execute(measured, request, only=["grading/promotion_plan"])
    (request,) = requests_of(tick(measured, "deliveries"))
    execute(measured, request, only=["grading/production_update"])
    assert measured.world.holds() == [FAST] * 3

    (request,) = requests_of(tick(measured, "deliveries"))
    execute(measured, request)

    assert measured.metadata("grading/validation")["passed"] is True
    assert told(tick(measured, "deliveries")) == NOTHING
    assert {one.state for one in triggers_now(measured)} == {TriggerState.DONE}


def test_a_run_that_goes_on_after_the_ranking_takes_its_decision_itself(measured: Pipeline) -> None:
    """Its step for the plan may begin at any moment."""
    going_on = measured.instance.create_run_for_job(
        measured.definitions.resolve_job_def("benchmark_grading"), status=dg.DagsterRunStatus.STARTED
    )
    measured.world.change(update(tables.benchmark_runs).values(dagster_run_id=going_on.run_id))

    assert f"waits: run {going_on.run_id[:8]}, which measured it, has not ended" in told(tick(measured, "deliveries"))


def test_a_persons_plan_is_left_to_the_person(pipeline: Pipeline) -> None:
    for actor in (BROKEN, SILENT, WRONG):
        pipeline.world.remove_actor(actor)
    pipeline.world.store(pipeline.world.plan())

    assert told(tick(pipeline, "deliveries")) == NOTHING
