"""Every trigger through a tick of its sensor and the run that the tick requests: measured, failing, and held back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from pydantic import SecretStr
from sqlalchemy import insert, update

from bench_pipeline.assets import waiting
from bench_pipeline.assets.trigger_tags import CAUSE, TRIGGER
from bench_pipeline.domain.triggers.attempts import MAX_ATTEMPTS
from bench_pipeline.domain.triggers.trigger import Action, Cause, TriggerState
from bench_pipeline.operation import quiet_hours
from bench_pipeline.operation.triggers import retry
from bench_pipeline.promotion.validation import validate_promotion
from bench_pipeline.storage import tables
from bench_pipeline.storage.locks import BENCHMARK
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.fakes.recorded_server import Recorded
from bench_pipeline_tests.kit.daemon import (
    MEASURING,
    age,
    execute,
    pass_the_pause,
    requests_of,
    tick,
    told,
    triggers_now,
)
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import BROKEN, FAST, SILENT, SLOW, WRONG
from bench_pipeline_tests.kit.pipeline import Pipeline, with_settings
from bench_pipeline_tests.kit.production import interactions
from bench_pipeline_tests.kit.tasks import GRADE_A, suite_value, write_task

pytestmark = ONE_ENGINE
LONG_AGO = timedelta(days=120)
NEVER = "0 0 29 2 *"
"""A schedule of which no tick is due while a test of another cause runs."""


def with_actors(pipeline: Pipeline, *kept: int) -> None:
    for actor in {FAST, SLOW, WRONG, SILENT, BROKEN} - set(kept):
        pipeline.world.remove_actor(actor)


@pytest.fixture
def measured(pipeline: Pipeline) -> Pipeline:
    """One model, benchmarked before `fast` was an actor; nothing is due."""
    with_actors(pipeline, SLOW)
    changed = with_settings(pipeline, final_passes=0)
    changed.run(assets=MEASURING)
    return changed


@pytest.fixture
def promoted(pipeline: Pipeline) -> Pipeline:
    """Two models of which the faster one is in production; nothing is due."""
    with_actors(pipeline, SLOW, FAST)
    pipeline.world.promoted()
    return pipeline


def a_new_model(pipeline: Pipeline) -> None:
    pipeline.world.add_actor(FAST, "fast", "ollama:fast:1b")


def new_weights(pipeline: Pipeline) -> None:
    pipeline.world.server.models["slow:7b"].digest = "sha256:99"


def a_month_passes(pipeline: Pipeline) -> None:
    pipeline.settings = pipeline.settings.model_copy(update={"review_schedule": NEVER})
    age(pipeline, datetime.now(UTC) - LONG_AGO)


def a_quarter_passes(pipeline: Pipeline) -> None:
    pipeline.settings = pipeline.settings.model_copy(update={"schedule": NEVER})
    age(pipeline, datetime.now(UTC) - LONG_AGO)


def the_suite_changes(pipeline: Pipeline) -> None:
    suite = suite_value()
    suite["test_cases"][0]["expected_scores"]["accuracy"] = 8
    write_task(pipeline.world.folder / "testcases", suite)


def the_server_is_updated(pipeline: Pipeline) -> None:
    pipeline.world.server.version = "0.99.0"


def production_is_slow(pipeline: Pipeline) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    call = {"conversation_id": GRADE_A, "actor_id": FAST, "latency_ms": 900.0, "created_at": at}
    pipeline.world.change(insert(interactions).values([call] * 40))


def validation_undoes(pipeline: Pipeline) -> None:
    world = pipeline.world
    world.server.models["fast:1b"].fault = Fault.SERVER_ERROR
    bench = world.bench
    validate_promotion(bench, world.promotions()[-1], "the tests", world.events.append)
    bench.writer.close()
    world.server.models["fast:1b"].fault = None


CAUSES: dict[Cause, tuple[str, Callable[[Pipeline], None]]] = {
    Cause.NEW_MODEL: ("measured", a_new_model),
    Cause.NEW_WEIGHTS: ("measured", new_weights),
    Cause.MONTHLY: ("measured", a_month_passes),
    Cause.QUARTERLY: ("measured", a_quarter_passes),
    Cause.TASK_CHANGED: ("measured", the_suite_changes),
    Cause.SERVER_CHANGED: ("measured", the_server_is_updated),
    Cause.SLOW_IN_PRODUCTION: ("promoted", production_is_slow),
    Cause.VALIDATION_UNDONE: ("promoted", validation_undoes),
}
EACH_CAUSE = pytest.mark.parametrize("cause", [cause for cause in Cause if cause.action is Action.MEASURE])


def with_cause(cause: Cause, request: pytest.FixtureRequest) -> Pipeline:
    before, comes_about = CAUSES[cause]
    pipeline: Pipeline = request.getfixturevalue(before)
    comes_about(pipeline)
    return pipeline


@EACH_CAUSE
def test_a_cause_waits_for_a_held_lock_without_an_attempt_and_is_then_measured_once(
    cause: Cause, pipeline: Pipeline, request: pytest.FixtureRequest
) -> None:
    pipeline = with_cause(cause, request)

    with pipeline.world.database.exclusive(BENCHMARK):
        held = told(tick(pipeline))
    assert "waits: another process holds the benchmark lock: process " in held
    assert {one.attempts for one in triggers_now(pipeline)} == {0}

    pass_the_pause(pipeline)
    runs = requests_of(tick(pipeline))
    for run in runs:
        execute(pipeline, run, only=MEASURING)
    again = told(tick(pipeline))
    assert {run.tags[CAUSE] for run in runs} == {cause.value}
    assert {one.state for one in triggers_now(pipeline)} == {TriggerState.DONE}
    assert again.startswith("grading: all ")


@EACH_CAUSE
def test_a_run_that_fails_twice_is_repeated_after_a_pause(
    cause: Cause, pipeline: Pipeline, request: pytest.FixtureRequest
) -> None:
    pipeline = with_cause(cause, request)

    for attempt in (1, 2):
        run = requests_of(tick(pipeline))[0]
        pipeline.world.server.broken = {"/api/tags"}
        execute(pipeline, run, fails=True, only=MEASURING)
        pipeline.world.server.broken = set()
        again = requests_of(tick(pipeline))
        (waits,) = [one for one in triggers_now(pipeline) if str(one.trigger_id) == run.tags[TRIGGER]]
        assert (waits.state, waits.attempts) == (TriggerState.WAITING, attempt)
        assert waits.due_at > datetime.now(UTC)
        assert all(one.tags[TRIGGER] != run.tags[TRIGGER] for one in again)
        pass_the_pause(pipeline)

    for run in requests_of(tick(pipeline)):
        execute(pipeline, run, only=MEASURING)
    tick(pipeline)
    assert [one.state for one in triggers_now(pipeline) if one.attempts == 2] == [TriggerState.DONE]


def test_a_model_that_is_gone_is_told_to_a_person_until_it_is_back(promoted: Pipeline) -> None:
    promoted.world.set_actor(FAST, enabled=False)
    assert "needs a person" in told(tick(promoted))

    promoted.world.set_actor(FAST, enabled=True)
    tick(promoted)

    assert [one.state for one in triggers_now(promoted, Cause.MODEL_GONE)] == [TriggerState.WITHDRAWN]


def test_one_whole_benchmark_serves_all_causes_of_its_task(measured: Pipeline) -> None:
    a_new_model(measured)
    the_suite_changes(measured)
    a_month_passes(measured)

    (request,) = requests_of(tick(measured))
    execute(measured, request, only=MEASURING)
    tick(measured)

    assert request.partition_key is None
    assert {one.state for one in triggers_now(measured)} == {TriggerState.DONE, TriggerState.WITHDRAWN}


def test_quiet_hours_hold_a_benchmark_back_and_are_told(measured: Pipeline) -> None:
    a_new_model(measured)
    begin, end = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=2)

    quiet = tick(with_settings(measured, quiet_hours=f"{begin:%H:%M}-{end:%H:%M}"))

    assert requests_of(quiet) == []
    assert f"waits: quiet hours last until {end:%a %H:%M}, UTC (BENCH_QUIET_HOURS)" in told(quiet)
    assert [one.attempts for one in triggers_now(measured)] == [0]
    pass_the_pause(measured)
    assert requests_of(tick(measured))


def test_a_requested_run_waits_while_the_server_is_in_use_and_says_so(
    measured: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet_hours, "PAUSE_S", 0.0)
    monkeypatch.setattr(waiting, "LOOK_AGAIN_S", 0.0)
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    in_use = [
        Recorded({"models": [{"name": "slow:7b", "expires_at": f"2026-11-30T12:0{n}:00Z"}]}) for n in (5, 6, 7, 8)
    ]
    measured.world.server.refusals["/api/ps"] = in_use

    run = execute(measured, request, only=MEASURING)

    said = [entry.user_message for entry in measured.instance.all_logs(run.run_id)]
    waits = f"waiting: the server at {measured.world.server.url} is in use: slow:7b was called just now"
    assert said.count(waits) == 1
    tick(measured)
    assert [one.state for one in triggers_now(measured)] == [TriggerState.DONE]


def test_a_model_that_cannot_be_measured_is_given_up_loudly_and_taken_up_by_a_person(measured: Pipeline) -> None:
    measured.world.add_actor(BROKEN, "broken", "ollama:broken:3b")
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=MEASURING)
    measured.world.change(update(tables.triggers).values(attempts=MAX_ATTEMPTS - 1))

    given_up = told(tick(measured))

    assert "broken: given up after 5 attempts: broken could not be measured: " in given_up
    assert "bench retry grading --subject 'broken' takes it up again" in given_up
    retry(measured.world.bench, ["grading"], "broken", datetime.now(UTC))
    assert [one.tags[TRIGGER] for one in requests_of(tick(measured))] == [request.tags[TRIGGER]]


def test_a_run_that_began_nothing_is_a_failure_although_it_succeeded(measured: Pipeline) -> None:
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=["eligible_models"])

    tick(measured)

    (trigger,) = triggers_now(measured)
    assert (trigger.state, trigger.attempts) == (TriggerState.WAITING, 1)
    assert trigger.note == "it began no benchmark"


def test_a_run_that_failed_after_its_evidence_was_written_is_done(measured: Pipeline) -> None:
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=["eligible_models", "grading/test_cases", "grading/model_runs"])
    (run,) = measured.instance.get_runs(dg.RunsFilter(tags={TRIGGER: request.tags[TRIGGER]}))
    measured.instance.report_run_failed(run)

    tick(measured)

    assert [one.state for one in triggers_now(measured)] == [TriggerState.DONE]
    assert measured.world.rows("benchmark_history", "model")[-2:] == [("fast",), ("slow",)]


def test_a_cancelled_run_waits_for_a_person(measured: Pipeline) -> None:
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=["eligible_models"])
    (run,) = measured.instance.get_runs(dg.RunsFilter(tags={TRIGGER: request.tags[TRIGGER]}))
    measured.instance.report_run_canceled(run)

    assert "fast: cancelled by a person; bench retry grading --subject 'fast' takes it up again" in told(tick(measured))


def test_a_killed_run_is_launched_again_without_an_attempt(measured: Pipeline) -> None:
    """Row 30."""
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=["eligible_models"])
    (run,) = measured.instance.get_runs(dg.RunsFilter(tags={TRIGGER: request.tags[TRIGGER]}))
    measured.instance.report_run_failed(run)

    (again,) = requests_of(tick(measured))

    assert again.run_key != request.run_key
    assert [(one.attempts, one.lost) for one in triggers_now(measured)] == [(0, 1)]


def test_a_run_that_is_killed_between_its_model_and_the_final_is_launched_again(measured: Pipeline) -> None:
    """The model has its own calls by then, but its benchmark has no end, no ranking and no decision."""
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=["eligible_models", "grading/test_cases", "grading/model_runs"])
    (run,) = measured.instance.get_runs(dg.RunsFilter(tags={TRIGGER: request.tags[TRIGGER]}))
    begun = tables.benchmark_runs.c.dagster_run_id == run.run_id
    measured.world.change(update(tables.benchmark_runs).where(begun).values(status="running", finished_at=None))
    measured.instance.report_run_failed(run)

    (again,) = requests_of(tick(measured))
    execute(measured, again, only=MEASURING)
    tick(measured)

    assert [one.state for one in triggers_now(measured)] == [TriggerState.DONE]
    assert len(measured.world.rows("benchmark_runs", "benchmark_id")) == 2, "the interrupted benchmark goes on"


def test_the_page_of_the_triggers_tells_what_waits_and_why(measured: Pipeline) -> None:
    a_new_model(measured)
    with measured.world.database.exclusive(BENCHMARK):
        (event,) = tick(measured).asset_events

    assert isinstance(event, dg.AssetMaterialization)
    shown = {name: value.value for name, value in event.metadata.items()}
    assert (shown["waiting"], shown["given_up"]) == (1, 0)
    (row,) = shown["table"].records
    assert row.data["about"] == "fast"
    assert "another process holds the benchmark lock" in row.data["state"]


def test_two_runs_never_carry_one_trigger(measured: Pipeline) -> None:
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=MEASURING)

    execute(measured, request, fails=True, only=MEASURING)


def test_a_dead_server_makes_its_models_unknown_not_absent(measured: Pipeline) -> None:
    a_new_model(measured)
    with measured.world.database.exclusive(BENCHMARK):
        tick(measured)
    pass_the_pause(measured)
    measured.world.server.broken = {"/api/tags"}

    dead = told(tick(measured))

    assert "\n2 models are not known now: " in dead
    assert "all " not in dead
    assert [one.state for one in triggers_now(measured)] == [TriggerState.WAITING]
    measured.world.server.broken = set()
    pass_the_pause(measured)
    assert requests_of(tick(measured))


def test_a_task_that_was_never_benchmarked_waits_for_a_person(pipeline: Pipeline) -> None:
    assert "its first benchmark, of 5 models, is left to the schedule or a person" in told(tick(pipeline))


def test_a_failed_reading_changes_nothing_and_is_a_failed_tick(measured: Pipeline) -> None:
    with pytest.raises(dg.Failure, match="is_active"):
        tick(with_settings(measured, production_names={"actors.enabled": "is_active"}))


@pytest.mark.parametrize("sensor", ["triggers", "deliveries"])
def test_a_tick_creates_no_database(pipeline: Pipeline, sensor: str) -> None:
    absent = pipeline.world.folder / "absent" / "bench.db"
    with pytest.raises(dg.Failure, match="does not exist"):
        tick(with_settings(pipeline, database_url=SecretStr(f"sqlite:///{absent}")), sensor)
    assert not absent.parent.exists()
