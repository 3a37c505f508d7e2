"""A model's mean latency as people read it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench_pipeline.domain.measuring.estimates import counted, estimate, ms_text
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.measuring.statistics import mean_interval

ONE_PASS = ModelResult("m", Standing.QUALIFIED, 10, 10, 100.0, avg_latency_ms=1200.4, pass_means_ms=(1200.4,))
FINAL = replace(
    ONE_PASS, pass_means_ms=(1200.0,), final_latencies_ms=({"a": 1100.0, "b": 1300.0}, {"a": 1210.0, "b": 1210.0})
)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (ONE_PASS, "1,200 ms per case (n=1 pass of 10 cases; two passes or more give an interval)"),
        (
            replace(ONE_PASS, avg_latency_ms=1240, pass_means_ms=(1200.0, 1240.0, 1280.0)),
            "1,240 ms per case (95 % interval 1,141 to 1,339 ms, n=3 passes of 10 cases)",
        ),
        (FINAL, "1,200 ms per case (95 % interval 1,189 to 1,218 ms, n=3 passes of 10 cases)"),
    ],
    ids=["one pass", "main passes", "with a final"],
)
def test_a_mean_is_told_with_unit_interval_and_n(result: ModelResult, says: str) -> None:
    assert str(estimate(result)) == says


def test_a_model_without_a_valid_latency_has_no_estimate() -> None:
    assert estimate(replace(ONE_PASS, avg_latency_ms=None)) is None


def test_an_interval_of_latencies_never_goes_below_zero() -> None:
    assert mean_interval([1.0, 100.0], 0.95) == (0.0, pytest.approx(679.5, abs=0.1))
    assert mean_interval([1.0], 0.95) is None


@pytest.mark.parametrize(("ms", "says"), [(4.678, "4.68 ms"), (4600.678197499999, "4,601 ms"), (10, "10 ms")])
def test_a_latency_claims_no_more_digits_than_are_known(ms: float, says: str) -> None:
    assert ms_text(ms) == says


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(1, "pass", "passes"), counted(2, "pass", "passes"), counted(1200, "model")] == [
        "1 pass", "2 passes", "1,200 models",
    ]  # fmt: skip
