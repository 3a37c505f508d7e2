"""What a promotion would change, as a value that can be shown, hashed and applied as it was shown."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from bench_pipeline.domain.decision import Decision, DecisionKind
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.policy import ALPHA
from bench_pipeline.domain.scoreboard import ModelResult


class PlanRow(BaseModel):
    """One conversation of the task: who carries it out, who should, and why.

    `gain` is the share of the incumbent's mean latency that is saved, None when it was not measured.
    `ratio_low` and `ratio_high` are the interval, at `level`, of new / old latency paired by case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversation_id: int
    conversation: str
    decision: DecisionKind
    reason: str
    old_actor_id: int | None
    old_actor: str | None
    new_actor_id: int | None = None
    new_actor: str | None = None
    execution_path: str | None = None
    runner_up_actor_id: int | None = None
    runner_up: str | None = None
    gain: float | None = None
    avg_latency_ms: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    level: float | None = None

    @property
    def changes(self) -> bool:
        """Whether production's row would be rewritten."""
        return self.decision is DecisionKind.PROMOTE

    @property
    def confirms(self) -> bool:
        """Whether the incumbent is the champion."""
        return self.decision is DecisionKind.KEEP and self.new_actor_id == self.old_actor_id is not None


class PromotionPlan(BaseModel):
    """The exact row changes that a benchmark justifies, and the policy by which it does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    benchmark_id: str
    evidence_hash: str
    min_gain: float
    alpha: float = ALPHA
    rows: tuple[PlanRow, ...]

    @property
    def hash(self) -> str:
        """SHA-256 over all of it."""
        return content_hash(self.model_dump(mode="json"))

    @property
    def changes(self) -> tuple[PlanRow, ...]:
        """The rows that would be rewritten."""
        return tuple(row for row in self.rows if row.changes)


def plan_row(
    conversation_id: int,
    conversation: str,
    old_actor_id: int | None,
    old_actor: str | None,
    decision: Decision,
    execution_path: str | None,
) -> PlanRow:
    """Turn a decision into the row of a plan."""
    challenger, runner_up, comparison = decision.challenger, decision.runner_up, decision.comparison
    return PlanRow(
        conversation_id=conversation_id,
        conversation=conversation,
        decision=decision.kind,
        reason=decision.reason,
        old_actor_id=old_actor_id,
        old_actor=old_actor,
        new_actor_id=challenger.actor_id if challenger else None,
        new_actor=challenger.model if challenger else None,
        execution_path=execution_path if challenger else None,
        runner_up_actor_id=runner_up.actor_id if runner_up else None,
        runner_up=runner_up.model if runner_up else None,
        gain=decision.gain,
        avg_latency_ms=challenger.avg_latency_ms if challenger else None,
        ratio_low=comparison.low if comparison else None,
        ratio_high=comparison.high if comparison else None,
        level=comparison.level if comparison else None,
    )


def evidence_hash(results: tuple[ModelResult, ...], terms: dict[str, Any]) -> str:
    """Hash a scoreboard with the terms it was measured under (suite, prompt, protocol, reader)."""
    lines = [
        [r.model, r.actor_id, r.digest, r.standing.value, r.rank, r.cases_correct, r.cases, r.calls, r.avg_latency_ms,
         dict(r.case_medians_ms), dict(r.final_case_medians_ms), r.final_passes]
        for r in results
    ]  # fmt: skip
    return content_hash({"results": lines, "terms": terms})
