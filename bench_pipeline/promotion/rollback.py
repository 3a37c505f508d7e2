"""Undoes a change row by row. Switching a conversation to its runner-up is in failover.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow, last_link, latest_of
from bench_pipeline.domain.promoting.plan import (
    ApprovalMode,
    Bar,
    PlanKind,
    PlanRow,
    PlanTerms,
    PromotionPlan,
)
from bench_pipeline.promotion.plan import terms_of
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.storage import promotions
from bench_pipeline.storage.plans import insert_plan


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback did: the conversations that it restored, and those that it left alone."""

    promotion: Promotion
    undone: Promotion
    restored: tuple[PromotionRow, ...]
    left: tuple[PromotionRow, ...]


def roll_back(
    bench: Workbench,
    reason: str,
    requested_by: str,
    promotion_id: int | None = None,
    task: str | None = None,
    bar: Bar | None = Bar.EVIDENCE,
) -> Rollback:
    """Undo the change with this id, else the last promotion (of `task`).

    Raises `InputError` when there is no such change, and as `undo` does.
    """
    with bench.database.engine.connect() as connection:
        undone = change_to_undo(connection, promotion_id, task)
    return undo(bench, undone, reason, bar, requested_by)


def undo(
    bench: Workbench,
    undone: Promotion,
    reason: str,
    bar: Bar | None,
    requested_by: str,
    dagster_run_id: str | None = None,
) -> Rollback:
    """Restore the earlier actor of each conversation that still has the one of this change; leave the others alone.

    A rollback is itself a change and can be undone. `bar` says how long the actors that it removes are barred.
    Raises `GateFailed` when the change has no rows, `PlanRefused` when it was already undone.
    """
    rows = tuple(_back(row, reason) for row in undone.changed)
    if not rows:
        raise GateFailed(f"promotion {undone.promotion_id} changed nothing; there is nothing to undo")
    plan = PromotionPlan(
        kind=PlanKind.ROLLBACK,
        undoes=undone.promotion_id,
        bar=bar if undone.forward and undone.kind is not PlanKind.FAILOVER else None,
        reason=reason,
        evidence=(),
        terms=reversal_terms(bench, len(rows)),
        rows=rows,
    )
    made = store_and_apply(bench, plan, requested_by, dagster_run_id)
    return Rollback(
        made, undone, tuple(row for row in made.rows if row.changed), tuple(row for row in made.rows if not row.changed)
    )


def change_to_undo(connection: Connection, promotion_id: int | None, task: str | None = None) -> Promotion:
    """Return the change in force that undoing this one, or the last promotion (of `task`), would undo.

    Raises `InputError` when there is none, `GateFailed` when it was already undone.
    """
    changes = promotions.all_promotions(connection)  # read once: another rollback may commit between two reads
    if promotion_id is None:
        found = latest_of(changes, task)
    else:
        found = next((one for one in changes if one.promotion_id == promotion_id), None)
    if found is None:
        raise InputError(
            f"there is no promotion{f' {promotion_id}' if promotion_id else ''} to undo; `bench log` lists the changes"
        )
    if not found.in_force:
        raise GateFailed(
            f"promotion {found.promotion_id} is already undone: {found.undone_because}; "
            f"`bench rollback {found.undone_by}` restores it"
        )
    return last_link(changes, found.promotion_id)


def _back(row: PromotionRow, reason: str) -> PlanRow:
    return PlanRow(
        task=row.task,
        conversation_id=row.conversation_id,
        conversation=row.conversation,
        decision=None,
        reason=reason,
        old_actor_id=row.new_actor_id,
        old_actor=row.new_actor,
        new_actor_id=row.old_actor_id,
        new_actor=row.old_actor,
    )


def reversal_terms(bench: Workbench, rows: int) -> PlanTerms:
    """Return the terms of a reversal: it needs no approval, and may change as many rows as it undoes."""
    return terms_of(bench.settings, rows, ApprovalMode.AUTO, bench.production.schema_hash(bench.database))


def store_and_apply(bench: Workbench, plan: PromotionPlan, requested_by: str, dagster_run_id: str | None) -> Promotion:
    """Store the plan of a reversal and apply it at once. Raises `PlanRefused`."""
    with bench.database.writing() as connection:
        insert_plan(connection, plan, requested_by, datetime.now(UTC))
    made = apply_plan(bench, plan.hash, requested_by, dagster_run_id)
    if made is None:
        raise GateFailed(f"plan {plan.hash[:12]} changes no conversation")
    return made
