"""Decisions as rows, each with its input. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.decision import Decision, DecisionKind
from bench_pipeline.domain.promoting.plan import PlanRow, PromotionPlan
from bench_pipeline.domain.promoting.replay import DecisionInput
from bench_pipeline.storage.tables import decisions


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision about one conversation as it was stored with its plan."""

    decision_id: int
    plan_hash: str
    benchmark_id: str
    task_type: str
    conversation_id: ConversationId
    kind: DecisionKind
    reason: str
    input: Mapping[str, Any]
    input_hash: str
    decided_at: datetime

    @property
    def was_right(self) -> str:
        """The benchmark in which an incumbent that gives only unreadable answers now was right; empty otherwise."""
        return str((self.input.get("incumbent") or {}).get("was_right", ""))


def insert_decision(
    connection: Connection,
    plan: PromotionPlan,
    row: PlanRow,
    decided_from: DecisionInput,
    decision: Decision,
    at: datetime,
) -> None:
    """Store what was decided about a row of `plan`, and from what."""
    benchmark_of = {one.task: one.benchmark_id for one in plan.evidence}
    connection.execute(
        insert(decisions).values(
            plan_hash=plan.hash,
            benchmark_id=benchmark_of[row.task],
            task_type=row.task,
            conversation_id=row.conversation_id,
            decision=decision.kind.value,
            reason=decision.reason,
            input=decided_from.as_json(),
            input_hash=decided_from.input_hash,
            decided_at=at,
        )
    )


def decision_by_id(connection: Connection, decision_id: int) -> StoredDecision | None:
    """Return the decision with this id, or None."""
    row = connection.execute(select(decisions).where(decisions.c.decision_id == decision_id)).mappings().first()
    return _decision(row) if row else None


def decision_of(connection: Connection, plan_hash: str, conversation_id: ConversationId) -> StoredDecision | None:
    """Return the decision that a plan made about a conversation, or None."""
    mine = decisions.c.plan_hash == plan_hash, decisions.c.conversation_id == conversation_id
    row = connection.execute(select(decisions).where(*mine).limit(1)).mappings().first()
    return _decision(row) if row else None


def decisions_of_plan(connection: Connection, plan_hash: str) -> list[StoredDecision]:
    """Return the decisions that were stored with a plan, in their order."""
    query = select(decisions).where(decisions.c.plan_hash == plan_hash).order_by(decisions.c.decision_id)
    return [_decision(row) for row in connection.execute(query).mappings()]


def decisions_of(connection: Connection, benchmark_id: str) -> list[StoredDecision]:
    """Return the decisions that rest on a benchmark, in the order in which they were stored."""
    query = select(decisions).where(decisions.c.benchmark_id == benchmark_id).order_by(decisions.c.decision_id)
    return [_decision(row) for row in connection.execute(query).mappings()]


def _decision(row: RowMapping) -> StoredDecision:
    return StoredDecision(
        decision_id=row["decision_id"],
        plan_hash=row["plan_hash"],
        benchmark_id=row["benchmark_id"],
        task_type=row["task_type"],
        conversation_id=row["conversation_id"],
        kind=DecisionKind(row["decision"]),
        reason=row["reason"],
        input=row["input"],
        input_hash=row["input_hash"],
        decided_at=row["decided_at"],
    )
