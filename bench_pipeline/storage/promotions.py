"""Promotions, the champion registry and validations as rows. Changes nothing of production's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from bench_pipeline.domain.plan import PlanRow, PromotionPlan
from bench_pipeline.storage.tables import champions, plans, promotion_rows, promotions, validations

APPLIED, VALIDATED, ROLLED_BACK = "applied", "validated", "rolled_back"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion as it is stored."""

    promotion_id: int
    plan_hash: str
    benchmark_id: str
    task_type: str
    status: str
    plan: PromotionPlan
    requested_by: str
    applied_at: datetime
    rolled_back_at: datetime | None
    rollback_reason: str | None


@dataclass(frozen=True, slots=True)
class Champion:
    """Who a benchmark put or confirmed in a conversation, and who would replace it."""

    conversation_id: int
    task_type: str
    champion_actor_id: int
    runner_up_actor_id: int | None
    benchmark_id: str
    avg_latency_ms: float | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Validation:
    """What the known cases said after a promotion."""

    promotion_id: int
    passed: bool
    details: Mapping[str, Any]
    validated_at: datetime


def insert_plan(connection: Connection, plan: PromotionPlan, at: datetime) -> None:
    """Store a plan, so that exactly what was shown can be applied."""
    connection.execute(
        insert(plans).values(
            plan_hash=plan.hash,
            task_type=plan.task,
            benchmark_id=plan.benchmark_id,
            plan=plan.model_dump(mode="json"),
            made_at=at,
        )
    )


def latest_plan(connection: Connection, task: str) -> PromotionPlan | None:
    """Return the task's last plan, or None."""
    query = select(plans.c.plan).where(plans.c.task_type == task).order_by(plans.c.plan_id.desc()).limit(1)
    stored = connection.scalar(query)
    return PromotionPlan.model_validate(stored) if stored else None


def insert_promotion(
    connection: Connection, plan: PromotionPlan, requested_by: str, dagster_run_id: str | None, at: datetime
) -> int:
    """Store that a plan is applied, with a row for every conversation it changes; return its id."""
    done = connection.execute(
        insert(promotions).values(
            plan_hash=plan.hash,
            benchmark_id=plan.benchmark_id,
            task_type=plan.task,
            status=APPLIED,
            evidence_hash=plan.evidence_hash,
            plan=plan.model_dump(mode="json"),
            requested_by=requested_by,
            dagster_run_id=dagster_run_id,
            applied_at=at,
        )
    )
    assert done.inserted_primary_key is not None  # noqa: S101 - one row was inserted
    promotion_id = int(done.inserted_primary_key[0])
    for row in plan.changes:
        before = champion(connection, row.conversation_id)
        connection.execute(
            insert(promotion_rows).values(
                promotion_id=promotion_id,
                conversation_id=row.conversation_id,
                old_actor_id=row.old_actor_id,
                new_actor_id=row.new_actor_id,
                runner_up_actor_id=row.runner_up_actor_id,
                expected_gain=row.gain,
                reason=row.reason,
                old_champion=_champion_json(before) if before else None,
            )
        )
    return promotion_id


def promotion_by_plan(connection: Connection, plan_hash: str) -> Promotion | None:
    """Return the promotion that applied this plan, or None."""
    return _first(connection, promotions.c.plan_hash == plan_hash)


def promotion_by_id(connection: Connection, promotion_id: int) -> Promotion | None:
    """Return the promotion with this id, or None."""
    return _first(connection, promotions.c.promotion_id == promotion_id)


def latest_promotion(connection: Connection, task: str | None = None) -> Promotion | None:
    """Return the last promotion that was not undone, of `task` or of any."""
    conditions = [promotions.c.status != ROLLED_BACK]
    if task is not None:
        conditions.append(promotions.c.task_type == task)
    return _first(connection, *conditions)


