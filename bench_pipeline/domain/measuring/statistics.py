"""Statistics on plain numbers: quantiles, bounds, and paired comparisons. Samples and models are in scoreboard.py.

Definitions with their sources: docs/reference/formulae.md. scipy is imported where it is used, because most commands
compare nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, comb, exp, fsum, inf, log, sqrt
from statistics import NormalDist, fmean, stdev
from statistics import median as median

# MLPerf's early stopping: the fewest queries that support a p90 with 99 % confidence when one of them is late.
MIN_CALLS_FOR_P90 = 64
# Logarithm of the most extreme end of an interval: two pairs at a high level reach beyond what a float can hold.
_WIDEST = 50.0


def p90(values: Sequence[float]) -> float:
    """Return the nearest-rank 90th percentile: the smallest value that 90 % of `values` do not exceed.

    Only indicative below `MIN_CALLS_FOR_P90` values. Raises `ValueError` without values.
    """
    if not values:
        raise ValueError("a percentile needs at least one value")
    return sorted(values)[ceil(len(values) * 9 / 10) - 1]


def median_interval(values: Sequence[float], level: float) -> tuple[float, float] | None:
    """Return a confidence interval of the median at this level or above; None for too few values.

    Its ends are the k-th smallest and the k-th largest value, with the largest k that holds the level, whatever the
    distribution (Thompson 1936).
    """
    n, k, below = len(values), 0, 0
    while k < n // 2 and 2 * (below + comb(n, k)) / 2**n <= 1 - level:
        below += comb(n, k)
        k += 1
    if k == 0:
        return None
    ordered = sorted(values)
    return ordered[k - 1], ordered[n - k]


def coefficient_of_variation(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups as a share of the group's mean, pooled over the groups.

    sqrt(sum of (x / mean of its group - 1)^2 / sum of (group's size - 1)); for one group that is the sample
    standard deviation / mean. None when no group has two values or a mean above zero.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        mean = fmean(group) if group else 0.0
        if mean > 0:
            squares += sum((value / mean - 1) ** 2 for value in group)
            freedom += len(group) - 1
    return sqrt(squares / freedom) if freedom else None


def steadiness(cv: float) -> str:
    """Return a coefficient of variation as a word, by AIPerf's bands: `excellent` to 5 %, `unstable` above 20 %."""
    if cv > 0.20:
        return "unstable"
    return "excellent" if cv < 0.05 else "good" if cv < 0.10 else "fair"


def wilson_lower(successes: int, n: int, confidence: float = 0.95) -> float:
    """Return the lower end of the two-sided Wilson score interval of a proportion (Wilson 1927)."""
    _check_counts(successes, n)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z * z / n))


def exact_lower(successes: int, n: int, confidence: float = 0.95) -> float:
    """Return the one-sided exact lower bound of a proportion (Clopper and Pearson 1934).

    For n of n that is (1 - confidence) ** (1 / n).
    """
    _check_counts(successes, n)
    if successes == 0:
        return 0.0
    if successes == n:  # true for every ranked model, so reports need no scipy
        return float((1 - confidence) ** (1 / n))
    from scipy.special import betaincinv

    return float(betaincinv(successes, n - successes + 1, 1 - confidence))


def pass_hat_k(correct: int, n: int, k: int) -> float:
    """Return C(correct, k) / C(n, k): the chance that k of the n tries are all right (tau-bench)."""
    _check_counts(correct, n)
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and the {n} tries made, not {k}")
    return comb(correct, k) / comb(n, k)


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models compared in pairs of latencies: one pair per pass, or one per case.

    `ratio` is the geometric mean over the `n` pairs of challenger's / incumbent's latency: below 1 the challenger is
    faster. `low` and `high` are its confidence interval at `level`, by t on the logarithms, whose standard deviation
    is `sd_log`. `unit` names what a pair is, in the plural.
    """

    n: int
    ratio: float
    low: float
    high: float
    level: float
    sd_log: float
    unit: str

    @property
    def gain(self) -> float:
        """The share of the incumbent's latency that the challenger saves."""
        return 1 - self.ratio

    @property
    def clear(self) -> bool:
        """Whether the interval excludes that both are equally fast."""
        return self.high < 1 or self.low > 1

    @property
    def p_value(self) -> float:
        """The chance that equally fast models differ at least this much: Student's t, two-sided."""
        distance = abs(log(self.ratio))
        if self.sd_log == 0:
            return 0.0 if distance else 1.0
        from scipy.special import stdtr

        return 2 * float(stdtr(self.n - 1, -distance / (self.sd_log / sqrt(self.n))))


