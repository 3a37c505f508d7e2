"""The four outcomes of a call. How a reply gets one is in verdict.py; what follows from it, in the scoreboard."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The four outcomes of a sample. Never a fifth, never merged."""

    CORRECT = "correct"
    WRONG = "wrong"
    INVALID = "invalid"
    ERROR = "error"

    @property
    def disqualifies(self) -> bool:
        """Whether one sample with this outcome disqualifies its model: the reply was wrong, or held no verdict."""
        return self in (Outcome.WRONG, Outcome.INVALID)


DISQUALIFYING = tuple(outcome for outcome in Outcome if outcome.disqualifies)
"""The outcomes of which a single sample disqualifies a model, the worst first."""
