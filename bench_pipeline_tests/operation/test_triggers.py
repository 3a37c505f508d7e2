"""The front door of triggers on both databases: noticed once, claimed once, withdrawn, taken up again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding, Trigger, TriggerState
from bench_pipeline.operation import triggers
from bench_pipeline.operation.runs import RunState
from bench_pipeline.storage import triggers as store
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.runs import FakeRuns
from bench_pipeline_tests.kit.world import World

NOW = datetime(2026, 12, 1, 3, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def new_model(model: str, wanted: object = "weights") -> Finding:
    return Finding("grading", Cause.NEW_MODEL, "it is new", model, wanted, (model,))


def stored(world: World) -> list[Trigger]:
    with world.database.engine.connect() as connection:
        return store.triggers_of(connection)


def due(world: World, at: datetime = NOW) -> list[str]:
    return [one.subject for one in triggers.due(world.bench, ["grading"], Action.MEASURE, at)]


def test_a_finding_is_noticed_once_claimed_once_and_carried_by_one_run(world: World) -> None:
    bench, other = world.bench, world.bench
    triggers.notice(bench, "grading", [new_model("fast")], NOW)
    triggers.notice(bench, "grading", [new_model("fast")], LATER)
    with world.database.writing() as connection:  # another daemon, which looked before this one had stored it
        store.insert_triggers(connection, [new_model("fast")], LATER)
    (seen,) = stored(world)

    claimed = triggers.claim(bench, seen, LATER)

    assert claimed is not None
    assert triggers.claim(other, seen, LATER) is None
    assert stored(world) == [claimed]
    with world.database.writing() as connection:
        assert store.carry(connection, seen.trigger_id, 1, "run a")
        assert store.carry(connection, seen.trigger_id, 1, "run a")
        assert not store.carry(connection, seen.trigger_id, 1, "run b")
        assert not store.carry(connection, seen.trigger_id, 2, "run b")


def test_a_cause_that_is_gone_is_withdrawn_and_waits_again_when_it_is_back(world: World) -> None:
    triggers.notice(world.bench, "grading", [new_model("fast"), new_model("slow")], NOW)

    triggers.notice(world.bench, "grading", [], NOW, unknown=["slow"])
    assert due(world) == ["slow"]

    triggers.notice(world.bench, "grading", [], NOW, looked_for=[Cause.MONTHLY])
    assert due(world) == ["slow"]

    triggers.notice(world.bench, "grading", [new_model("fast"), new_model("slow")], NOW)
    assert due(world) == ["fast", "slow"]


def test_a_run_that_vanished_is_missed_after_a_while_and_launched_again(world: World) -> None:
    triggers.notice(world.bench, "grading", [new_model("fast")], NOW)
    triggers.claim(world.bench, stored(world)[0], NOW)

    assert triggers.settle(world.bench, FakeRuns(), NOW + timedelta(minutes=1)) == []
    (lost,) = triggers.settle(world.bench, FakeRuns(), LATER)

    assert (lost.state, lost.attempts, lost.note) == (TriggerState.WAITING, 0, "its run was never seen, or deleted")


@ONE_ENGINE
def test_other_weights_are_another_trigger_with_all_its_attempts(world: World) -> None:
    triggers.notice(world.bench, "grading", [new_model("fast")], NOW)
    triggers.claim(world.bench, stored(world)[0], NOW)
    triggers.settle(world.bench, FakeRuns(RunState.FAILED), NOW, lambda: 0.0)

    triggers.notice(world.bench, "grading", [new_model("fast", "other weights")], NOW)

    assert [(one.state, one.attempts) for one in stored(world)] == [
        (TriggerState.WITHDRAWN, 1),
        (TriggerState.WAITING, 0),
    ]


@ONE_ENGINE
def test_retry_makes_due_what_was_cancelled_and_what_pauses_of_one_model_or_of_all(world: World) -> None:
    triggers.notice(world.bench, "grading", [new_model("fast"), new_model("slow")], NOW)
    for one, end in zip(stored(world), (RunState.CANCELLED, RunState.FAILED), strict=True):
        triggers.claim(world.bench, one, NOW)
        triggers.settle(world.bench, FakeRuns(end), NOW)
    assert due(world) == []

    triggers.retry(world.bench, ["grading"], "slow", NOW)
    assert due(world) == ["slow"]
    triggers.retry(world.bench, ["grading"], None, NOW)
    assert due(world) == ["fast", "slow"]


@ONE_ENGINE
def test_no_more_than_four_benchmarks_are_requested_before_one_ended(world: World) -> None:
    triggers.notice(world.bench, "grading", [new_model(f"m{number}") for number in range(9)], NOW)
    assert due(world) == ["m0", "m1", "m2", "m3"]

    triggers.claim(world.bench, stored(world)[0], NOW)

    assert due(world) == ["m1", "m2", "m3"]