def interval_text(found: PairedComparison, share: Callable[[float], float] | None = None) -> str:
    """Render a comparison's interval: of the ratio, or of the share that `share` makes of a ratio, in percent."""
    ends = [found.low, found.high] if share is None else sorted(map(share, (found.low, found.high)))
    low, high = (f"{end:.3g}" if share is None else _percent(end) for end in ends)
    return f"{100 * found.level:.5g} % interval {low} to {high}, n={found.n} {found.unit}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share > -10 else "below -999%"


def compare_cases(
    challenger: Mapping[str, float], incumbent: Mapping[str, float], level: float
) -> PairedComparison | None:
    """Compare two models' latencies, one per case, over the common cases; None with fewer than two.

    The interval is about other cases like these. It has one degree of freedom less than there are cases.
    """
    return _compared(_log_ratios(challenger, incumbent), level, "cases")


def compare_passes(pairs: Iterable[tuple[float, float]], level: float) -> PairedComparison | None:
    """Compare two models' mean latencies over a suite, one pair per pass; None with fewer than two pairs.

    The interval is about further passes over the same cases. It has one degree of freedom less than there are pairs.
    """
    possible = [(one, other) for one, other in pairs if 0 < one < inf and 0 < other < inf]
    return _compared([log(one / other) for one, other in possible], level, "passes")


def passes_to_separate(found: PairedComparison, level_at: Callable[[int], float], most: int) -> int | None:
    """Return after how many passes, at most `most`, a comparison like this one would exclude equality.

    It assumes that ratio and standard deviation stay as they are. `level_at` gives the level after so many passes.
    """
    distance = abs(log(found.ratio))
    wanted = range(found.n + 1, most + 1)
    return next((n for n in wanted if _half_width(n, found.sd_log, level_at(n)) < distance), None)


def pass_means(passes: Sequence[Mapping[str, float]], case_ids: Iterable[str]) -> list[float]:
    """Return the mean over these cases of each pass; `passes` holds one latency per case and pass.

    A latency that a pass lacks is replaced by the mean of the case's others, so that every mean is of the same cases.
    Each case must have a latency in some pass.
    """
    usual = {case_id: fmean(one[case_id] for one in passes if case_id in one) for case_id in case_ids}
    return [fmean(one.get(case_id, mean) for case_id, mean in usual.items()) for one in passes] if usual else []


def _compared(logs: Sequence[float], level: float, unit: str) -> PairedComparison | None:
    if len(logs) < 2:
        return None
    mean = fmean(logs)
    sd = sqrt(fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1))
    half = _half_width(len(logs), sd, level)
    low, high = exp(max(mean - half, -_WIDEST)), exp(min(mean + half, _WIDEST))
    return PairedComparison(len(logs), exp(mean), low, high, level, sd, unit)


def mean_interval(values: Sequence[float], level: float) -> tuple[float, float] | None:
    """Return the interval of the mean of non-negative values by Student's t; None with fewer than two values."""
    if len(values) < 2:
        return None
    mean, half = fmean(values), _half_width(len(values), stdev(values), level)
    return max(mean - half, 0.0), mean + half


def _half_width(n: int, sd: float, level: float) -> float:
    return _t_quantile(n - 1, level) * sd / sqrt(n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for multiple comparisons, in the given order (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - position)))
        adjusted[index] = highest
    return adjusted


def _check_counts(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a proportion")


def _log_ratios(challenger: Mapping[str, float], incumbent: Mapping[str, float]) -> list[float]:
    """Return the log ratios of the common cases, without those whose latencies are impossible (zero, infinite)."""
    pairs = ((challenger[case], incumbent[case]) for case in challenger if case in incumbent)
    return [log(one / other) for one, other in pairs if 0 < one < inf and 0 < other < inf]


@cache
def _t_quantile(freedom: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
