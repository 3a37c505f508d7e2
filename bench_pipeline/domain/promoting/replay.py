"""What a decision rests on, as a JSON value, and the decision made again from it. Stores nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.scoreboard import Scoreboard
from bench_pipeline.domain.promoting.decision import Decision, Incumbent, decide
from bench_pipeline.domain.promoting.policy import Policy


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the decision about one conversation is a function of; see `decide`."""

    scoreboard: Scoreboard
    incumbent: Incumbent | None
    policy: Policy

    def decide(self) -> Decision:
        """Return the decision."""
        return decide(self.scoreboard, self.incumbent, self.policy)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as a JSON value, which `decide_again` reads back."""
        value: dict[str, Any] = _EVIDENCE.dump_python(self, mode="json")
        return value

    @property
    def hash(self) -> str:
        """SHA-256 over all of it."""
        return content_hash(self.as_json())


_EVIDENCE = TypeAdapter(Evidence)


def decide_again(evidence: Mapping[str, Any]) -> Decision:
    """Decide from a stored evidence with the present rules. Raises `ValueError` when it cannot be read."""
    return _EVIDENCE.validate_python(evidence).decide()
