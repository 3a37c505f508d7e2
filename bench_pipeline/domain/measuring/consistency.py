"""How consistently a model answers a repeated case correctly. Counts samples; who qualifies is in scoreboard.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import fmean

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.statistics import pass_hat_k
from bench_pipeline.domain.tasks.outcome import Outcome


def pass_hat(samples: Iterable[Sample]) -> tuple[float, ...]:
    """Return pass^1, pass^2 … pass^k of a model, each the mean over its cases, 0 to 1 (tau-bench).

    k is the smallest number of tries of any case. Infrastructure errors are not tries; empty if there are none.
    """
    tries: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for sample in samples:
        if sample.outcome is not Outcome.ERROR:
            tries[sample.case_id] += 1
            right[sample.case_id] += sample.outcome is Outcome.CORRECT
    fewest = min(tries.values(), default=0)
    return tuple(fmean(pass_hat_k(right[case], n, k) for case, n in tries.items()) for k in range(1, fewest + 1))
