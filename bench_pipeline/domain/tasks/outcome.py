"""The four outcomes of a call. They are assigned in verdict.py and counted in measuring/scoreboard.py."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The four outcomes of a sample; none is ever added or merged."""

    CORRECT = "correct"
    WRONG = "wrong"
    INVALID = "invalid"
    ERROR = "error"

    @property
    def disqualifies(self) -> bool:
        """Whether one sample with this outcome disqualifies its model: the reply was wrong or had no verdict."""
        return self in (Outcome.WRONG, Outcome.INVALID)
