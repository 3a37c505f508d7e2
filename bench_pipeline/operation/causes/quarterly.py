"""The quarterly review: all models, more passes, once as production runs and once cold. It is two benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench_pipeline.benchmark.fitness import measured_terms, present_terms
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.fitness import foreign_terms
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.operation.causes.ticks import latest_tick
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.measured import first_benchmark_at
from bench_pipeline.storage.triggers import trigger_of_benchmark

REPEATS = 5
PARTS = {"as production runs": "as_production", "cold": "cold"}
"""The parts of a review, with their cache regime."""


def find_quarterly(
    bench: Workbench,
    task: str,
    roster: Sequence[Candidate],  # noqa: ARG001
    now: datetime,
) -> list[Finding]:
    """Return both parts of the review that was last due, for a task that was benchmarked before it was due."""
    tick = latest_tick(bench.settings.review_schedule, bench.settings.schedule_timezone, now)
    with bench.database.engine.connect() as connection:
        first = first_benchmark_at(connection, task)
    if first is None or first > tick:
        return []
    return [
        Finding(
            task,
            Cause.QUARTERLY,
            f"the review of {tick:%Y-%m-%d %H:%M} UTC is due, {part}",
            subject=f"{tick:%Y-%m-%d} {part}",
            wanted=[tick.isoformat(), part],
            terms={"repeats": REPEATS, "strategy": "full", "cache_regime": regime},
        )
        for part, regime in PARTS.items()
    ]


def review_note(bench: Workbench, row: BenchmarkRow) -> str:
    """Return what marks the report on a part of a review: which part it is, and if it may decide; empty for others."""
    with bench.database.engine.connect() as connection:
        trigger = trigger_of_benchmark(connection, row.benchmark_id)
    if trigger is None or trigger.cause is not Cause.QUARTERLY:
        return ""
    foreign = foreign_terms(measured_terms(row), present_terms(prepare(bench, row.task_type)))
    decides = (
        f"no decision rests on it, because {foreign}" if foreign else "its terms are the task's own, so it may decide"
    )
    return f"Review of {trigger.subject}: {decides}."
