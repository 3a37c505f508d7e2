"""The final: whether it is needed, who meets in it, and when it is over. Runs nothing.

The main passes choose a challenger, often from many; the fastest of many looks faster than it is. So challenger
and incumbents then meet in passes of their own, A B B A, which drift of the machine hits alike, and these alone
decide about production.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from bench_pipeline.domain.measuring.scoreboard import TIE_LEVEL, ModelResult, Scoreboard, compare, met_in_final
from bench_pipeline.domain.measuring.statistics import PairedComparison
from bench_pipeline.domain.promoting.policy import ALPHA, PromotionPolicy

# After so many passes each, the final is looked at, and this share of the policy's alpha is spent on the look. The
# shares add up to 1, so that all looks together err at most as often as one with all of alpha (Bonferroni). Most is
# spent at 4, where a difference of 20 % shows, and at 20, where one of 10 % must: benchmarks/decisions.py.
_SPENT = {2: 0.10, 4: 0.30, 8: 0.15, 12: 0.10, 20: 0.35}
LOOKS = tuple(_SPENT)
MAX_FINAL_PASSES = LOOKS[-1]

# The least of a gain that arithmetic with floats may miss.
_ROUNDING = 1e-9


def level_at(passes: int, alpha: float = ALPHA) -> float:
    """Return the level of the two-sided interval after so many passes of the final.

    One end of it errs as often as the look may spend. Between two looks, and for a final that was broken off,
    the level is that of the look that comes next.
    """
    look = next((look for look in LOOKS if look >= passes), MAX_FINAL_PASSES)
    return 1 - 2 * alpha * _SPENT[look]


def decisive(
    challenger: ModelResult, incumbent: ModelResult, challengers: int, policy: PromotionPolicy
) -> PairedComparison | None:
    """Return the comparison that decides about a pair; None with fewer than two common cases.

    It is of the final's passes at the level of its last look; without a final of the main passes, where alpha is
    divided by the number of `challengers` that the fastest was chosen from (Bonferroni).
    """
    if met_in_final(challenger, incumbent):
        level = level_at(min(challenger.final_passes, incumbent.final_passes), policy.alpha)
    else:
        level = 1 - 2 * policy.alpha / max(challengers, 1)
    return compare(challenger, incumbent, level)


def gains_enough(comparison: PairedComparison, policy: PromotionPolicy) -> bool:
    """Whether the challenger saves the margin."""
    return comparison.gain >= policy.min_gain - _ROUNDING


def promotable(comparison: PairedComparison, policy: PromotionPolicy) -> bool:
    """Whether the challenger saves the margin and the interval excludes that it is no faster."""
    return gains_enough(comparison, policy) and comparison.high < 1


def contenders(scoreboard: Scoreboard, incumbents: frozenset[str], policy: PromotionPolicy) -> tuple[str, ...]:
    """Return who meets in the final, fastest first; nobody when no final is needed.

    The fastest qualified actor that is no incumbent meets the incumbents that qualified. A pair need not meet
    when the main passes exclude, at 95 %, that the faster saves the margin. Without an incumbent among the
    qualified, the two leaders meet when they are not separated.
    """
    actors = _actors(scoreboard)
    if not any(actor.model in incumbents for actor in actors):
        leaders = scoreboard.ranked[:2]
        return tuple(leader.model for leader in leaders) if _undecided_leaders(leaders) else ()
    meeting = {
        result.model
        for one, incumbent in _pairs(actors, incumbents)
        if _may_gain(compare(one, incumbent, TIE_LEVEL), policy)
        for result in (one, incumbent)
    }
    return tuple(result.model for result in scoreboard.ranked if result.model in meeting)


def settled(
    scoreboard: Scoreboard, meeting: Sequence[str], incumbents: frozenset[str], passes: int, policy: PromotionPolicy
) -> bool:
    """Whether the final is over after so many passes of each contender; only ever at one of `LOOKS`.

    It is when the bound is reached or every pair is decided: the challenger could be promoted, or the 95 %
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


def _may_gain(comparison: PairedComparison | None, policy: PromotionPolicy) -> bool:
    """Whether the interval leaves it open that the margin is saved."""
    return comparison is not None and comparison.low <= 1 - policy.min_gain


def _decided(one: ModelResult, incumbent: ModelResult, policy: PromotionPolicy) -> bool:
    comparison = decisive(one, incumbent, 1, policy)
    if comparison is not None and promotable(comparison, policy):
        return True
    return not _may_gain(compare(one, incumbent, TIE_LEVEL), policy)


def _undecided_leaders(leaders: Sequence[ModelResult]) -> bool:
    if len(leaders) < 2:
        return False
    comparison = compare(leaders[0], leaders[1], TIE_LEVEL)
    return comparison is not None and not comparison.clear


def _leaders_decided(first: ModelResult, second: ModelResult, policy: PromotionPolicy) -> bool:
    comparison = decisive(first, second, 1, policy)
    if comparison is None or comparison.clear:
        return True
    at_tie_level = compare(first, second, TIE_LEVEL)
    margin = 1 - policy.min_gain
    return at_tie_level is not None and margin < at_tie_level.low and at_tie_level.high < 1 / margin
