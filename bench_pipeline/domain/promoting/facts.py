"""What the rules of a promotion look at besides the plan, as it is at one moment. The rules are in `rules.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from bench_pipeline.domain.models.actor import ActorNow
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.approval import Approval, Freeze, signer
from bench_pipeline.domain.promoting.bars import Bars
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import PlanEvidence, PromotionPlan, TaskTerms
from bench_pipeline.domain.promoting.refusal import PlanRefused


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan as it was stored, for whom and when. Storing it again renews the moment.

    `requested_by` is the login that the database wrote, `account` the name that the client gave.
    """

    plan_hash: str
    document: str
    requested_by: str
    account: str | None
    made_at: datetime

    @property
    def signer(self) -> str:
        """Who requested it, in words."""
        return signer(self.requested_by, self.account)

    @property
    def plan(self) -> PromotionPlan:
        """The plan itself. Raises `PlanRefused` when it is incomplete or of an unknown kind."""
        try:
            return PromotionPlan.model_validate_json(self.document)
        except ValidationError as error:
            fault = error.errors()[0]
            what = ".".join(str(part) for part in fault["loc"])
            raise PlanRefused("plan_malformed", {"what": what, "short": self.plan_hash[:12]}) from None

    @property
    def complete(self) -> bool:
        """Whether the plan can be read."""
        try:
            return bool(self.plan)
        except PlanRefused:
            return False

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
    `disqualified` is True when any sample is wrong or invalid. `latency_ms` is the mean that ranks.
    """

    standing: str
    correctness_score: float
    cases: int
    cases_correct: int
    started_at: datetime
    correct_cases: int
    disqualified: bool
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class NewerLine:
    """An actor's line in a newer benchmark; latency in ms, None when it has none."""

    standing: str
    rank: int | None
    latency_ms: float | None
    in_final: bool


@dataclass(frozen=True, slots=True)
class NewerBenchmark:
    """A later benchmark of the same task with the same suite and prompt, finished and valid.

    `same_protocol` says whether its latencies were measured under the same protocol too.
    """

    benchmark_id: str
    same_protocol: bool
    actors: Mapping[ActorId, NewerLine]


@dataclass(frozen=True, slots=True)
class EvidenceNow:
    """A benchmark as it is stored: `conversations` are those of its task, `cases` the size of its suite.

    `newer` are the later benchmarks, latest first.
    """

    evidence_hash: str | None
    invalid: str | None
    suite_hash: str
    prompt_hash: str
    conversations: frozenset[ConversationId]
    cases: int
    actors: Mapping[ActorId, MeasuredActor]
    newer: Sequence[NewerBenchmark] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one plan.

    `applied` is the promotion that the plan was applied as, `undone` the change that it undoes. `evidence` and
    `actors` hold what exists. `holders` are the actors of each conversation, one per row with its id, `own_prompts`
    the hashes of the prompts that production keeps. `task_terms` are those recorded last of each task, `registry`
    holds the champions of the conversations. `observed` is None when the runtimes were not asked.
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
    own_prompts: Mapping[ConversationId, str]
    schema_hash: str
    task_terms: Mapping[str, TaskTerms]
    bars: Bars
    registry: Mapping[ConversationId, Champion]
    observed: Mapping[ActorId, Observed] | None = None
