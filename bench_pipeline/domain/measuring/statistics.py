"""Statistics on plain numbers: quantiles, bounds, and paired comparisons. Samples and models are in scoreboard.py.

Definitions with their sources: docs/reference/formulae.md. scipy is imported where it is used, because most commands
compare nothing; decisions need only `scipy.special`, and `scipy.stats` only checks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, comb, exp, fsum, inf, log, sqrt
from statistics import NormalDist, fmean
from statistics import median as median

# MLPerf's early stopping: the fewest queries that support a p90 with 99 % confidence when one of them is late.
MIN_CALLS_FOR_P90 = 64

_BOOTSTRAP_SEED = 42


def p90(values: Sequence[float]) -> float:
    """Return the nearest-rank 90th percentile: the smallest value that 90 % of `values` do not exceed.

    Only indicative below `MIN_CALLS_FOR_P90` values. Raises `ValueError` without values.
    """
    if not values:
        raise ValueError("a percentile needs at least one value")
    return sorted(values)[ceil(len(values) * 9 / 10) - 1]


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
    """Two models on the same cases.

    `ratio` is the geometric mean over cases of challenger's / incumbent's latency: below 1 the challenger is
    faster. `low` and `high` are its confidence interval at `level`, by t on the `cases` logarithms, whose
    standard deviation is `sd_log`.
    """

    cases: int
    ratio: float
    low: float
    high: float
    level: float
    sd_log: float

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

        return 2 * float(stdtr(self.cases - 1, -distance / (self.sd_log / sqrt(self.cases))))


def compare_paired(
    challenger: Mapping[str, float], incumbent: Mapping[str, float], level: float
) -> PairedComparison | None:
    """Compare two models' latencies, one per case, over the common cases; None with fewer than two.

    The interval has `cases` - 1 degrees of freedom: repeats of a case do not count as further cases.
    """
    logs = _log_ratios(challenger, incumbent)
    if len(logs) < 2:
        return None
    mean = fmean(logs)
    sd = sqrt(fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1))
    half = _t_quantile(len(logs) - 1, level) * sd / sqrt(len(logs))
    return PairedComparison(len(logs), exp(mean), exp(mean - half), exp(mean + half), level, sd)


@dataclass(frozen=True, slots=True)
class PairedChecks:
    """The results of other methods for a comparison; the BCa interval is None when all cases agree."""

    bca_low: float | None
    bca_high: float | None
    wilcoxon_p: float


def paired_checks(
    challenger: Mapping[str, float], incumbent: Mapping[str, float], level: float = 0.95
) -> PairedChecks | None:
    """Check a comparison by BCa bootstrap over cases and by Wilcoxon's signed-rank test.

    None with fewer than two common cases. For explanations, never for decisions: importing `scipy.stats` takes half
    a second.
    """
    logs = _log_ratios(challenger, incumbent)
    if len(logs) < 2:
        return None
    if max(logs) - min(logs) < 1e-12:  # nothing to resample
        return PairedChecks(None, None, _wilcoxon(logs))
    from numpy import mean
    from numpy.random import default_rng
    from scipy.stats import bootstrap

    found = bootstrap(
        (logs,), mean, confidence_level=level, method="BCa", rng=default_rng(_BOOTSTRAP_SEED)
    ).confidence_interval
    return PairedChecks(exp(found.low), exp(found.high), _wilcoxon(logs))


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


def _wilcoxon(logs: Sequence[float]) -> float:
    """Return the p-value of the signed-rank test; 1 when no case differs."""
    if not any(logs):
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(logs).pvalue)
