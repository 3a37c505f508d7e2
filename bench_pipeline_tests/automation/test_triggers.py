"""Every trigger through a tick of its sensor and the run that the tick requests: measured, failing, and held back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import insert

from bench_pipeline.assets.trigger_tags import TRIGGER
from bench_pipeline.domain.triggers.attempts import MAX_ATTEMPTS
from bench_pipeline.domain.triggers.trigger import Cause, TriggerState
from bench_pipeline.operation import quiet_hours
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
from bench_pipeline_tests.kit.tasks import GRADE_A

pytestmark = ONE_ENGINE
LONG_AGO = timedelta(days=120)


@pytest.fixture
def measured(pipeline: Pipeline) -> Pipeline:
    """Two models, benchmarked before `fast` was an actor; nothing is due."""
    for actor in (BROKEN, FAST, SILENT, WRONG):
        pipeline.world.remove_actor(actor)
    changed = with_settings(pipeline, final_passes=0)
    changed.run(assets=MEASURING)
    return changed


def a_new_model(pipeline: Pipeline) -> None:
    pipeline.world.add_actor(FAST, "fast", "ollama:fast:1b")


def new_weights(pipeline: Pipeline) -> None:
    pipeline.world.server.models["slow:7b"].digest = "sha256:99"


def a_month_passes(pipeline: Pipeline) -> None:
    pipeline.settings = pipeline.settings.model_copy(update={"review_schedule": "0 0 29 2 *"})
    age(pipeline, datetime.now(UTC) - LONG_AGO)


def a_quarter_passes(pipeline: Pipeline) -> None:
    pipeline.settings = pipeline.settings.model_copy(update={"schedule": "0 0 29 2 *"})
    age(pipeline, datetime.now(UTC) - LONG_AGO)


def another_prompt(pipeline: Pipeline) -> None:
    pipeline.world.set_template(GRADE_A, "Posting: {posting}\nSummary: {summary}\nSay [PASS] or [FAIL].")


def another_version_of_the_server(pipeline: Pipeline) -> None:
    pipeline.world.server.version = "99.0.0"


def slow_is_champion(pipeline: Pipeline, since: datetime) -> None:
    ((benchmark_id,), *_) = pipeline.world.rows("benchmark_runs", "benchmark_id")
    champion = {"conversation_id": GRADE_A, "task_type": "grading", "champion_actor_id": SLOW}
    decided = {"benchmark_id": benchmark_id, "decided_at": since}
    pipeline.world.change(insert(tables.champions).values(champion | decided))


def slow_calls_of_the_champion(pipeline: Pipeline) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    slow_is_champion(pipeline, an_hour_ago)
    call = {"conversation_id": GRADE_A, "actor_id": SLOW, "latency_ms": 60_000.0}
    calls = [call | {"created_at": an_hour_ago + timedelta(minutes=1, seconds=number)} for number in range(50)]
    pipeline.world.change(insert(interactions).values(calls))


def a_promotion_is_undone(pipeline: Pipeline) -> None:
    world = pipeline.world
    world.add_actor(FAST, "fast", "ollama:fast:1b")
    world.configure(final_passes=0)
    promotion = world.promoted()
    world.server.models["fast:1b"].fault = Fault.SERVER_ERROR
    with pipeline.workbench.open() as bench:
        validate_promotion(bench, promotion, "the tests", world.events.append)
    world.server.models["fast:1b"].fault = None


CAUSES: dict[Cause, Callable[[Pipeline], None]] = {
    Cause.NEW_MODEL: a_new_model,
    Cause.NEW_WEIGHTS: new_weights,
    Cause.MONTHLY: a_month_passes,
    Cause.QUARTERLY: a_quarter_passes,
    Cause.TASK_CHANGED: another_prompt,
    Cause.SERVER_CHANGED: another_version_of_the_server,
    Cause.SLOW_IN_PRODUCTION: slow_calls_of_the_champion,
    Cause.VALIDATION_UNDONE: a_promotion_is_undone,
}
EACH_CAUSE = pytest.mark.parametrize("cause", CAUSES)


@EACH_CAUSE
def test_a_cause_is_noticed_measured_and_not_measured_again(measured: Pipeline, cause: Cause) -> None:
    CAUSES[cause](measured)

    requests = requests_of(tick(measured))
    for request in requests:
        execute(measured, request, only=MEASURING)
    again = tick(measured)

    assert requests, "nothing was requested"
    assert {one.state for one in triggers_now(measured, cause)} == {TriggerState.DONE}
    assert requests_of(again) == []
    assert told(again).startswith("grading: all ")


@EACH_CAUSE
def test_a_run_that_fails_twice_is_repeated_after_a_pause(measured: Pipeline, cause: Cause) -> None:
    CAUSES[cause](measured)

    for attempt in (1, 2):
        (request, *_) = requests_of(tick(measured))
        measured.world.server.broken = {"/api/tags"}
        execute(measured, request, fails=True, only=MEASURING)
        measured.world.server.broken = set()
        paused = tick(measured)
        waits = next(one for one in triggers_now(measured, cause) if str(one.trigger_id) == request.tags[TRIGGER])
        assert (waits.state, waits.attempts) == (TriggerState.WAITING, attempt)
        assert waits.due_at > datetime.now(UTC)
        assert all(one.tags[TRIGGER] != request.tags[TRIGGER] for one in requests_of(paused))
        pass_the_pause(measured)

    for request in requests_of(tick(measured)):
        execute(measured, request, only=MEASURING)
    tick(measured)
    settled = next(one for one in triggers_now(measured, cause) if one.attempts == 2)
    assert settled.state is TriggerState.DONE


@EACH_CAUSE
def test_a_held_lock_is_waited_for_and_counts_as_no_attempt(measured: Pipeline, cause: Cause) -> None:
    CAUSES[cause](measured)

    with measured.world.database.exclusive(BENCHMARK):
        held = tick(measured)

    assert requests_of(held) == []
    assert "waits: another process holds the benchmark lock: process " in told(held)
    assert {one.attempts for one in triggers_now(measured, cause)} == {0}
    pass_the_pause(measured)
    assert requests_of(tick(measured))


def test_a_champion_that_is_gone_is_told_to_a_person_until_it_is_back(measured: Pipeline) -> None:
    slow_is_champion(measured, datetime.now(UTC))
    measured.world.set_actor(SLOW, enabled=False)
    gone = tick(measured)
    measured.world.set_actor(SLOW, enabled=True)

    assert requests_of(gone) == []
    assert "slow: slow serves conversations 3336, 3337, 3339 and is the champion of conversation 3336" in told(gone)
    assert "`bench promote --task grading`; needs a person" in told(gone)
    assert [one.state for one in triggers_now(measured, Cause.MODEL_GONE)] == [TriggerState.OPEN]
    tick(measured)
    assert [one.state for one in triggers_now(measured, Cause.MODEL_GONE)] == [TriggerState.WITHDRAWN]


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
    monkeypatch.setattr(quiet_hours, "LOOK_AGAIN_S", 0.0)
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    in_use = [Recorded({"models": [{"name": "slow:7b", "expires_at": f"2026-11-30T12:0{n}:00Z"}]}) for n in range(2)]
    measured.world.server.refusals["/api/ps"] = in_use

    run = execute(measured, request, only=MEASURING)

    said = [entry.user_message for entry in measured.instance.all_logs(run.run_id)]
    waits = f"waits: the server at {measured.world.server.url} is in use: slow:7b was called just now"
    assert said.count(waits) == 1
    tick(measured)
    assert [one.state for one in triggers_now(measured)] == [TriggerState.DONE]


def test_a_model_that_cannot_be_measured_is_given_up_loudly_and_taken_up_by_a_person(measured: Pipeline) -> None:
    measured.world.add_actor(BROKEN, "broken", "ollama:broken:3b")
    for _ in range(MAX_ATTEMPTS):
        (request,) = requests_of(tick(measured))
        execute(measured, request, only=MEASURING)
        last = tick(measured)
        pass_the_pause(measured)

    assert "broken: given up after 5 attempts: broken could not be measured: " in told(last)
    assert "bench retry grading --subject 'broken' takes it up again" in told(last)
    assert requests_of(tick(measured)) == []


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
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=["eligible_models"])
    (run,) = measured.instance.get_runs(dg.RunsFilter(tags={TRIGGER: request.tags[TRIGGER]}))
    measured.instance.report_run_failed(run)

    (again,) = requests_of(tick(measured))

    assert again.run_key != request.run_key
    assert [(one.attempts, one.lost) for one in triggers_now(measured)] == [(0, 1)]


def test_two_runs_never_carry_one_trigger(measured: Pipeline) -> None:
    a_new_model(measured)
    (request,) = requests_of(tick(measured))
    execute(measured, request, only=MEASURING)

    execute(measured, request, fails=True, only=MEASURING)


def test_a_dead_server_makes_its_models_unknown_not_absent(measured: Pipeline) -> None:
    a_new_model(measured)
    measured.settings = measured.settings.model_copy(update={"schedule": "0 0 29 2 *"})
    with measured.world.database.exclusive(BENCHMARK):
        tick(measured)
    pass_the_pause(measured)
    measured.world.server.broken = {"/api/tags"}

    dead = told(tick(measured))

    assert "2 models are not known now: " in dead
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