def _first(connection: Connection, *conditions: Any) -> Promotion | None:  # noqa: ANN401
    query = select(promotions).where(*conditions).order_by(promotions.c.promotion_id.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return _promotion(row) if row else None


def _promotion(row: RowMapping) -> Promotion:
    return Promotion(
        promotion_id=row["promotion_id"],
        plan_hash=row["plan_hash"],
        benchmark_id=row["benchmark_id"],
        task_type=row["task_type"],
        status=row["status"],
        plan=PromotionPlan.model_validate(row["plan"]),
        requested_by=row["requested_by"],
        applied_at=row["applied_at"],
        rolled_back_at=row["rolled_back_at"],
        rollback_reason=row["rollback_reason"],
    )


def mark_validated(connection: Connection, promotion_id: int) -> None:
    """Mark a promotion as validated."""
    connection.execute(update(promotions).where(promotions.c.promotion_id == promotion_id).values(status=VALIDATED))


def mark_rolled_back(connection: Connection, promotion_id: int, restored: list[int], reason: str, at: datetime) -> None:
    """Mark a promotion as undone, and which conversations got their old actor back."""
    connection.execute(
        update(promotions)
        .where(promotions.c.promotion_id == promotion_id)
        .values(status=ROLLED_BACK, rolled_back_at=at, rollback_reason=reason)
    )
    connection.execute(
        update(promotion_rows)
        .where(promotion_rows.c.promotion_id == promotion_id, promotion_rows.c.conversation_id.in_(restored))
        .values(restored=True)
    )


def old_champion(connection: Connection, promotion_id: int, conversation_id: int) -> Champion | None:
    """Return the registry's row as it was before a promotion, or None when there was none."""
    stored = connection.scalar(
        select(promotion_rows.c.old_champion).where(
            promotion_rows.c.promotion_id == promotion_id, promotion_rows.c.conversation_id == conversation_id
        )
    )
    if not stored:
        return None
    return Champion(**(stored | {"decided_at": datetime.fromisoformat(stored["decided_at"])}))


def _champion_json(row: Champion) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Champion.__slots__} | {"decided_at": row.decided_at.isoformat()}


def champion(connection: Connection, conversation_id: int) -> Champion | None:
    """Return the registry's row of a conversation, or None."""
    return next((row for row in all_champions(connection) if row.conversation_id == conversation_id), None)


def all_champions(connection: Connection) -> list[Champion]:
    """Return the champion registry, by conversation."""
    columns = [champions.c[name] for name in Champion.__slots__]
    return [Champion(*row) for row in connection.execute(select(*columns).order_by(champions.c.conversation_id))]


def register_champion(connection: Connection, plan: PromotionPlan, row: PlanRow, at: datetime) -> None:
    """Put the champion of a plan's row, with its runner-up, into the registry; a row that says so already stays."""
    assert row.new_actor_id is not None  # noqa: S101 - a row that changes or confirms names its champion
    before = champion(connection, row.conversation_id)
    now = Champion(
        conversation_id=row.conversation_id,
        task_type=plan.task,
        champion_actor_id=row.new_actor_id,
        runner_up_actor_id=row.runner_up_actor_id,
        benchmark_id=plan.benchmark_id,
        avg_latency_ms=row.avg_latency_ms,
        decided_at=at,
    )
    if before is None or replace(before, decided_at=at) != now:
        restore_champion(connection, row.conversation_id, now)


def restore_champion(connection: Connection, conversation_id: int, row: Champion | None) -> None:
    """Set the registry's row of a conversation, or remove it."""
    connection.execute(delete(champions).where(champions.c.conversation_id == conversation_id))
    if row is not None:
        connection.execute(insert(champions).values({name: getattr(row, name) for name in Champion.__slots__}))


def insert_validation(connection: Connection, row: Validation) -> None:
    """Store the outcome of a validation."""
    connection.execute(insert(validations).values({name: getattr(row, name) for name in Validation.__slots__}))


def last_validation_of_task(connection: Connection, task: str) -> Validation | None:
    """Return the last validation of any promotion of a task, or None."""
    columns = [validations.c[name] for name in Validation.__slots__]
    query = (
        select(*columns)
        .join(promotions, promotions.c.promotion_id == validations.c.promotion_id)
        .where(promotions.c.task_type == task)
        .order_by(validations.c.validation_id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return Validation(*row) if row else None
