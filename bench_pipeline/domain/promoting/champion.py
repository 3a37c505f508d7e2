"""A line of the champion registry. When it is written is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.plan import PlanRow, PromotionPlan


@dataclass(frozen=True, slots=True)
class Champion:
    """The actor that a benchmark put or confirmed in a conversation, and its runner-up. Latency in ms."""

    conversation_id: ConversationId
    task_type: str
    champion_actor_id: ActorId
    runner_up_actor_id: ActorId | None
    benchmark_id: str
    avg_latency_ms: float | None
    decided_at: datetime

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value, which `champion_of` reads back."""
        return {name: getattr(self, name) for name in Champion.__slots__} | {"decided_at": self.decided_at.isoformat()}

    def says_the_same(self, other: Champion | None) -> bool:
        """Whether `other` differs at most in when it was decided."""
        return other is not None and replace(other, decided_at=self.decided_at) == self


def champion_of(value: Mapping[str, Any] | None) -> Champion | None:
    """Read the JSON value of a champion."""
    return Champion(**{**value, "decided_at": datetime.fromisoformat(value["decided_at"])}) if value else None


def planned_champion(plan: PromotionPlan, row: PlanRow, at: datetime) -> Champion | None:
    """Return the registry's line after this row was applied; None when the row names no champion."""
    evidence = plan.evidence_of(row.task)
    if evidence is None or row.new_actor_id is None:
        return None
    return Champion(
        conversation_id=row.conversation_id,
        task_type=row.task,
        champion_actor_id=row.new_actor_id,
        runner_up_actor_id=row.runner_up_actor_id,
        benchmark_id=evidence.benchmark_id,
        avg_latency_ms=row.avg_latency_ms,
        decided_at=at,
    )
