"""What the triggers must know about Dagster's runs. How Dagster is asked is in automation/dagster_runs.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class RunState(StrEnum):
    """How a run stands. `DIED` is a failure without a failed step: its process, or the machine, went away."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DIED = "died"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run as Dagster tells of it. `why` is the first line of what failed."""

    run_id: str
    state: RunState
    why: str = ""


class RunsView(Protocol):
    """The runs that were requested for triggers."""

    def of_claim(self, trigger_id: int, claim: int) -> SeenRun | None:
        """Return the run that was requested for this claim of a trigger; None when there is none (any more)."""
        ...

    def active(self, run_id: str) -> bool:
        """Whether the run has not ended."""
        ...
