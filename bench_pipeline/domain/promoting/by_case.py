"""The comparison of policy version 1, kept so that its decisions can be replayed. New decisions never use it.

It took the case as the sample: the interval was over cases, and its looks followed 2, 4, 8, 12 and 20 passes.
docs/decisions/0014-passes-are-the-sample.md says why it was replaced.
"""

from __future__ import annotations

from bench_pipeline.domain.measuring.scoreboard import ModelResult, compare_by_case, met_in_final
from bench_pipeline.domain.measuring.statistics import PairedComparison, interval_text
from bench_pipeline.domain.promoting.final import gains_enough
from bench_pipeline.domain.promoting.policy import PromotionPolicy

VERSION = 1
_SPENT = {2: 0.10, 4: 0.30, 8: 0.15, 12: 0.10, 20: 0.35}


def compare(
    challenger: ModelResult, incumbent: ModelResult, challengers: int, policy: PromotionPolicy
) -> PairedComparison | None:
    """Return the comparison by case; without a final, alpha is divided by the number of `challengers`."""
    share = 1 / max(challengers, 1)
    if met_in_final(challenger, incumbent):
        passes = min(challenger.final_passes, incumbent.final_passes)
        share = next((spent for look, spent in _SPENT.items() if look >= passes), _SPENT[20])
    return compare_by_case(challenger, incumbent, 1 - 2 * policy.alpha * share)


def verdict(
    challenger: ModelResult, incumbent: ModelResult, comparison: PairedComparison | None, policy: PromotionPolicy
) -> tuple[bool | None, str]:
    """Return whether the incumbent is replaced, None if it cannot be told, and why, in the words of its time."""
    if comparison is None:
        names = f"{challenger.model} and {incumbent.model}"
        return None, f"{names} have fewer than two cases in common with a valid latency"
    found = _in_words(challenger, incumbent, comparison)
    if not gains_enough(comparison, policy):
        return False, f"{found}: less than the margin of {policy.min_gain:.0%}"
    if comparison.high < 1:
        return True, found
    return False, f"{found}: the interval does not exclude that it is no faster"


def _in_words(challenger: ModelResult, incumbent: ModelResult, comparison: PairedComparison) -> str:
    saved = comparison.gain
    faster = f"{abs(saved):.1%} {'slower' if saved < 0 else 'faster'} than {incumbent.model} case by case"
    interval = interval_text(comparison, lambda ratio: 1 - ratio)
    passes = min(challenger.final_passes, incumbent.final_passes)
    final = f", {passes} {'pass' if passes == 1 else 'passes'} of the final" if passes else ""
    means = f"mean {challenger.avg_latency_ms or 0:,.0f} ms against {incumbent.avg_latency_ms or 0:,.0f} ms"
    return f"{faster} ({interval}{final}; {means})"
