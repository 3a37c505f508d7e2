"""A benchmark that Dagster measured and nothing was decided from, because the decision is taken in another process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bench_pipeline.benchmark.fitness import measured_terms, present_terms
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.fitness import foreign_terms
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.storage.benchmarks import benchmarks_of_dagster
from bench_pipeline.storage.decisions import decisions_of
from bench_pipeline.storage.history import stored_scoreboard
from bench_pipeline.storage.plans import latest_plan

_LOOKED_AT = 5  # a review and a few invalid benchmarks may be newer than the one to decide from


def find_decision_due(
    bench: Workbench,
    task: str,
    roster: Sequence[Candidate],  # noqa: ARG001
    now: datetime,
) -> list[Finding]:
    """Return the task's latest benchmark of Dagster's under its own terms, unless a decision was taken from it."""
    if bench.application is None:
        return []
    present = present_terms(prepare(bench, task))
    since = now - timedelta(days=bench.settings.promotion_evidence_days)
    with bench.database.engine.connect() as connection:
        found = benchmarks_of_dagster(connection, task, _LOOKED_AT)
        for row in found:
            if row.invalid or row.started_at < since or foreign_terms(measured_terms(row), present):
                continue
            if stored_scoreboard(connection, row.benchmark_id) is None:
                continue
            break
        else:
            return []
    if decided(bench, task, row.benchmark_id):
        return []
    why = f"{row.benchmark_id} was measured, and no decision was taken from it"
    return [Finding(task, Cause.DECISION_DUE, why, subject=row.benchmark_id, wanted=row.benchmark_id)]


def decided(bench: Workbench, task: str, benchmark_id: str) -> bool:
    """Whether a plan was made from a benchmark. A task that serves no conversation has plans without decisions."""
    with bench.database.engine.connect() as connection:
        if decisions_of(connection, benchmark_id):
            return True
        stored = latest_plan(connection, task)
    return stored is not None and stored.complete and any(
        one.benchmark_id == benchmark_id for one in stored.plan.evidence
    )  # fmt: skip
