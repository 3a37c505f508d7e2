"""What would be changed in production, as a value that can be shown, hashed and applied as it was shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from bench_pipeline.domain.hashing import canonical_json, content_hash
from bench_pipeline.domain.measuring.scoreboard import ModelResult
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.decision import Decision, DecisionKind
from bench_pipeline.domain.promoting.policy import ALPHA
from bench_pipeline.domain.text import storable

Words = Annotated[str, BeforeValidator(lambda value: storable(value) if isinstance(value, str) else value)]


class PlanKind(StrEnum):
    """Why production is changed: a benchmark says so, an earlier change is undone, the champion fails."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    FAILOVER = "failover"


class Bar(StrEnum):
    """How long a champion that was taken away stays out: until its evidence changes, or to the next benchmark."""

    EVIDENCE = "evidence"
    BENCHMARK = "benchmark"


class ApprovalMode(StrEnum):
    """Whether a person must approve a plan before it is applied."""

    AUTO = "auto"
    REQUIRED = "required"


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name or value is not None}


class PlanRow(_Value):
    """One conversation: who carries it out, who should, and why. `decision` is None when no benchmark decided.

    `gain` is the share of the incumbent's mean latency that is saved, None when it was not measured.
    `ratio_low` and `ratio_high` are the interval, at `level`, of new / old latency paired by case.
    `identity_hash` is that of the new actor's model as it was measured, `own_prompt` the SHA-256 of the prompt that
    production keeps for the conversation, None without one.
    """

    task: str
    conversation_id: ConversationId
    conversation: Words
    decision: DecisionKind | None
    reason: Words
    old_actor_id: ActorId | None
    old_actor: Words | None
    new_actor_id: ActorId | None = None
    new_actor: Words | None = None
    execution_path: Words | None = None
    identity_hash: str | None = None
    runner_up_actor_id: ActorId | None = None
    runner_up: Words | None = None
    gain: float | None = None
    avg_latency_ms: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    level: float | None = None
    own_prompt: str | None = None

    @model_serializer(mode="wrap")
    def _as_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what an earlier version did not store, so that its hash stays the same."""
        return _without(handler(self), "own_prompt")

    @property
    def changes(self) -> bool:
        """Whether production's row would be rewritten."""
        return self.decision in (DecisionKind.PROMOTE, None)

    @property
    def confirms(self) -> bool:
        """Whether the incumbent is the champion."""
        return self.decision is DecisionKind.KEEP and self.new_actor_id == self.old_actor_id is not None


class TaskTerms(_Value):
    """What a task allows, and what it measures.

    A promotion may change the `conversations`, those under `auto` without an approval, and at most `max_rows` of
    them; None for all. The hashes are those of the suite and of the prompt.
    """

    task: str
    conversations: tuple[ConversationId, ...]
    auto: tuple[ConversationId, ...]
    max_rows: int | None
    suite_hash: str
    prompt_hash: str

    @property
    def document(self) -> str:
        """All of it as canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def hash(self) -> str:
        """SHA-256 of the document."""
        return content_hash(self.model_dump(mode="json"))

    @property
    def most_rows(self) -> int:
        """How many conversations one promotion may change."""
        return len(self.conversations) if self.max_rows is None else self.max_rows


class PlanEvidence(_Value):
    """The benchmark that a plan rests on for one task, and the hash of its scoreboard and terms.

    `task_terms` is None in a plan of an earlier version, which is no longer applied.
    """

    task: str
    benchmark_id: str
    evidence_hash: str
    task_terms: TaskTerms | None = None

    @model_serializer(mode="wrap")
    def _as_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what an earlier version did not store, so that its hash stays the same."""
        return _without(handler(self), "task_terms")


class PlanTerms(_Value):
    """What must hold when the plan is applied.

    `min_gain` and `alpha` are the policy of its decisions. Not more than `max_rows` conversations change. Evidence is
    younger than `evidence_days`, the plan itself than `plan_hours`, an approval than `approval_hours`. With
    `second_person` nobody approves what they asked for. `schema_hash` is that of production's tables.
    """

    min_gain: float
    alpha: float = ALPHA
    max_rows: int
    evidence_days: float
    plan_hours: float
    approval: ApprovalMode
    approval_hours: float
    second_person: bool
    schema_hash: str


