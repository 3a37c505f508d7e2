"""The arithmetic of measuring, with values worked out by hand or printed by others, and what holds of all values."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import exp, inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from bench_pipeline.domain.measuring.statistics import (
    coefficient_of_variation,
    compare_cases,
    compare_passes,
    exact_lower,
    holm,
    median,
    median_interval,
    p90,
    pass_hat_k,
    pass_means,
    passes_to_separate,
    steadiness,
    wilson_lower,
)

# One model


@pytest.mark.parametrize(("values", "middle"), [([3.0], 3.0), ([1.0, 9.0], 5.0), ([9.0, 1.0, 2.0], 2.0)])
def test_the_median_is_the_middle_or_the_mean_of_the_middle_two(values: list[float], middle: float) -> None:
    assert median(values) == middle


@pytest.mark.parametrize(
    ("n", "position"), [(1, 1), (2, 2), (9, 9), (10, 9), (11, 10), (20, 18), (30, 27), (64, 58), (100, 90)]
)
def test_p90_is_the_smallest_value_that_nine_in_ten_do_not_exceed(n: int, position: int) -> None:
    assert p90([float(value) for value in range(n, 0, -1)]) == position


def test_no_values_have_no_p90() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        p90([])


@pytest.mark.parametrize(
    ("groups", "variation"),
    [
        pytest.param([[90.0, 110.0]], 0.141421, id="one group: sample standard deviation over mean"),
        pytest.param([[90.0, 110.0], [900.0, 1100.0]], 0.141421, id="groups of different size vary alike"),
        pytest.param([[100.0, 100.0], [50.0, 50.0]], 0.0, id="differences between groups are no variation"),
        pytest.param([[90.0, 110.0], [7.0]], 0.141421, id="a group of one says nothing"),
        pytest.param([[7.0], [8.0]], None, id="no group of two"),
        pytest.param([[0.0, 0.0]], None, id="a mean of zero"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_variation_is_what_repeats_of_a_case_differ_by(groups: list[list[float]], variation: float | None) -> None:
    found = coefficient_of_variation(groups)
    assert found == (None if variation is None else pytest.approx(variation, abs=1e-6))


@pytest.mark.parametrize(
    ("cv", "word"),
    [
        (0.0, "excellent"), (0.049, "excellent"), (0.05, "good"), (0.099, "good"),
        (0.10, "fair"), (0.20, "fair"), (0.201, "unstable"),
    ],
)  # fmt: skip
def test_variation_is_called_by_its_band(cv: float, word: str) -> None:
    assert steadiness(cv) == word


@pytest.mark.parametrize(
    ("n", "wilson", "exact"),
    [(5, 0.566, 0.549), (10, 0.722, 0.741), (30, 0.886, 0.905), (50, 0.929, 0.942), (100, 0.963, 0.970)],
)
def test_all_right_of_few_is_a_weak_bound(n: int, wilson: float, exact: float) -> None:
    assert wilson_lower(n, n) == pytest.approx(wilson, abs=6e-4)
    assert exact_lower(n, n) == pytest.approx(exact, abs=6e-4)
    assert exact_lower(n, n) == pytest.approx(0.05 ** (1 / n))


@pytest.mark.parametrize(
    ("successes", "n", "wilson", "exact"), [(0, 10, 0.0, 0.0), (9, 10, 0.5958, 0.6058), (7, 10, 0.3968, 0.3934)]
)
def test_some_wrong_lowers_the_bounds(successes: int, n: int, wilson: float, exact: float) -> None:
    assert wilson_lower(successes, n) == pytest.approx(wilson, abs=1e-4)
    assert exact_lower(successes, n) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_a_share_of_nothing_or_of_more_than_all_is_refused(successes: int, n: int) -> None:
    for bound in (wilson_lower, exact_lower):
        with pytest.raises(ValueError, match="is not a proportion"):
            bound(successes, n)


@pytest.mark.parametrize(
    ("correct", "n", "k", "chance"), [(5, 5, 3, 1.0), (4, 5, 3, 0.4), (2, 5, 3, 0.0), (3, 4, 1, 0.75), (0, 3, 1, 0.0)]
)
def test_pass_hat_k_is_the_share_of_k_tries_that_are_all_right(correct: int, n: int, k: int, chance: float) -> None:
    assert pass_hat_k(correct, n, k) == pytest.approx(chance)


@pytest.mark.parametrize("k", [0, 4])
def test_pass_hat_k_needs_as_many_tries(k: int) -> None:
    with pytest.raises(ValueError, match="k must be between 1 and the 3 tries made"):
        pass_hat_k(3, 3, k)


# Two models

CASES = [f"c{number}" for number in range(10)]
latencies = st.fixed_dictionaries({case: st.floats(0.1, 1e5) for case in CASES})
levels = st.sampled_from([0.8, 0.95, 0.999])


def by_case(*values: float) -> dict[str, float]:
    return dict(zip(CASES, values, strict=False))


def test_the_interval_is_students_t_on_the_logarithms() -> None:
    found = compare_cases(by_case(100, 100, 100), by_case(100, 200, 400), 0.95)
    assert found is not None
    half = 4.302653 * log(2) / 3**0.5  # t of 2 degrees of freedom, 97.5 %
    assert (found.n, found.unit, found.level) == (3, "cases", 0.95)
    assert found.ratio == pytest.approx(0.5)
    assert found.sd_log == pytest.approx(log(2))
    assert (found.low, found.high) == (pytest.approx(0.5 * exp(-half)), pytest.approx(0.5 * exp(half)))
    assert found.gain == pytest.approx(0.5)
    assert not found.clear
    assert found.p_value == pytest.approx(0.225403, abs=1e-6)


@pytest.mark.parametrize(
    ("challenger", "incumbent"),
    [
        pytest.param(by_case(1), by_case(2), id="one case"),
        pytest.param({"a": 1.0, "b": 2.0}, {"c": 1.0, "d": 2.0}, id="other cases"),
        pytest.param(by_case(1, 2), by_case(1, 0), id="a latency of zero is none"),
        pytest.param({}, {}, id="nothing measured"),
    ],
)
def test_fewer_than_two_common_cases_are_no_comparison(
    challenger: dict[str, float], incumbent: dict[str, float]
) -> None:
    assert compare_cases(challenger, incumbent, 0.95) is None


@pytest.mark.parametrize(
    ("incumbent_ms", "clear", "p_value"), [(100.0, False, 1.0), (200.0, True, 0.0), (50.0, True, 0.0)]
)
def test_without_any_spread_the_interval_is_a_point(incumbent_ms: float, clear: bool, p_value: float) -> None:
    found = compare_cases(dict.fromkeys(CASES, 100.0), dict.fromkeys(CASES, incumbent_ms), 0.999)
    assert found is not None
    assert found.low == found.ratio == found.high == pytest.approx(100 / incumbent_ms)
    assert (found.clear, found.p_value) == (clear, p_value)


@given(latencies, latencies, levels)
def test_the_interval_holds_the_ratio(one: dict[str, float], other: dict[str, float], level: float) -> None:
    found = compare_cases(one, other, level)
    assert found is not None
    assert found.low <= found.ratio <= found.high


@given(latencies, latencies, levels)
def test_swapping_the_models_inverts_the_interval(one: dict[str, float], other: dict[str, float], level: float) -> None:
    there, back = compare_cases(one, other, level), compare_cases(other, one, level)
    assert there is not None
    assert back is not None
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert (back.low, back.high) == (pytest.approx(1 / there.high), pytest.approx(1 / there.low))


@given(latencies, latencies, st.floats(0.01, 100))
def test_a_machine_that_is_slower_for_both_changes_nothing(
    one: dict[str, float], other: dict[str, float], factor: float
) -> None:
    slower = [{case: value * factor for case, value in values.items()} for values in (one, other)]
    there, back = compare_cases(one, other, 0.95), compare_cases(*slower, 0.95)
    assert there is not None
    assert back is not None
    assert (back.ratio, back.low, back.high) == pytest.approx((there.ratio, there.low, there.high))


@given(latencies, latencies)
def test_an_interval_of_a_higher_level_is_wider(one: dict[str, float], other: dict[str, float]) -> None:
    narrow, wide = compare_cases(one, other, 0.9), compare_cases(one, other, 0.99)
    assert narrow is not None
    assert wide is not None
    assert wide.low <= narrow.low
    assert wide.high >= narrow.high


@given(latencies, latencies)
def test_the_p_value_agrees_with_the_interval(one: dict[str, float], other: dict[str, float]) -> None:
    found = compare_cases(one, other, 0.95)
    assert found is not None
    assert found.clear == (found.p_value < 0.05) or abs(found.p_value - 0.05) < 1e-9


# Passes


@given(st.lists(st.tuples(st.floats(0.1, 1e5), st.floats(0.1, 1e5)), min_size=2, max_size=20), levels)
def test_pairs_of_passes_are_compared_as_cases_are(pairs: list[tuple[float, float]], level: float) -> None:
    ours, theirs = ({str(number): pair[side] for number, pair in enumerate(pairs)} for side in range(2))
    by_case, by_pass = compare_cases(ours, theirs, level), compare_passes(pairs, level)
    assert by_case is not None
    assert by_pass == replace(by_case, unit="passes")


@pytest.mark.parametrize("pairs", [[], [(1.0, 2.0)], [(1.0, 2.0), (0.0, 2.0)], [(1.0, 2.0), (1.0, inf)]])
def test_fewer_than_two_possible_pairs_of_passes_are_no_comparison(pairs: list[tuple[float, float]]) -> None:
    assert compare_passes(pairs, 0.95) is None


@pytest.mark.parametrize(
    ("passes", "means"),
    [
        pytest.param([{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 4.0}], [2.0, 3.0], id="complete passes"),
        pytest.param([{"a": 1.0, "b": 3.0}, {"a": 2.0}], [2.0, 2.5], id="a case that a pass lacks keeps its weight"),
        pytest.param([{"a": 1.0, "b": 3.0, "c": 9.0}], [2.0], id="other cases do not count"),
        pytest.param([], [], id="no pass"),
    ],
)
def test_every_mean_of_a_pass_is_over_the_same_cases(passes: list[dict[str, float]], means: list[float]) -> None:
    cases = ["a", "b"] if passes else []
    assert pass_means(passes, cases) == pytest.approx(means)


def test_a_forecast_is_the_number_of_passes_at_which_the_interval_would_exclude_equality() -> None:
    found = compare_passes([(90.0, 100.0), (100.0, 95.0), (85.0, 100.0), (95.0, 100.0)], 0.95)
    assert found is not None
    assert not found.clear
    needed = passes_to_separate(found, lambda _: 0.95, 1000)
    assert needed is not None
    for n, separates in ((needed - 1, False), (needed, True)):
        half = float(stdtrit(n - 1, 0.975)) * found.sd_log / n**0.5
        assert (half < -log(found.ratio)) is separates


def test_there_is_no_forecast_for_equal_models() -> None:
    found = compare_passes([(90.0, 100.0), (100.0, 90.0)], 0.95)
    assert found is not None
    assert passes_to_separate(found, lambda _: 0.95, 1000) is None


# Many comparisons


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.02], [0.02]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6, 0.001], [1.0, 1.0, 0.003]),
    ],
)
def test_holm_multiplies_the_smallest_by_all_and_never_turns_the_order(
    p_values: list[float], adjusted: list[float]
) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_an_adjusted_p_value_is_no_smaller_and_at_most_one(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    ordered = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)


# What it costs


@pytest.mark.parametrize("module", ["bench_pipeline.domain.promoting.decision", "bench_pipeline.cli.main"])
def test_importing_it_imports_no_scipy(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('scipy', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("n", "level", "k"),
    [(5, 0.95, 0), (6, 0.95, 1), (10, 0.95, 2), (20, 0.95, 6), (100, 0.95, 40), (10, 0.999, 0), (11, 0.999, 1)],
)
def test_the_interval_of_a_median_lies_between_the_k_th_values_of_the_tables(n: int, level: float, k: int) -> None:
    """Conover, Practical Nonparametric Statistics: the binomial table with p = 1/2."""
    values = [float(value) for value in reversed(range(1, n + 1))]
    assert median_interval(values, level) == ((k, n + 1 - k) if k else None)


def test_the_interval_of_a_median_is_a_point_where_all_values_are_equal_however_many() -> None:
    assert median_interval([7.0] * 3000, 0.999) == (7.0, 7.0)


@given(st.lists(st.floats(0, 1e9), max_size=60), st.floats(0.5, 0.9999))
def test_the_interval_of_a_median_contains_it(values: list[float], level: float) -> None:
    found = median_interval(values, level)
    assert found is None or found[0] <= median(values) <= found[1]
