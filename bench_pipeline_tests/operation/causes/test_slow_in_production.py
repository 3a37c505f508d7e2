"""A champion that answers production more slowly than it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text, update

from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding
from bench_pipeline.operation.causes.slow_in_production import FEWEST, LAST, MARGIN, find_slow_in_production
from bench_pipeline.storage.tables import benchmark_history
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, RANKED_LATENCIES_MS, SLOW
from bench_pipeline_tests.kit.production import interactions
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, GRADE_B
from bench_pipeline_tests.kit.world import World

MEASURED = float(RANKED_LATENCIES_MS["fast"])
SOON = timedelta(seconds=5)


def found_in(world: World, now: datetime | None = None) -> list[Finding]:
    return find_slow_in_production(world.bench, "grading", world.candidates(), now or datetime.now(UTC))


def answered(
    world: World,
    latencies_ms: Sequence[float],
    actor: int = FAST,
    conversation: int = GRADE_A,
    after: timedelta = SOON,
) -> None:
    """What production keeps of calls that it made after now, one after another."""
    begin = datetime.now(UTC) + after
    rows = [
        {
            "conversation_id": conversation,
            "actor_id": actor,
            "latency_ms": ms,
            "created_at": begin + timedelta(seconds=number),
        }
        for number, ms in enumerate(latencies_ms)
    ]
    world.change(insert(interactions).values(rows))


def test_a_champion_whose_calls_are_slower_than_measured_is_found_with_interval_and_number(world: World) -> None:
    world.promoted()
    assert found_in(world) == []

    answered(world, [20.0] * FEWEST, conversation=GRADE_A)
    answered(world, [30.0] * FEWEST, conversation=GRADE_B)

    (finding,) = found_in(world, datetime(2026, 11, 30, tzinfo=UTC))
    assert (finding.cause, finding.cause.action) == (Cause.SLOW_IN_PRODUCTION, Action.MEASURE)
    assert (finding.subject, finding.models) == ("fast", ("fast",))
    benchmark_id = world.registry()[GRADE_A].benchmark_id
    assert finding.why == (
        "fast is slow in production: median 25 ms (99.9% interval 20 to 30) over its last 60 calls; "
        f"benchmark {benchmark_id} measured 5 ms"
    )


SLOWER, ENOUGH = 4 * MEASURED, [4 * MEASURED] * FEWEST
NOT_SLOW = {
    "too few calls": {"latencies_ms": ENOUGH[1:]},
    "below the margin": {"latencies_ms": [MARGIN * MEASURED] * LAST},
    "an interval that reaches below": {"latencies_ms": [MEASURED] * 20 + [SLOWER] * 20},
    "slow once": {"latencies_ms": [MEASURED] * FEWEST + [1000 * SLOWER] * 3},
    "slow before its last calls": {"latencies_ms": [SLOWER] * LAST + [MEASURED] * LAST},
    "no numbers": {"latencies_ms": [-1.0] * FEWEST + [float("inf")] * FEWEST},
    "before it was champion": {"latencies_ms": ENOUGH, "after": timedelta(days=-1)},
    "another actor's": {"latencies_ms": ENOUGH, "actor": SLOW},
    "another task's": {"latencies_ms": ENOUGH, "conversation": EXTRACT},
}


@pytest.mark.parametrize("calls", NOT_SLOW.values(), ids=NOT_SLOW.keys())
@ONE_ENGINE
def test_nothing_is_found_without_enough_slow_calls_of_the_champion(world: World, calls: dict[str, object]) -> None:
    world.promoted()
    answered(world, **calls)  # type: ignore[arg-type]
    assert found_in(world) == []


@ONE_ENGINE
def test_it_is_found_once_a_month_until_it_is_measured_as_slow_as_it_is(world: World) -> None:
    world.promoted()
    answered(world, ENOUGH)
    months = [datetime(2026, month, day, tzinfo=UTC) for month, day in ((11, 1), (11, 30), (12, 1))]

    first, same, next_month = (found_in(world, now)[0] for now in months)
    assert first.evidence == same.evidence != next_month.evidence

    again = world.ranked("fast", "slow").benchmark.benchmark_id
    measured = benchmark_history.c.benchmark_run_id == again, benchmark_history.c.model == "fast"
    world.change(update(benchmark_history).where(*measured).values(median_ms=SLOWER))
    assert found_in(world) == []


@ONE_ENGINE
def test_a_model_that_no_benchmark_put_into_production_is_not_looked_at(world: World) -> None:
    world.ranked("fast", "slow")
    world.give(GRADE_A, FAST)
    answered(world, ENOUGH)
    assert found_in(world) == []


@ONE_ENGINE
def test_a_champion_that_no_longer_serves_is_not_looked_at(world: World) -> None:
    world.promoted()
    answered(world, ENOUGH, conversation=GRADE_B)
    world.give(GRADE_B, SLOW)
    assert found_in(world) == []


@ONE_ENGINE
def test_a_production_without_latencies_says_nothing(world: World) -> None:
    world.promoted()
    answered(world, ENOUGH)
    world.change(text("ALTER TABLE interactions RENAME COLUMN latency_ms TO took"))
    assert reopened(world) == []


def reopened(world: World) -> list[Finding]:
    """What another process finds, which reads the tables' columns anew."""
    from bench_pipeline.storage.production import open_production

    world.production = open_production(world.database, {})
    return found_in(world)


@ONLY_POSTGRESQL
def test_calls_that_may_not_be_read_say_nothing(world: World) -> None:
    world.promoted()
    answered(world, ENOUGH)
    world.change(text("REVOKE SELECT ON interactions FROM bench_recorder"))
    assert found_in(world) == []
