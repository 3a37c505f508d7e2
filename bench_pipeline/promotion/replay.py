"""A stored decision made again from its own evidence, by the present rules. Writes nothing and calls no model."""

from __future__ import annotations

from dataclasses import dataclass

from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.promoting.decision import Decision
from bench_pipeline.domain.promoting.replay import decide_again
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.decisions import StoredDecision, decision_by_id


@dataclass(frozen=True, slots=True)
class Replay:
    """A stored decision, and the one that its evidence gives now."""

    stored: StoredDecision
    again: Decision

    @property
    def same(self) -> bool:
        """Whether both say the same, for the same reason."""
        return (self.stored.kind, self.stored.reason) == (self.again.kind, self.again.reason)


def replay(database: Database, decision_id: int) -> Replay:
    """Decide again what was stored under this id.

    Raises `InputError` when there is no such decision, `GateFailed` when its evidence is not what its hash says
    or cannot be read any more.
    """
    with database.engine.connect() as connection:
        stored = decision_by_id(connection, decision_id)
    if stored is None:
        raise InputError(f"there is no decision {decision_id}; `bench decide --task TASK` shows those that are stored")
    if content_hash(stored.evidence) != stored.evidence_hash:
        raise GateFailed(f"the evidence of decision {decision_id} was changed after it was stored; its hash differs")
    try:
        return Replay(stored, decide_again(stored.evidence))
    except ValueError as error:
        raise GateFailed(f"the evidence of decision {decision_id} cannot be read by this version: {error}") from None
