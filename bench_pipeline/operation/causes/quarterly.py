"""The quarterly review: all models, more passes, once as production runs and once cold. It is two benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.operation.causes.ticks import latest_tick
from bench_pipeline.storage.benchmarks import first_benchmark_at

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
