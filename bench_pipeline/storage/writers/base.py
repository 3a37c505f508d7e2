"""The one way into `conversations.actor_id`, whichever database it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Observed:
    """A new actor as it was seen just before: the path that its row holds, and its model's identity now."""

    actor_id: int
    execution_path: str
    identity_hash: str


class PromotionWriter(Protocol):
    """Applies stored plans: one transaction each, with every check made in it."""

    def apply(
        self, plan_hash: str, requested_by: str, dagster_run_id: str | None, observed: Sequence[Observed]
    ) -> int | None:
        """Apply the plan with this hash and return the id of its promotion; None when it changes no row.

        A plan that was applied before and still holds is not applied again. Raises `PlanRefused` when anything
        is not as the plan says, and `OutcomeUnknown`; nothing was changed after the first.
        """

    def check(self) -> None:
        """Raise `InputError` when plans could not be applied at all."""

    def close(self) -> None:
        """Give up what was opened."""
