"""A plan that can be applied now, and a promotion that was applied and not validated: what an end left open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import ApprovalMode
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.promotion.gates import awaited
from bench_pipeline.storage.benchmarks import benchmark
from bench_pipeline.storage.plans import approvals_of, latest_plan
from bench_pipeline.storage.promotions import last_validation, promotion_by_id, promotion_by_plan, unvalidated

_PROMOTION = "promotion "


def find_approved(
    bench: Workbench,
    task: str,
    roster: Sequence[Candidate],  # noqa: ARG001
    now: datetime,  # noqa: ARG001
) -> list[Finding]:
    """Return the task's latest plan if nothing keeps it back any more, and its promotions that wait for validation.

    What a person did at the command line is left to that person, except that an approval is a wish to promote.
    """
    if bench.application is None:
        return []
    with bench.database.engine.connect() as connection:
        stored = latest_plan(connection, task)
        waiting = [one for one in unvalidated(connection, task) if one.dagster_run_id is not None]
    found = [
        Finding(
            task,
            Cause.APPROVED,
            f"promotion {one.promotion_id} was applied and not validated",
            subject=f"{_PROMOTION}{one.promotion_id}",
            wanted=["validation", one.promotion_id],
        )
        for one in waiting
    ]
    if stored is not None and stored.complete and (why := _why_now(bench, stored)):
        found.append(Finding(task, Cause.APPROVED, why, subject=stored.plan_hash, wanted=stored.plan_hash))
    return found


def delivered(bench: Workbench, subject: str) -> bool:
    """Whether the plan was applied, or the promotion validated, that a finding of this subject is about."""
    with bench.database.engine.connect() as connection:
        if number := promotion_in(subject):
            undone = promotion_by_id(connection, number)
            return undone is None or last_validation(connection, number) is not None
        return promotion_by_plan(connection, subject) is not None


def promotion_in(subject: str) -> int | None:
    """Return the promotion that a subject names; None when it names a plan."""
    return int(subject.removeprefix(_PROMOTION)) if subject.startswith(_PROMOTION) else None


def _why_now(bench: Workbench, stored: StoredPlan) -> str:
    """Return why a plan can be applied now; empty when it cannot, or when that is left to the person who made it."""
    if not stored.plan.changes:
        return ""
    with bench.database.engine.connect() as connection:
        if promotion_by_plan(connection, stored.plan_hash) is not None:
            return ""
        approved = approvals_of(connection, stored.plan_hash)
        rows = [benchmark(connection, one.benchmark_id) for one in stored.plan.evidence]
    measured_here = all(row is not None and row.dagster_run_id is not None for row in rows)
    automatic = stored.plan.terms.approval is ApprovalMode.AUTO and measured_here
    if not (approved or automatic) or awaited(bench, stored):
        return ""
    return f"approved by {approved[0].approved_by} and not applied" if approved else "made and not applied"
