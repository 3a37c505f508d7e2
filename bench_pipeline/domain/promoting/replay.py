"""The input of a decision as a JSON value, and the decision recomputed from it. Stores nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.scoreboard import Scoreboard
from bench_pipeline.domain.promoting.decision import Decision, Incumbent, decide
from bench_pipeline.domain.promoting.policy import PromotionPolicy


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """Everything that the decision about one conversation depends on; see `decide`."""

    scoreboard: Scoreboard
    incumbent: Incumbent | None
    policy: PromotionPolicy

    def decide(self) -> Decision:
        """Return the decision."""
        return decide(self.scoreboard, self.incumbent, self.policy)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value, which `decide_again` reads back."""
        value: dict[str, Any] = _INPUT.dump_python(self, mode="json")
        return value

    @property
    def input_hash(self) -> str:
        """SHA-256 of the JSON value."""
        return content_hash(self.as_json())


_INPUT = TypeAdapter(DecisionInput)


def decide_again(stored: Mapping[str, Any]) -> Decision:
    """Decide from a stored input by the present rules. Raises `ValueError` when it cannot be read."""
    return _INPUT.validate_python(stored).decide()
