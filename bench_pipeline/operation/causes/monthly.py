"""The scheduled benchmark of all models. A tick that was missed is made up for once, by the latest one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.operation.causes.ticks import latest_tick
from bench_pipeline.storage.measured import first_benchmark_at, measured_whole

NOTICED_WITHIN = timedelta(hours=24)
"""How long a tick counts for a task that was never benchmarked, and so missed none."""


def find_monthly(
    bench: Workbench,
    task: str,
    roster: Sequence[Candidate],  # noqa: ARG001
    now: datetime,
) -> list[Finding]:
    """Return the last tick of BENCH_SCHEDULE unless a whole benchmark began since."""
    tick = latest_tick(bench.settings.schedule, bench.settings.schedule_timezone, now)
    prepared = prepare(bench, task)
    with bench.database.engine.connect() as connection:
        first = first_benchmark_at(connection, task)
        if (first is None and now - tick > NOTICED_WITHIN) or (first is not None and first > tick):
            return []
        if measured_whole(connection, task, tick, prepared.suite.hash, prepared.protocol.hash):
            return []
    why = f"the scheduled benchmark of {tick:%Y-%m-%d %H:%M} UTC is due"
    return [Finding(task, Cause.MONTHLY, why, subject=f"{tick:%Y-%m-%d}", wanted=tick.isoformat())]
