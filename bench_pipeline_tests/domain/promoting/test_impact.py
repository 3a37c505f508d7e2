"""What a change would save in a month: calls, times the incumbent's mean, times the share that is saved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.statistics import PairedComparison
from bench_pipeline.domain.promoting.impact import Impact, impact


def compared(ratio: float, low: float, high: float, level: float = 0.95) -> PairedComparison:
    return PairedComparison(10, ratio, low, high, level, sd_log=0.1, unit="passes")


@pytest.mark.parametrize(
    ("calls", "days", "comparison", "mean_ms", "sentence"),
    [
        pytest.param(
            1240,
            30,
            compared(0.5, 0.3, 0.7, 0.984),
            3300,
            "about 34 min a month less (98.4 % interval 20 to 48 min; 1,240 calls in the last 30 days)",
            id="a month of calls",
        ),
        pytest.param(
            40,
            10,
            compared(0.5, 0.4, 0.6),
            1000,
            "about 1.0 min a month less (95 % interval 0.8 to 1.2 min; 40 calls in the last 10 days)",
            id="ten days are a third of a month",
        ),
        pytest.param(
            1000,
            30,
            compared(0.9, 0.7, 1.1),
            6000,
            "about 10 min a month less (95 % interval -10 to 30 min; 1,000 calls in the last 30 days)",
            id="it may as well cost time",
        ),
        pytest.param(
            1000,
            30,
            compared(1.2, 0.95, 1.5),
            6000,
            "about 20 min a month more (95 % interval -5.0 to 50 min; 1,000 calls in the last 30 days)",
            id="it costs time",
        ),
        pytest.param(
            1,
            30,
            compared(1, 1, 1),
            60_000,
            "about 0.0 min a month less (95 % interval 0.0 to 0.0 min; 1 call in the last 30 days)",
            id="no difference, one call",
        ),
    ],
)
def test_the_impact_in_words(
    calls: int, days: int, comparison: PairedComparison, mean_ms: float, sentence: str
) -> None:
    assert str(impact(calls, days, comparison, mean_ms)) == sentence


@pytest.mark.parametrize(
    ("calls", "comparison", "mean_ms"),
    [
        pytest.param(0, compared(0.5, 0.4, 0.6), 1000.0, id="no calls, or none that are known"),
        pytest.param(10, None, 1000.0, id="nothing was compared"),
        pytest.param(10, compared(0.5, 0.4, 0.6), None, id="the incumbent has no latency"),
    ],
)
def test_without_one_of_its_factors_there_is_no_impact(
    calls: int, comparison: PairedComparison | None, mean_ms: float | None
) -> None:
    assert impact(calls, 30, comparison, mean_ms) is None


@given(
    st.integers(1, 10**6),
    st.lists(st.floats(0.01, 10), min_size=3, max_size=3).map(sorted),
    st.floats(0.1, 1e6),
)
def test_the_interval_holds_the_impact_and_twice_the_calls_save_twice_as_much(
    calls: int, ends: list[float], mean_ms: float
) -> None:
    low, ratio, high = ends
    once, twice = (impact(n, 30, compared(ratio, low, high), mean_ms) for n in (calls, 2 * calls))
    assert isinstance(once, Impact)
    assert isinstance(twice, Impact)
    assert once.low <= once.minutes <= once.high
    assert twice.minutes == pytest.approx(2 * once.minutes)
