"""A promotion that its validation undid is followed by another measurement, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding
from bench_pipeline.operation.causes import validation_undone
from bench_pipeline.operation.causes.validation_undone import find_validation_undone
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.promotion.validation import validate_promotion
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.world import World


def found_in(world: World, now: datetime | None = None) -> list[Finding]:
    return find_validation_undone(world.bench, "grading", world.candidates(), now or datetime.now(UTC))


def undone(world: World) -> Promotion:
    """A promotion whose champion cannot be called when it is validated."""
    world.server.models["fast:1b"].digest += "1"  # what was undone is barred for the same weights
    world.configure()
    promotion = world.promoted()
    world.server.models["fast:1b"].fault = Fault.SERVER_ERROR
    bench = world.bench
    validate_promotion(bench, promotion, "the tests", world.events.append)
    bench.writer.close()
    world.server.models["fast:1b"].fault = None
    return promotion


def test_an_undone_promotion_is_measured_again_once(world: World) -> None:
    promotion = undone(world)

    (finding,) = found_in(world)

    assert (finding.cause, finding.cause.action) == (Cause.VALIDATION_UNDONE, Action.MEASURE)
    assert (finding.subject, finding.models) == (f"promotion {promotion.promotion_id}", ("fast",))
    assert finding.why.startswith(f"promotion {promotion.promotion_id} of fast was undone: validation failed: ")
    world.ranked("fast", "slow")
    assert found_in(world) == []


@ONE_ENGINE
def test_another_undone_promotion_is_another_cause_and_a_third_in_a_week_is_left_to_people(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone(world)
    (first,) = found_in(world)
    undone(world)
    (second,) = found_in(world)
    assert first.evidence != second.evidence

    monkeypatch.setattr(validation_undone, "MOST", 1)
    assert found_in(world) == []
    assert found_in(world, datetime.now(UTC) + timedelta(days=8)) == [second]


@ONE_ENGINE
def test_a_promotion_that_a_person_undid_or_restored_or_whose_champion_is_gone_is_no_cause(world: World) -> None:
    promotion = world.promoted()
    bench = world.bench
    roll_back(bench, "a person's reason", "the tests", promotion.promotion_id)
    bench.writer.close()
    assert found_in(world) == []

    again = undone(world)
    world.set_actor(FAST, enabled=False)
    assert found_in(world) == []
    world.set_actor(FAST, enabled=True)
    assert [one.subject for one in found_in(world)] == [f"promotion {again.promotion_id}"]
    bench = world.bench
    roll_back(bench, "it was right", "the tests", again.promotion_id + 1)
    bench.writer.close()
    assert found_in(world) == []


@ONE_ENGINE
def test_another_tasks_promotion_is_no_cause(world: World) -> None:
    undone(world)
    assert find_validation_undone(world.bench, "formatting", world.candidates(), datetime.now(UTC)) == []