class PromotionPlan(_Value):
    """The exact row changes, what they rest on, and the terms under which they may be applied.

    A rollback names the change that it `undoes`. `bar` is how long what it or a failover takes away stays out.
    """

    kind: PlanKind = PlanKind.PROMOTION
    undoes: int | None = None
    bar: Bar | None = None
    reason: Words = ""
    evidence: tuple[PlanEvidence, ...]
    terms: PlanTerms
    rows: tuple[PlanRow, ...]

    @property
    def document(self) -> str:
        """All of it as canonical JSON: what is stored, and what the hash is of."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def hash(self) -> str:
        """SHA-256 over all of it."""
        return content_hash(self.model_dump(mode="json"))

    @property
    def terms_hash(self) -> str:
        """SHA-256 of the terms."""
        return content_hash(self.terms.model_dump(mode="json"))

    @property
    def tasks(self) -> str:
        """The names of its tasks, comma-separated."""
        return ",".join(sorted({row.task for row in self.rows} | {one.task for one in self.evidence}))

    @property
    def changes(self) -> tuple[PlanRow, ...]:
        """The rows that would be rewritten."""
        return tuple(row for row in self.rows if row.changes)

    def evidence_of(self, task: str) -> PlanEvidence | None:
        """Return what the rows of a task rest on; None in a rollback."""
        return next((one for one in self.evidence if one.task == task), None)


def plan_diff(plan: PromotionPlan) -> str:
    """Return the rows that change as a unified diff without line numbers; names are on one line each."""
    lines = []
    for row in plan.changes:
        lines += [
            f"  conversation {row.conversation_id} {_line(row.conversation)}",
            f"- actor_id {row.old_actor_id} {_line(row.old_actor or 'none')}",
            f"+ actor_id {row.new_actor_id} {_line(row.new_actor or 'none')}",
        ]
    return "\n".join(lines) or "  nothing changes"


def _line(text: str) -> str:
    """A name is foreign text: one line, and no fence of a code block."""
    return "".join(c if c.isprintable() and c != "`" else " " for c in text)


def identity_hash(identity: ModelIdentity) -> str:
    """Hash all that a runtime says of a model: name, version, digest, options."""
    return content_hash(identity.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Holding:
    """The conversation that a decision is about, and the actor that it holds now."""

    task: str
    conversation_id: ConversationId
    conversation: str
    actor_id: ActorId | None
    actor: str | None


def plan_row(holding: Holding, decision: Decision, measured: tuple[str, ModelIdentity] | None) -> PlanRow:
    """Turn a decision into the row of a plan; `measured` is the challenger's execution path and identity."""
    challenger, runner_up, comparison = decision.challenger, decision.runner_up, decision.comparison
    path, identity = measured if challenger and measured else (None, None)
    return PlanRow(
        task=holding.task,
        conversation_id=holding.conversation_id,
        conversation=holding.conversation,
        decision=decision.kind,
        reason=decision.reason,
        old_actor_id=holding.actor_id,
        old_actor=holding.actor,
        new_actor_id=challenger.actor_id if challenger else None,
        new_actor=challenger.model if challenger else None,
        execution_path=path,
        identity_hash=identity_hash(identity) if identity else None,
        runner_up_actor_id=runner_up.actor_id if runner_up else None,
        runner_up=runner_up.model if runner_up else None,
        gain=decision.gain,
        avg_latency_ms=challenger.avg_latency_ms if challenger else None,
        ratio_low=comparison.low if comparison else None,
        ratio_high=comparison.high if comparison else None,
        level=comparison.level if comparison else None,
    )


def evidence_hash(results: tuple[ModelResult, ...], terms: dict[str, Any]) -> str:
    """Hash a scoreboard with the terms it was measured under (suite, prompt, protocol, reader).

    Scoreboards from before latencies were kept by pass have the same hash as then.
    """
    lines = [
        [r.model, r.actor_id, r.digest, r.standing.value, r.rank, r.cases_correct, r.cases, r.calls, r.avg_latency_ms,
         dict(r.case_medians_ms), dict(r.final_case_medians_ms), r.final_passes,
         *([[dict(one) for one in r.final_latencies_ms]] if r.final_latencies_ms else [])]
        for r in results
    ]  # fmt: skip
    return content_hash({"results": lines, "terms": terms})
