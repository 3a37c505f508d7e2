"""What the rules of a promotion look at besides the plan, as it is at one moment. The rules are in `rules.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bench_pipeline.domain.models.actor import ActorNow
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.approval import Approval, Freeze
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import PlanEvidence, PromotionPlan


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan as it was stored, for whom and when. Storing it again renews the moment."""

    plan_hash: str
    document: str
    requested_by: str
    made_at: datetime

    @property
    def plan(self) -> PromotionPlan:
        """The plan itself."""
        return PromotionPlan.model_validate_json(self.document)

    @property
    def intact(self) -> bool:
        """Whether the hash is that of the document."""
        return hashlib.sha256(self.document.encode()).hexdigest() == self.plan_hash


@dataclass(frozen=True, slots=True)
class Observed:
    """A new actor as it was seen just before: the path that its row holds, and its model's identity now."""

    actor_id: ActorId
    execution_path: str
    identity_hash: str


@dataclass(frozen=True, slots=True)
class MeasuredActor:
    """An actor's line in a benchmark, and what the stored samples of its model run show.

    `started_at` is the start of that model run, `correct_cases` the number of cases with a correct sample.
    `disqualified` is True when any sample is wrong or invalid.
    """

    standing: str
    correctness_score: float
    cases: int
    cases_correct: int
    started_at: datetime
    correct_cases: int
    disqualified: bool


@dataclass(frozen=True, slots=True)
class EvidenceNow:
    """A benchmark as it is stored: `conversations` are those of its task, `cases` the size of its suite."""

    evidence_hash: str | None
    invalid: str | None
    conversations: frozenset[ConversationId]
    cases: int
    actors: Mapping[ActorId, MeasuredActor]


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one plan.

    `applied` is the promotion that the plan was applied as, `undone` the change that it undoes. `evidence` and
    `actors` hold what exists. `holders` are the actors of each conversation, one per row with its id. `observed` is
    None where nobody looked at the runtimes.
    """

    now: datetime
    stored: StoredPlan
    requesters: frozenset[str]
    approvals: Sequence[Approval]
    freeze: Freeze | None
    applied: Promotion | None
    undone: Promotion | None
    evidence: Mapping[PlanEvidence, EvidenceNow]
    actors: Mapping[ActorId, ActorNow]
    holders: Mapping[ConversationId, Sequence[ActorId | None]]
    observed: Mapping[ActorId, Observed] | None = None
