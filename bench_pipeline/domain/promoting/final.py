"""The final: whether it is needed, who meets in it, in which order, and when it is over. Runs nothing.

The main passes choose a challenger, often from many; the fastest of many looks faster than it is. So challenger
and incumbents then meet in passes of their own, and these alone decide about production. In each pass their order is
drawn at random. What the machine does to a pass then falls on either model with equal chance, so that the pairs of
passes are independent, however long its disturbances last (Fisher 1935).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bench_pipeline.domain.measuring.scoreboard import (
    TIE_LEVEL,
    ModelResult,
    Scoreboard,
    compare_means,
    is_near,
    met_in_final,
    paired_means,
)
from bench_pipeline.domain.measuring.statistics import PairedComparison, passes_to_separate
from bench_pipeline.domain.promoting.policy import ALPHA, PromotionPolicy

# After so many passes each, the final is looked at, and this share of the policy's alpha is spent on the look. The
# shares add up to 1, so that all looks together err at most as often as one with all of alpha (Bonferroni). Most is
# spent at 8, where a difference of 20 % shows, and at 20, the usual bound: benchmarks/decisions.py.
_SPENT = {4: 0.05, 6: 0.15, 8: 0.25, 12: 0.15, 16: 0.10, 20: 0.20, 30: 0.05, 40: 0.05}
LOOKS = tuple(_SPENT)
MAX_FINAL_PASSES = LOOKS[-1]
_MOST_FORESEEN = 1000

# The least of a gain that arithmetic with floats may miss.
_ROUNDING = 1e-9


def level_at(passes: int, alpha: float = ALPHA) -> float:
    """Return the level of the two-sided interval after so many passes of the final.

    One end of it errs as often as the look may spend. Between two looks, and for a final that was broken off,
    the level is that of the look that comes next.
    """
    look = next((look for look in LOOKS if look >= passes), MAX_FINAL_PASSES)
    return 1 - 2 * alpha * _SPENT[look]


def order_of(meeting: Sequence[str], number: int, seed: str) -> tuple[str, ...]:
    """Return the contenders in the order of pass `number`: random, and the same again for the same seed."""
    drawn = random.Random(f"{seed}:{number}")  # noqa: S311 - an order, not a secret
    return tuple(drawn.sample(meeting, len(meeting)))


def decisive(challenger: ModelResult, incumbent: ModelResult, policy: PromotionPolicy) -> PairedComparison | None:
    """Return the comparison that decides about a pair; None unless both made two passes of a final."""
    if not met_in_final(challenger, incumbent):
        return None
    return compare_means(challenger, incumbent, level_at(_passes(challenger, incumbent), policy.alpha))


def gains_enough(comparison: PairedComparison, policy: PromotionPolicy) -> bool:
    """Whether the challenger saves the margin."""
    return comparison.gain >= policy.min_gain - _ROUNDING


def promotable(
    challenger: ModelResult, incumbent: ModelResult, comparison: PairedComparison, policy: PromotionPolicy
) -> bool:
    """Whether the challenger saves the margin, the interval shows that it is faster, and its mean is lower."""
    return gains_enough(comparison, policy) and comparison.high < 1 and ratio_of_means(challenger, incumbent) < 1


def ratio_of_means(one: ModelResult, other: ModelResult) -> float:
    """Return the ratio of the means over all passes of the final; with outliers, the mean ratio of pairs differs."""
    pairs = paired_means(one, other)
    return sum(pair[0] for pair in pairs) / sum(pair[1] for pair in pairs)


def passes_missing(comparison: PairedComparison, policy: PromotionPolicy) -> int | None:
    """Return how many more passes would separate the pair if it went on as before; None if more than a thousand."""
    needed = passes_to_separate(comparison, lambda n: level_at(n, policy.alpha), _MOST_FORESEEN)
    if needed is None:
        return None
    return next((look for look in LOOKS if look >= needed), needed) - comparison.n


def contenders(scoreboard: Scoreboard, incumbents: frozenset[str]) -> tuple[str, ...]:
    """Return who meets in the final, fastest first; nobody when no final is needed.

    The fastest qualified actor that is not an incumbent meets the incumbents that qualified, unless its mean is clearly
    higher. Without an incumbent among the qualified, the two leaders meet unless one is clearly slower.
    """
    actors = _actors(scoreboard)
    if not any(actor.model in incumbents for actor in actors):
        leaders = scoreboard.ranked[:2]
        near = len(leaders) == 2 and is_near(leaders[1], leaders[0])
        return tuple(leader.model for leader in leaders) if near else ()
    meeting = {
        result.model
        for one, incumbent in _pairs(actors, incumbents)
        if is_near(one, incumbent)
        for result in (one, incumbent)
    }
    return tuple(result.model for result in scoreboard.ranked if result.model in meeting)


def settled(
    scoreboard: Scoreboard, meeting: Sequence[str], incumbents: frozenset[str], passes: int, policy: PromotionPolicy
) -> bool:
    """Whether the final is over after so many passes of each contender; only ever at one of `LOOKS`.

    It is when the last look is reached or every pair is decided: the challenger could be promoted, or the 95 %
    interval excludes that it saves the margin, or one of the two dropped out. Two leaders without an incumbent are
    decided when the interval is clear of 1 or lies within the margin on both sides.
    """
    if passes >= MAX_FINAL_PASSES:
        return True
    if passes not in LOOKS:
        return False
    still = [result for result in scoreboard.ranked if result.model in meeting]
    if incumbents.isdisjoint(meeting):
        return all(_leaders_decided(first, second, policy) for first, second in pairwise(still))
    return all(_decided(one, incumbent, policy) for one, incumbent in _pairs(still, incumbents))


def _actors(scoreboard: Scoreboard) -> list[ModelResult]:
    return [result for result in scoreboard.ranked if result.actor_id is not None]


def _pairs(actors: Sequence[ModelResult], incumbents: frozenset[str]) -> Iterator[tuple[ModelResult, ModelResult]]:
    """The pairs that decide: the leader with every incumbent; if it is one itself, its challenger with it too."""
    leader = actors[0] if actors else None
    for incumbent in actors:
        if leader is not None and incumbent is not leader and incumbent.model in incumbents:
            yield leader, incumbent
    challenger = next((actor for actor in actors if actor.model not in incumbents), None)
    if leader is not None and challenger is not None and leader.model in incumbents:
        yield challenger, leader


def _passes(one: ModelResult, other: ModelResult) -> int:
    return min(one.final_passes, other.final_passes)


def _decided(one: ModelResult, incumbent: ModelResult, policy: PromotionPolicy) -> bool:
    comparison = decisive(one, incumbent, policy)
    if comparison is None:
        return False
    if promotable(one, incumbent, comparison, policy):
        return True
    at_tie_level = compare_means(one, incumbent, TIE_LEVEL)
    return at_tie_level is not None and at_tie_level.low > 1 - policy.min_gain


def _leaders_decided(first: ModelResult, second: ModelResult, policy: PromotionPolicy) -> bool:
    comparison, at_tie_level = decisive(first, second, policy), compare_means(first, second, TIE_LEVEL)
    if comparison is None or at_tie_level is None:
        return False
    margin = 1 - policy.min_gain
    return comparison.clear or (margin < at_tie_level.low and at_tie_level.high < 1 / margin)
