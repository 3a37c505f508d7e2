"""Whether a promoted champion is slower than what it replaced: who meets in its validation, and when it is over.

The champion and its rivals make passes in turn, as in a final, so that a machine that is slower than it was in the
benchmark slows both. A rival is a replaced incumbent; where none can run any more, the anchor. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench_pipeline.domain.measuring.scoreboard import TIE_LEVEL, ModelResult, Scoreboard, compare_means
from bench_pipeline.domain.measuring.statistics import PairedComparison, interval_text
from bench_pipeline.domain.promoting.final import LOOKS, MAX_FINAL_PASSES, decisive, ratio_of_means
from bench_pipeline.domain.promoting.policy import PromotionPolicy

Limits = Mapping[str, float]
"""By rival, how many times its latency the champion may take: 1 for an incumbent."""


def rivals_meet(scoreboard: Scoreboard, limits: Limits) -> tuple[str, ...]:
    """Return who meets after the main passes, champion first; nobody when it or every rival dropped out."""
    champion, rivals = _parted(scoreboard, limits)
    return (champion.model, *(rival.model for rival in rivals)) if champion and rivals else ()


def session_over(scoreboard: Scoreboard, limits: Limits, passes: int, policy: PromotionPolicy) -> bool:
    """Whether the session is over after so many passes of each; only ever at one of `LOOKS`.

    It is when the last look is reached, when the champion or every rival dropped out, when the champion is shown to be
    slower than one, or when the 95 % interval excludes that it is slower than any.
    """
    if passes >= MAX_FINAL_PASSES:
        return True
    if passes not in LOOKS:
        return False
    champion, rivals = _parted(scoreboard, limits)
    if champion is None:
        return True
    if any(slower_than(champion, rival, limits[rival.model], policy) for rival in rivals):
        return True
    at_tie_level = ((compare_means(champion, rival, TIE_LEVEL), limits[rival.model]) for rival in rivals)
    return all(found is not None and found.high < limit for found, limit in at_tie_level)


def slower_than(
    champion: ModelResult, rival: ModelResult, limit: float, policy: PromotionPolicy
) -> PairedComparison | None:
    """Return the comparison if it shows the champion to be slower than `limit` times the rival, else None.

    The interval at the level of the look excludes that it is not, and so does the mean over all passes: a few slow
    calls of the rival could make the two disagree.
    """
    found = decisive(champion, rival, policy)
    slower = found is not None and found.low > limit and ratio_of_means(champion, rival) > limit
    return found if slower else None


def speed_in_words(champion: ModelResult, rival: ModelResult, policy: PromotionPolicy) -> str:
    """Return what the session showed of the two."""
    found = decisive(champion, rival, policy)
    if found is None:
        return f"speed not compared with {rival.model}: fewer than two passes have enough valid latencies"
    return f"{found.ratio:.3g} times the mean latency of {rival.model} in the same session ({interval_text(found)})"


def slowness_in_words(champion: ModelResult, rival: ModelResult, limit: float, found: PairedComparison) -> str:
    """Return why a champion that was shown to be slower is not good enough."""
    if limit == 1:
        interval = interval_text(found, lambda ratio: ratio - 1)
        return f"{champion.model} is {found.ratio - 1:.1%} slower than {rival.model} in the same session ({interval})"
    return (
        f"{champion.model} takes {found.ratio:.3g} times the mean latency of {rival.model} ({interval_text(found)}), "
        f"more than {limit:.3g}"
    )


def _parted(scoreboard: Scoreboard, limits: Limits) -> tuple[ModelResult | None, Sequence[ModelResult]]:
    """Return the champion, None when it does not qualify, and the rivals that do."""
    champion = next((result for result in scoreboard.ranked if result.model not in limits), None)
    return champion, [result for result in scoreboard.ranked if result.model in limits]
