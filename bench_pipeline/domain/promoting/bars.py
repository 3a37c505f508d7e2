"""Whether an actor is barred from a conversation by a rollback or a failover. Reads no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow
from bench_pipeline.domain.promoting.plan import Bar, PlanEvidence, PlanKind, PlanRow


@dataclass(frozen=True, slots=True)
class MeasuredAs:
    """The terms under which a benchmark measured an actor, as their hash, and the identity of its model there."""

    evidence_key: str
    identity: ModelIdentity


@dataclass(frozen=True)
class Bars:
    """The changes that bar an actor with those that they undo, oldest first, and how their actors were measured.

    `measured` also holds the benchmark on which the rows in question rest.
    """

    changes: Sequence[Promotion]
    measured: Mapping[tuple[str, ActorId], MeasuredAs]

    def on(self, row: PlanRow, evidence: PlanEvidence) -> Promotion | None:
        """Return the change in force that bars a row's new actor from its conversation on this evidence, or None.

        A rollback bars what it undid, a failover the champion it replaced. `Bar.BENCHMARK` holds on the very evidence
        that was undone; `Bar.EVIDENCE` also while suite, prompt, protocol, reader, hardware and the model's identity
        are unchanged.
        """
        for change, barred in self._barred.get((row.conversation_id, row.new_actor_id), ()):
            if barred.evidence_hash == evidence.evidence_hash:
                return change
            if change.bar is Bar.EVIDENCE and self._measured_alike(barred, row, evidence):
                return change
        return None

    @cached_property
    def _barred(self) -> Mapping[tuple[ConversationId, ActorId | None], Sequence[tuple[Promotion, PromotionRow]]]:
        """The barring changes with the row of each, newest first, by conversation and barred actor."""
        by_id = {change.promotion_id: change for change in self.changes}
        found: dict[tuple[ConversationId, ActorId | None], list[tuple[Promotion, PromotionRow]]] = {}
        for change in reversed(self.changes):
            if change.bar is None or not change.in_force:
                continue
            for barred in barred_rows(change, by_id):
                actor_id = barred.old_actor_id if change.kind is PlanKind.FAILOVER else barred.new_actor_id
                found.setdefault((barred.conversation_id, actor_id), []).append((change, barred))
        return found

    def _measured_alike(self, barred: PromotionRow, row: PlanRow, evidence: PlanEvidence) -> bool:
        if barred.benchmark_id is None or row.new_actor_id is None:
            return False
        then = self.measured.get((barred.benchmark_id, row.new_actor_id))
        return then is not None and then == self.measured.get((evidence.benchmark_id, row.new_actor_id))


def barred_rows(change: Promotion, by_id: Mapping[int, Promotion]) -> tuple[PromotionRow, ...]:
    """Return the rows whose actors a change bars: its own in a failover, those it undoes in a rollback."""
    return change.rows if change.undoes is None else by_id[change.undoes].rows
