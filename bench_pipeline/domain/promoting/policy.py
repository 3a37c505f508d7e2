"""How much must be gained, and how sure one must be of it, before production changes."""

from __future__ import annotations

from dataclasses import dataclass

# Below the 1 % that is promised: the highest of many simulated shares lies above the true one by chance
# (docs/reference/simulations.md).
ALPHA = 0.006
# 1 compared case by case, 2 compares the suite's means pass by pass. Stored with every decision.
POLICY_VERSION = 2


@dataclass(frozen=True, slots=True)
class PromotionPolicy:
    """What a challenger must show.

    `min_gain`: the share of the incumbent's latency that it must save. `alpha`: the chance, at most, of
    promoting one that is not faster, over all looks at the final together. `version`: the rule that compares the two.
    """

    min_gain: float = 0.05
    alpha: float = ALPHA
    version: int = POLICY_VERSION
