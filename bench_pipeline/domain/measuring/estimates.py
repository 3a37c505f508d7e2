"""A model's mean latency as people read it: rounded, with unit, interval and n. scoreboard.py compares models."""

from __future__ import annotations

from dataclasses import dataclass

from bench_pipeline.domain.measuring.scoreboard import ModelResult
from bench_pipeline.domain.measuring.statistics import mean_interval, pass_means

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean latency over the suite, in ms, with the interval that further passes would lie around.

    `low` and `high` are None with fewer than two passes, which do not show how much passes vary.
    """

    mean_ms: float
    low: float | None
    high: float | None
    passes: int
    cases: int

    def __str__(self) -> str:
        """Return it with unit, interval and n."""
        n = f"n={counted(self.passes, 'pass', 'passes')} of {counted(self.cases, 'case')}"
        if self.low is None or self.high is None:
            return f"{ms_text(self.mean_ms)} per case ({n}; two passes or more give an interval)"
        return f"{ms_text(self.mean_ms)} per case ({100 * LEVEL:.0f} % interval {_span(self.low, self.high)}, {n})"


def estimate(result: ModelResult) -> Estimate | None:
    """Return the mean latency of a model over all its passes; None without a valid latency."""
    if result.avg_latency_ms is None:
        return None
    final = [one for one in result.final_latencies_ms if one]
    means = [*result.pass_means_ms, *pass_means(final, {case_id for one in final for case_id in one})]
    found = mean_interval(means, LEVEL)
    low, high = found or (None, None)
    return Estimate(result.avg_latency_ms, low, high, max(len(means), 1), result.cases)


def ms_text(milliseconds: float) -> str:
    """Return a latency with its unit: whole milliseconds from 10 ms on."""
    return f"{milliseconds:.2f} ms" if milliseconds < 10 else f"{milliseconds:,.0f} ms"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, as `1 case` or `2 cases`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _span(low: float, high: float) -> str:
    return f"{ms_text(low).removesuffix(' ms')} to {ms_text(high)}"
