"""What a change of actor would save in a month of production's calls. Counts no calls and knows no clock."""

from __future__ import annotations

from dataclasses import dataclass

from bench_pipeline.domain.measuring.statistics import PairedComparison

WINDOW_DAYS = 30
_DAYS_A_MONTH = 30
_MS_A_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Impact:
    """Minutes that the challenger saves in a month of 30 days; below zero it costs them.

    `low` and `high` are the interval at `level`: that of the difference, with the `calls` of the last `days` days
    taken as they were.
    """

    minutes: float
    low: float
    high: float
    level: float
    calls: int
    days: int

    def __str__(self) -> str:
        sign, word = (1, "less") if self.minutes >= 0 else (-1, "more")
        low, high = sorted((sign * self.low, sign * self.high))
        interval = f"{100 * self.level:.5g} % interval {_figure(low)} to {_figure(high)} min"
        volume = f"{self.calls:,} {'call' if self.calls == 1 else 'calls'} in the last {self.days} days"
        return f"about {_figure(sign * self.minutes)} min a month {word} ({interval}; {volume})"


def impact(
    calls: int, days: int, comparison: PairedComparison | None, incumbent_mean_ms: float | None
) -> Impact | None:
    """Return calls a month x the incumbent's mean latency x the share of it that is saved, in minutes.

    The mean is that of the benchmark. The share is 1 - `comparison.ratio`, and the ends of its interval are
    1 - the ratio's. None without calls, or when nothing was compared.
    """
    if calls < 1 or comparison is None or incumbent_mean_ms is None:
        return None
    minutes = calls / days * _DAYS_A_MONTH * incumbent_mean_ms / _MS_A_MINUTE
    return Impact(
        minutes=minutes * comparison.gain,
        low=minutes * (1 - comparison.high),
        high=minutes * (1 - comparison.low),
        level=comparison.level,
        calls=calls,
        days=days,
    )


def _figure(minutes: float) -> str:
    """Whole minutes from ten on, tenths below: more would claim more than is known."""
    return f"{minutes:,.0f}" if abs(minutes) >= 10 else f"{minutes:.1f}"
