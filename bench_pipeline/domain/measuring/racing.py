"""Who still runs in a race, and which case comes next: the stops that save calls, as functions of what was seen.

It makes no call and ranks nobody. The runner asks it before every pass and after every call; the scoreboard ranks
the models that made every pass, by the user's rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from bench_pipeline.domain.measuring.statistics import compare_paired

# Champion and runner-up: a model is out of the race when so many others are faster.
LEADERS = 2
# Level of the two-sided interval that must be clear of 1: looked at after every call, and blind to a machine that is
# slower in one model's pass than in another's. Simulated with 5 % of that and 5 % noise, 0.95 loses 1.0 % of the pairs
# and 0.99 loses 0.4 %, for 1.3 % more of full's calls (n=500; the bar is 5 %).
STOP_LEVEL = 0.99
# Cases that a model has seen before it can be outpaced: three that agree by chance make a narrow interval, and
# waiting for the fourth costs 0.4 % of full's calls.
MIN_CASES = 4


class StopReason(StrEnum):
    """Why a model stops before its last call."""

    FAILED = "failed"
    OUTPACED = "outpaced"


@dataclass(frozen=True, slots=True)
class Racer:
    """A model as far as it has come.

    `medians_ms` is the median of the valid latencies by case, milliseconds, over all passes so far, a pass that was
    broken off included. `passes` counts complete passes over the suite. `failed`: a case was wrong or invalid.
    `inconclusive`: out for reasons of infrastructure. `incumbent`: production uses it, so the decision needs it whole.
    """

    model: str
    medians_ms: Mapping[str, float]
    passes: int = 0
    failed: bool = False
    inconclusive: bool = False
    incumbent: bool = False

    @property
    def in_the_race(self) -> bool:
        """Whether it may still be champion or runner-up as far as its answers say."""
        return not (self.failed or self.inconclusive)

    def is_complete(self, repeats: int) -> bool:
        """Whether it made all passes and was right in all: only such a model may lead."""
        return self.in_the_race and self.passes >= repeats


def case_order(case_ids: Sequence[str], failures: Mapping[str, int]) -> list[str]:
    """Return the cases in the order in which to ask them: failed by most models first, ties as in the suite.

    `failures` counts the models that failed a case, in this race and in earlier benchmarks of the suite.
    """
    return sorted(case_ids, key=lambda case_id: -failures.get(case_id, 0))


def live(field: Sequence[Racer], repeats: int) -> list[str]:
    """Return who needs another pass now, incumbents first, then as given. The race is over when nobody does.

    To be asked before every round: a model that was outpaced is back when a faster one has failed meanwhile. Within
    the round `stop_reason` says before each model's pass whether it still needs it.
    """
    needed = [
        racer
        for racer in field
        if racer.in_the_race and not racer.is_complete(repeats) and not is_outpaced(racer, field)
    ]
    return [racer.model for racer in sorted(needed, key=lambda racer: not racer.incumbent)]


def stop_reason(racer: Racer, field: Sequence[Racer], repeats: int) -> StopReason | None:
    """Return why this model makes no further call now, or None. To be asked before a pass and after every call.

    A complete model is never stopped: it is slower, and ranked.
    """
    if racer.failed:
        return StopReason.FAILED
    if not racer.is_complete(repeats) and is_outpaced(racer, field):
        return StopReason.OUTPACED
    return None


def is_outpaced(racer: Racer, field: Sequence[Racer]) -> bool:
    """Whether two others are faster beyond doubt, so that this model cannot reach rank 2. Never of an incumbent.

    Only a rival that has seen every case of this model counts. So two models that have seen different cases never
    outpace each other in a circle, and the two fastest of a field are outpaced by nobody.
    """
    if racer.incumbent or len(racer.medians_ms) < MIN_CASES:
        return False
    faster = (rival for rival in field if rival.model != racer.model and _is_faster(rival, racer))
    return len(list(islice(faster, LEADERS))) == LEADERS


def _is_faster(rival: Racer, racer: Racer) -> bool:
    if not rival.in_the_race or not racer.medians_ms.keys() <= rival.medians_ms.keys():
        return False
    comparison = compare_paired(racer.medians_ms, rival.medians_ms, STOP_LEVEL)
    return comparison is not None and comparison.low > 1
