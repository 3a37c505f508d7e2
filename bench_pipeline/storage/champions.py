"""The champion registry as rows: who a benchmark put or confirmed in each conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from bench_pipeline.domain.promoting.plan import PlanRow, PromotionPlan
from bench_pipeline.storage.tables import champions


@dataclass(frozen=True, slots=True)
class Champion:
    """Who a benchmark put or confirmed in a conversation, and who would replace it. Latency in ms."""

    conversation_id: int
    task_type: str
    champion_actor_id: int
    runner_up_actor_id: int | None
    benchmark_id: str
    avg_latency_ms: float | None
    decided_at: datetime

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value, which `champion_of` reads back."""
        return {name: getattr(self, name) for name in Champion.__slots__} | {"decided_at": self.decided_at.isoformat()}


def champion_of(value: Mapping[str, Any] | None) -> Champion | None:
    """Read what `as_json` gave."""
    return Champion(**{**value, "decided_at": datetime.fromisoformat(value["decided_at"])}) if value else None


def champion(connection: Connection, conversation_id: int) -> Champion | None:
    """Return the registry's row of a conversation, or None."""
    return next((row for row in all_champions(connection) if row.conversation_id == conversation_id), None)


def all_champions(connection: Connection) -> list[Champion]:
    """Return the registry, by conversation."""
    columns = [champions.c[name] for name in Champion.__slots__]
    return [Champion(*row) for row in connection.execute(select(*columns).order_by(champions.c.conversation_id))]


def register_champion(connection: Connection, plan: PromotionPlan, row: PlanRow, at: datetime) -> None:
    """Put the champion of a plan's row, with its runner-up, into the registry; a row that says so already stays."""
    evidence = plan.evidence_of(row.task)
    assert row.new_actor_id is not None  # noqa: S101 - a row that is registered names its champion
    assert evidence is not None  # noqa: S101 - and rests on a benchmark
    before = champion(connection, row.conversation_id)
    now = Champion(
        conversation_id=row.conversation_id,
        task_type=row.task,
        champion_actor_id=row.new_actor_id,
        runner_up_actor_id=row.runner_up_actor_id,
        benchmark_id=evidence.benchmark_id,
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
