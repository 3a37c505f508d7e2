"""How much must be gained, and how sure one must be of it, before production changes."""

from __future__ import annotations

from dataclasses import dataclass

# Below the 1 % that is aimed at, so that simulations show it with room to spare (docs/reference/simulations.md).
ALPHA = 0.008


@dataclass(frozen=True, slots=True)
class PromotionPolicy:
    """What a challenger must show.

    `min_gain`: the share of the incumbent's latency that it must save. `alpha`: the chance, at most, of
    promoting one that is not faster, over all looks at the final together.
    """

    min_gain: float = 0.05
    alpha: float = ALPHA
