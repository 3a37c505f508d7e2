"""The quarterly review: two parts, a report that is marked, and no decision under other terms than the task's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.operation import triggers
from bench_pipeline.operation.causes.quarterly import REPEATS, find_quarterly, review_note
from bench_pipeline.reporting.report import render_report
from bench_pipeline.storage import tables
from bench_pipeline.storage.triggers import link_benchmark, triggers_of
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def found_in(world: World) -> list[Finding]:
    return find_quarterly(world.bench, "grading", (), NOW)


def test_a_review_is_due_twice_once_cold_for_a_task_that_is_older_than_its_tick(world: World) -> None:
    assert found_in(world) == []
    world.run("slow")
    assert found_in(world) == []

    world.change(update(tables.benchmark_runs).values(started_at=NOW - timedelta(days=90)))

    parts = found_in(world)
    assert [one.subject for one in parts] == ["2026-10-08 as production runs", "2026-10-08 cold"]
    assert [one.terms["cache_regime"] for one in parts] == ["as_production", "cold"]
    assert {one.terms["repeats"] for one in parts} == {REPEATS}


@pytest.mark.parametrize(
    ("own_repeats", "marked"),
    [(1, "no decision rests on it, because its protocol is not the task's own: "), (REPEATS, "so it may decide")],
)
def test_the_report_of_a_review_is_marked_and_says_if_it_may_decide(
    world: World, own_repeats: int, marked: str
) -> None:
    world.configure(repeats=own_repeats)
    ranked = world.ranked("fast", "slow", final=False, repeats=REPEATS)
    assert review_note(world.bench, ranked.benchmark) == ""
    finding = Finding("grading", Cause.QUARTERLY, "due", "2026-10-08 as production runs", terms={"repeats": REPEATS})
    triggers.notice(world.bench, "grading", [finding], NOW)
    with world.database.writing() as connection:
        (trigger,) = triggers_of(connection)
        link_benchmark(connection, trigger.trigger_id, trigger.claims, ranked.benchmark.benchmark_id)

    report = render_report(ranked, review_note(world.bench, ranked.benchmark))

    assert "Review of 2026-10-08 as production runs: " in report
    assert marked in report
