"""The rules of a race: which models continue, when one stops, and which case comes next, from the samples so far.

The state of a race is in benchmark/race.py; scoreboard.py ranks the models that made every pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from bench_pipeline.domain.measuring.statistics import compare_cases

# Champion and runner-up: a model is out of the race when this many others are faster.
LEADERS = 2
# Level of the two-sided interval that must exclude 1. It is tested after every call and ignores drift of the machine
# between passes. Simulated with 5 % drift and 5 % noise, 0.95 loses 1.0 % of the pairs and 0.99 loses 0.4 %, for
# 1.3 % more of full's calls (n=500; the limit is 5 %).
STOP_LEVEL = 0.99
# Cases a model must have seen before it can be outpaced: three may agree by chance and give a narrow interval;
# waiting for the fourth costs 0.4 % of full's calls.
MIN_CASES = 4


class StopReason(StrEnum):
    """Why a model stops before its last call."""

    FAILED = "failed"
    OUTPACED = "outpaced"


@dataclass(frozen=True, slots=True)
class Racer:
    """A model's progress in a race.

    `medians_ms` holds the median of the valid latencies of each case over all passes so far, milliseconds, including
    an incomplete pass. `passes` counts complete passes over the suite. `failed`: a case was wrong or invalid.
    `inconclusive`: infrastructure failed. `incumbent`: production uses it, so the decision needs all its passes.
    """

    model: str
    medians_ms: Mapping[str, float]
    passes: int = 0
    failed: bool = False
    inconclusive: bool = False
    incumbent: bool = False

    @property
    def in_the_race(self) -> bool:
        """Whether its answers so far allow it to become champion or runner-up."""
        return not (self.failed or self.inconclusive)

    def is_complete(self, repeats: int) -> bool:
        """Whether it made all passes and was right in all; only such a model may lead."""
        return self.in_the_race and self.passes >= repeats


def case_order(case_ids: Sequence[str], failures: Mapping[str, int]) -> list[str]:
    """Return the cases in the order to ask them: those that most models failed first, ties as in the suite.

    `failures` counts the models that failed a case, in this race and in earlier benchmarks of the suite.
    """
    return sorted(case_ids, key=lambda case_id: -failures.get(case_id, 0))


def live(field: Sequence[Racer], repeats: int) -> list[str]:
    """Return the models that need another pass now, incumbents first, then as given. Empty when the race is over.

    Call it before every round: an outpaced model returns when a faster one has failed meanwhile. Within a round,
    `stop_reason` decides before each model's pass whether it is still needed.
    """
    needed = [
        racer
        for racer in field
        if racer.in_the_race and not racer.is_complete(repeats) and not is_outpaced(racer, field)
    ]
    return [racer.model for racer in sorted(needed, key=lambda racer: not racer.incumbent)]


def stop_reason(racer: Racer, field: Sequence[Racer], repeats: int) -> StopReason | None:
    """Return why this model makes no further call now, or None. Call it before a pass and after every call.

    A complete model is never outpaced: it is ranked, however slow.
    """
    if racer.failed:
        return StopReason.FAILED
    if not racer.is_complete(repeats) and is_outpaced(racer, field):
        return StopReason.OUTPACED
    return None


def is_outpaced(racer: Racer, field: Sequence[Racer]) -> bool:
    """Whether two others are faster beyond doubt, so that this model cannot reach rank 2; never for an incumbent.

    Only a rival that has seen every case of this model counts. So models that have seen different cases never outpace
    each other in a circle, and the two fastest of a field are never outpaced.
    """
    if racer.incumbent or len(racer.medians_ms) < MIN_CASES:
        return False
    faster = (rival for rival in field if rival.model != racer.model and _is_faster(rival, racer))
    return len(list(islice(faster, LEADERS))) == LEADERS


def _is_faster(rival: Racer, racer: Racer) -> bool:
    if not rival.in_the_race or not racer.medians_ms.keys() <= rival.medians_ms.keys():
        return False
    comparison = compare_cases(racer.medians_ms, rival.medians_ms, STOP_LEVEL)
    return comparison is not None and comparison.low > 1
