"""The input of a decision as a JSON value, and read back. Stores nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.scoreboard import Scoreboard
from bench_pipeline.domain.models.actor import MODEL_ACTOR_TYPE
from bench_pipeline.domain.promoting import by_case
from bench_pipeline.domain.promoting.decision import Decision, Incumbent, decide
from bench_pipeline.domain.promoting.policy import POLICY_VERSION, PromotionPolicy


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
        """Return it as a JSON value, which `read_input` reads back."""
        value: dict[str, Any] = _INPUT.dump_python(self, mode="json")
        return value

    @property
    def input_hash(self) -> str:
        """SHA-256 of the JSON value."""
        return content_hash(self.as_json())


_INPUT = TypeAdapter(DecisionInput)


def read_input(stored: Mapping[str, Any]) -> DecisionInput:
    """Return a stored input; its policy names the version of the rule. Raises `ValueError` when it cannot be read.

    Inputs from before versions were stored are of version 1; in those from before `is_model`, ai_model is a model.
    """
    policy = stored.get("policy")
    if isinstance(policy, Mapping) and "version" not in policy:
        stored = {**stored, "policy": {**policy, "version": by_case.VERSION}}
    incumbent = stored.get("incumbent")
    if isinstance(incumbent, Mapping) and "is_model" not in incumbent:
        is_model = incumbent.get("actor_type") in (None, MODEL_ACTOR_TYPE)
        stored = {**stored, "incumbent": {**incumbent, "is_model": is_model}}
    found = _INPUT.validate_python(stored)
    if not by_case.VERSION <= found.policy.version <= POLICY_VERSION:
        raise ValueError(f"its policy has version {found.policy.version}, which this program does not know")
    return found
