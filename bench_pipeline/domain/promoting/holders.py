"""Who carries out each conversation now, who did before, and the promotion in between. Shown, never decided upon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.promoting.changes import Promotion

BEFORE, RUNNER_UP = "the previous actor", "runner-up"


@dataclass(frozen=True, slots=True)
class Holder:
    """A conversation with the actor that it has now.

    `before` is the actor that the last promotion or failover in force replaced, with that change's id and moment; None
    where no promotion put an actor there.
    """

    conversation_id: ConversationId
    conversation: str
    task: str
    actor_id: ActorId | None
    actor: str | None
    champion_id: ActorId | None
    runner_up_id: ActorId | None
    benchmark_id: str | None
    before_id: ActorId | None = None
    before: str | None = None
    promotion_id: int | None = None
    since: datetime | None = None

    @property
    def has_champion(self) -> bool:
        """Whether the actor is the one that a benchmark chose."""
        return self.actor_id is not None and self.actor_id == self.champion_id


@dataclass(frozen=True, slots=True)
class WayBack:
    """An actor that would take over a conversation: the one before the champion, or the runner-up.

    `missing` says why it cannot be called now; empty where it can, or where its server did not say.
    """

    conversation: str
    role: str
    actor: str
    missing: str


def holders(
    held: Mapping[ConversationId, tuple[str, ActorId | None, str | None]],
    champions: Iterable[Champion],
    changes: Sequence[Promotion],
) -> list[Holder]:
    """Return the conversations that a benchmark decided upon.

    Those that do not have their champion are first, then those whose change is the latest.
    `held` gives the name, the actor and the actor's name of each conversation now; `changes` are all, oldest first.
    """
    last = {
        row.conversation_id: (change, row)
        for change in changes
        if change.in_force and change.forward
        for row in change.changed
    }
    found = []
    for champion in champions:
        number = champion.conversation_id
        name, actor_id, actor = held.get(number, (f"conversation {number} (deleted)", None, None))
        change, row = last.get(number, (None, None))
        found.append(
            Holder(
                conversation_id=number,
                conversation=name,
                task=champion.task_type,
                actor_id=actor_id,
                actor=actor,
                champion_id=champion.champion_actor_id,
                runner_up_id=champion.runner_up_actor_id,
                benchmark_id=champion.benchmark_id,
                before_id=row.old_actor_id if row else None,
                before=row.old_actor if row else None,
                promotion_id=change.promotion_id if change else None,
                since=change.applied_at if change else None,
            )
        )
    return sorted(found, key=lambda one: (one.has_champion, -(one.promotion_id or 0), str(one.conversation_id)))


def ways_back(found: Iterable[Holder], roster: Iterable[Candidate]) -> list[WayBack]:
    """Return the actors that would take over each conversation, and why one cannot be called now.

    A server that does not answer says nothing about its models, so they do not count as missing.
    """
    by_id = {candidate.actor_id: candidate for candidate in roster}
    ways = []
    for holder in found:
        for role, actor_id in ((BEFORE, holder.before_id), (RUNNER_UP, holder.runner_up_id)):
            if actor_id is not None:
                candidate = by_id.get(actor_id)
                name = candidate.name if candidate else f"actor {actor_id}"
                ways.append(WayBack(holder.conversation, role, name, _missing(candidate)))
    return ways


def _missing(candidate: Candidate | None) -> str:
    if candidate is None:
        return "its row in actors is gone"
    lasting = candidate.exclusion is not None and candidate.exclusion.lasting
    return candidate.detail or str(candidate.exclusion) if lasting else ""
