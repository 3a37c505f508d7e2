"""The interface of the two writers: the only code that writes `conversations.actor_id`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bench_pipeline.domain.promoting.facts import Observed


class PromotionWriter(Protocol):
    """Applies stored plans, each in one transaction that makes every check itself."""

    def apply(
        self, plan_hash: str, account: str, dagster_run_id: str | None, observed: Sequence[Observed]
    ) -> int | None:
        """Apply the plan with this hash and return the id of its promotion; None when it changes no row.

        `account` is the name of who asks as the client knows it; PostgreSQL records the login beside it.

        A plan that was applied before and still holds is not applied again. Raises `PlanRefused`, after which nothing
        was changed, and `OutcomeUnknown`.
        """

    def check(self) -> None:
        """Raise `InputError` when no plan could be applied."""

    def check_target(self) -> None:
        """Raise `InputError` when plans would be applied to another database than the one that is read."""

    def close(self) -> None:
        """Close what was opened."""
