"""A promotion was undone by its validation: one of the two measurements was wrong. Its champion is measured again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import PlanKind
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.storage.measured import measured_since
from bench_pipeline.storage.promotions import all_promotions, failed_validations

MOST = 2
"""How many undone promotions of a task are followed up within `WITHIN`: a model that fails each time must not
keep the accelerator busy."""
WITHIN = timedelta(days=7)


def find_validation_undone(bench: Workbench, task: str, roster: Sequence[Candidate], now: datetime) -> list[Finding]:
    """Return a finding for the last promotion that was undone by its validation, until the task is measured again."""
    with bench.database.engine.connect() as connection:
        failed = failed_validations(connection)
        changes = {one.promotion_id: one for one in all_promotions(connection)} if failed else {}
        undone = [one for one in changes.values() if one.promotion_id in failed and _concerns(one, task)]
        if not undone:
            return []
        last = undone[-1]
        ended = changes[last.undone_by].applied_at if last.undone_by is not None else last.applied_at
        recent = [one for one in undone if one.applied_at > now - WITHIN]
        if len(recent) > MOST or measured_since(connection, task, ended):
            return []
    promoted = {row.new_actor_id for row in last.rows if row.task == task}
    models = tuple(one.name for one in roster if one.eligible and one.actor_id in promoted)
    if not models:  # gone since, or unknown while its server does not answer
        return []
    return [
        Finding(
            task=task,
            cause=Cause.VALIDATION_UNDONE,
            subject=f"promotion {last.promotion_id}",
            why=f"promotion {last.promotion_id} of {', '.join(models)} was undone: {last.undone_because}",
            wanted={"promotion": last.promotion_id},
            models=models,
        )
    ]


def _concerns(change: Promotion, task: str) -> bool:
    return change.kind is PlanKind.PROMOTION and not change.in_force and task in change.tasks
