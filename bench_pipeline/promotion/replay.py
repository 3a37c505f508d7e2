"""Recomputes a stored decision from its own input by the rule of its time. Writes nothing and calls no model."""

from __future__ import annotations

from dataclasses import dataclass

from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.promoting.decision import Decision
from bench_pipeline.domain.promoting.replay import read_input
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.decisions import StoredDecision, decision_by_id


@dataclass(frozen=True, slots=True)
class Replay:
    """A stored decision, and the one that its rule makes from the same input; `policy_version` names the rule."""

    stored: StoredDecision
    again: Decision
    policy_version: int

    @property
    def same(self) -> bool:
        """Whether both say the same, for the same reason."""
        return (self.stored.kind, self.stored.reason) == (self.again.kind, self.again.reason)


def replay(database: Database, decision_id: int) -> Replay:
    """Recompute the decision that is stored under this id.

    Raises `InputError` when there is no such decision, `GateFailed` when its input does not match the stored
    hash or can no longer be read.
    """
    with database.engine.connect() as connection:
        stored = decision_by_id(connection, decision_id)
    if stored is None:
        raise InputError(f"there is no decision {decision_id}; `bench decide --task TASK` lists the stored ones")
    if content_hash(stored.input) != stored.input_hash:
        raise GateFailed(f"the input of decision {decision_id} was changed after it was stored: its hash differs")
    try:
        found = read_input(stored.input)
    except ValueError as error:
        raise GateFailed(f"this version cannot read the input of decision {decision_id}: {error}") from None
    return Replay(stored, found.decide(), found.policy.version)
