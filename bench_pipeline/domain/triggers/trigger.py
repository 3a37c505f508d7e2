"""A trigger: why something should run, what it would measure, and how far it came. How causes are found is not here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bench_pipeline.domain.hashing import content_hash


class Action(StrEnum):
    """What a trigger asks for: a benchmark, a delivery into production, or a person."""

    MEASURE = "measure"
    DELIVER = "deliver"
    TELL = "tell"


class Cause(StrEnum):
    """Why something should run."""

    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    NEW_MODEL = "new_model"
    NEW_WEIGHTS = "new_weights"
    MODEL_GONE = "model_gone"
    TASK_CHANGED = "task_changed"  # suite, prompt, reader, protocol or labels
    SERVER_CHANGED = "server_changed"  # hardware, or version of the server
    SLOW_IN_PRODUCTION = "slow_in_production"
    VALIDATION_UNDONE = "validation_undone"
    DECISION_DUE = "decision_due"  # a benchmark that Dagster measured and nobody decided upon
    APPROVED = "approved"  # a plan that waited and can be applied now

    @property
    def action(self) -> Action:
        """What this cause asks for."""
        if self in (Cause.DECISION_DUE, Cause.APPROVED):
            return Action.DELIVER
        return Action.TELL if self is Cause.MODEL_GONE else Action.MEASURE


class TriggerState(StrEnum):
    """How far a trigger came."""

    WAITING = "waiting"  # to be run, not before `due_at`
    LAUNCHED = "launched"  # a Dagster run was requested or carries it
    DONE = "done"
    GIVEN_UP = "given_up"  # after too many attempts; `bench retry` takes it up again
    WITHDRAWN = "withdrawn"  # its cause is gone
    OPEN = "open"  # a person must act; closed when the cause is gone


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause as it is found now.

    `subject` is what the cause is about: a model, a conversation, a benchmark or a plan; empty for the whole task.
    `wanted` is any JSON value that says which evidence is missing; findings with another value are other triggers.
    `models` are the actors to measure, None for all; `terms` change the protocol for this benchmark.
    """

    task: str
    cause: Cause
    why: str
    subject: str = ""
    wanted: object = ""
    models: tuple[str, ...] | None = None
    terms: Mapping[str, object] = field(default_factory=dict)

    @property
    def evidence(self) -> str:
        """The hash of what is wanted."""
        return content_hash(self.wanted)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A finding as stored, with its attempts.

    `attempts` failed since the cause was noticed, `lost` ones ended without a word, `claims` were requested in all.
    `dagster_run_id` and `benchmark_id` are those of the last claim that got so far.
    """

    trigger_id: int
    task: str
    cause: Cause
    subject: str
    evidence: str
    why: str
    models: tuple[str, ...] | None
    terms: Mapping[str, object]
    state: TriggerState
    attempts: int
    lost: int
    claims: int
    due_at: datetime
    note: str | None
    dagster_run_id: str | None
    benchmark_id: str | None
    noticed_at: datetime
    changed_at: datetime

    @property
    def about(self) -> str:
        """What it is about: its subject, else its task."""
        return self.subject or self.task
