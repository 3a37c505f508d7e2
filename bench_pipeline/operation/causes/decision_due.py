"""Benchmarks that Dagster measured and from which nothing was decided: another process takes the decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

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

_LOOKED_AT = 50
"""How many benchmarks may be measured between two decisions, such as one per model of a batch that was pulled."""


def find_decision_due(
    bench: Workbench,
    task: str,
    roster: Sequence[Candidate],  # noqa: ARG001
    now: datetime,
) -> list[Finding]:
    """Return Dagster's benchmarks under the task's own terms since the last one that was decided upon, oldest first.

    Each gets a decision of its own: a later one that measured another model ranks the champion by its earlier run, and
    may lack the final that decides for it.
    """
    if bench.application is None:
        return []
    present = present_terms(prepare(bench, task))
    since = now - timedelta(days=bench.settings.promotion_evidence_days)
    with bench.database.engine.connect() as connection:
        fit = [
            row
            for row in benchmarks_of_dagster(connection, task, _LOOKED_AT)
            if not row.invalid
            and row.started_at >= since
            and not foreign_terms(measured_terms(row), present)
            and stored_scoreboard(connection, row.benchmark_id) is not None
        ]
    open_ = list(takewhile(lambda row: not decided(bench, task, row.benchmark_id), fit))
    return [
        Finding(
            task,
            Cause.DECISION_DUE,
            f"{row.benchmark_id} was measured, and no decision was taken from it",
            subject=row.benchmark_id,
            wanted=row.benchmark_id,
        )
        for row in reversed(open_)
    ]


def decided(bench: Workbench, task: str, benchmark_id: str) -> bool:
    """Whether a plan was made from a benchmark. A task that serves no conversation has plans without decisions."""
    with bench.database.engine.connect() as connection:
        if decisions_of(connection, benchmark_id):
            return True
        stored = latest_plan(connection, task)
    return stored is not None and stored.complete and any(
        one.benchmark_id == benchmark_id for one in stored.plan.evidence
    )  # fmt: skip
