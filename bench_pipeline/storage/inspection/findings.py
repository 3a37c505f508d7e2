"""What an inspection finds. The questions to the catalogue are in the modules beside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stops(StrEnum):
    """What a finding stops."""

    BENCHMARK = "benchmark"
    PROMOTION = "promotion"
    SAFETY = "safety"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or fact of the database. `remedy` can be typed; it is empty for a fact that needs none.

    A statement in a remedy is between backticks, after the role that may run it: "as owner: `GRANT ...`".
    """

    stops: Stops
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


def install_remedy(owner: str) -> str:
    """Return the command that creates what is missing, and brings up to date what is there."""
    return f"set BENCH_OWNER_URL to the login of {owner}, then run `bench db install`"
