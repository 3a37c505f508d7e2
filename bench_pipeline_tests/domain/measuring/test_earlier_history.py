"""Which rows of another program are one benchmark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.earlier_history import EarlierResult, earlier_benchmarks

DAY = datetime(2026, 1, 1, 10, tzinfo=UTC)


def result(model: str, rank: int | None = None, hours: float = 0) -> EarlierResult:
    return EarlierResult(DAY + timedelta(hours=hours), model, rank)


@pytest.mark.parametrize(
    ("results", "benchmarks"),
    [
        pytest.param([result("a", 1), result("b", 2), result("c")], ["abc"], id="one moment"),
        pytest.param([result("a", 1), result("b", 2, 1), result("c", None, 11)], ["abc"], id="stored model by model"),
        pytest.param([result("a", 1), result("b", 2), result("a", 1, 2), result("b", 2, 2)], ["ab", "ab"], id="a day"),
        pytest.param(
            [result("a", 1), result("b", 2), result("c", 1, 2), result("b", 2, 2)], ["ab", "cb"], id="new model"
        ),
        pytest.param([result("a", 1), result("b", 1), result("c", 3)], ["abc"], id="a tie"),
        pytest.param([result("a", 1), result("b", 2, 13)], ["a", "b"], id="the next day"),
        pytest.param([result("a", 1), result("a", 1), result("b", 2)], ["a", "ab"], id="imported with one date"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_results_are_grouped_into_benchmarks(results: list[EarlierResult], benchmarks: list[str]) -> None:
    assert ["".join(one.model for one in found) for found in earlier_benchmarks(results)] == benchmarks


RESULTS = st.builds(
    result, st.sampled_from("abcd"), st.none() | st.integers(1, 3), st.integers(0, 40).map(lambda halves: halves / 2)
)


@given(st.lists(RESULTS))
def test_no_result_is_lost_and_no_benchmark_has_a_model_twice(results: list[EarlierResult]) -> None:
    in_order = sorted(results, key=lambda one: one.date)

    found = earlier_benchmarks(in_order)

    assert [one for benchmark in found for one in benchmark] == in_order
    for benchmark in found:
        models = [one.model for one in benchmark]
        assert len(models) == len(set(models))
        assert benchmark[-1].date - benchmark[0].date <= timedelta(hours=12)
