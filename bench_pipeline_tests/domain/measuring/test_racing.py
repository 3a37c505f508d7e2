"""A race: the order of the cases, who is outpaced, who still runs, and that it finds what full measuring finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.racing import (
    MIN_CASES,
    Racer,
    StopReason,
    case_order,
    is_outpaced,
    live,
    stop_reason,
)
from benchmarks.racing import BARRED, CASES, REPEATS, Race, draw_field, simulate

SUITE = [f"c{number}" for number in range(10)]


def racer(
    model: str,
    ms: float,
    cases: Sequence[str] = SUITE,
    passes: int = 1,
    failed: bool = False,
    inconclusive: bool = False,
    incumbent: bool = False,
) -> Racer:
    """A model that takes about so long for each case: a per cent more or less from case to case."""
    medians = {case: ms * (1 + int(case[1:]) % 3 / 100) for case in cases}
    return Racer(model, medians, passes, failed, inconclusive, incumbent)


FAST, FASTER = racer("fast", 110), racer("faster", 100)


# The order of the cases


@pytest.mark.parametrize(
    ("failures", "order"),
    [
        pytest.param({}, ["a", "b", "c"], id="as in the suite while nothing is known"),
        pytest.param({"c": 2, "b": 1}, ["c", "b", "a"], id="failed by most models first"),
        pytest.param({"c": 1, "b": 1}, ["b", "c", "a"], id="ties as in the suite"),
        pytest.param({"gone": 9, "c": 1}, ["c", "a", "b"], id="a case of an earlier suite is no case"),
    ],
)
def test_cases_come_in_the_order_in_which_they_tell_models_apart(failures: dict[str, int], order: list[str]) -> None:
    assert case_order(["a", "b", "c"], failures) == order


@given(st.lists(st.text(max_size=3), unique=True), st.dictionaries(st.text(max_size=3), st.integers(0, 9)))
def test_the_order_holds_every_case_once_and_keeps_the_suites_order_in_a_tie(
    cases: list[str], failures: dict[str, int]
) -> None:
    order = case_order(cases, failures)
    assert sorted(order) == sorted(cases)
    places = [(-failures.get(case, 0), cases.index(case)) for case in order]
    assert places == sorted(places)


# Outpaced


@pytest.mark.parametrize(
    ("model", "others", "outpaced"),
    [
        pytest.param(racer("m", 200), [FAST, FASTER], True, id="two are faster"),
        pytest.param(racer("m", 200), [FASTER], False, id="one is faster: it may be runner-up"),
        pytest.param(racer("m", 200), [], False, id="alone"),
        pytest.param(racer("m", 105), [FAST, FASTER], False, id="faster than one of them"),
        pytest.param(racer("m", 110), [FAST, FASTER], False, id="equal to one of them"),
        pytest.param(racer("m", 200, incumbent=True), [FAST, FASTER], False, id="the incumbent"),
        pytest.param(racer("m", 200), [FAST, replace(FASTER, incumbent=True)], True, id="an incumbent is faster"),
        pytest.param(racer("m", 200), [FAST, replace(FASTER, failed=True)], False, id="a faster one failed"),
        pytest.param(racer("m", 200), [FAST, replace(FASTER, inconclusive=True)], False, id="a faster one broke off"),
        pytest.param(racer("m", 200, SUITE[: MIN_CASES - 1], 0), [FAST, FASTER], False, id="too few cases yet"),
        pytest.param(racer("m", 200, SUITE[:MIN_CASES], 0), [FAST, FASTER], True, id="just enough cases"),
        pytest.param(racer("m", 200), [FAST, racer("o", 100, SUITE[:9], 0)], False, id="a rival saw fewer cases"),
        pytest.param(racer("m", 200, SUITE[:8], 0), [FAST, racer("o", 100, SUITE[:9], 0)], True, id="or as many"),
    ],
)
def test_a_model_is_outpaced_when_two_others_are_faster_beyond_doubt(
    model: Racer, others: list[Racer], outpaced: bool
) -> None:
    assert is_outpaced(model, [model, *others]) is outpaced


def test_a_difference_that_the_cases_do_not_agree_on_outpaces_nobody() -> None:
    torn = replace(racer("m", 0), medians_ms={case: 60.0 if int(case[1:]) % 2 else 400.0 for case in SUITE})
    assert not is_outpaced(torn, [torn, FAST, FASTER])


# Stops


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param(racer("m", 90), None, id="among the leaders"),
        pytest.param(racer("m", 200), StopReason.OUTPACED, id="outpaced"),
        pytest.param(racer("m", 200, passes=3), None, id="slower but complete: it is ranked"),
        pytest.param(racer("m", 90, failed=True), StopReason.FAILED, id="failed"),
        pytest.param(racer("m", 200, failed=True), StopReason.FAILED, id="failed and slower: it failed"),
        pytest.param(racer("m", 200, passes=3, failed=True), StopReason.FAILED, id="failed in the last call"),
        pytest.param(racer("m", 200, incumbent=True), None, id="an incumbent that is slower"),
        pytest.param(racer("m", 90, incumbent=True, failed=True), StopReason.FAILED, id="an incumbent that failed"),
    ],
)
def test_a_model_stops_when_it_failed_or_cannot_lead_any_more(model: Racer, reason: StopReason | None) -> None:
    assert stop_reason(model, [FAST, FASTER, model], repeats=3) is reason


# Rounds


def test_in_the_first_round_everybody_runs_the_incumbents_first() -> None:
    field = [Racer("a", {}), Racer("b", {}, incumbent=True), Racer("c", {}), Racer("d", {}, incumbent=True)]
    assert live(field, repeats=3) == ["b", "d", "a", "c"]


def test_the_next_round_is_for_those_who_may_still_lead() -> None:
    slow, wrong, broken = racer("slow", 200), racer("wrong", 50, failed=True), racer("broken", 50, inconclusive=True)
    assert live([slow, FAST, wrong, FASTER, broken], repeats=3) == ["fast", "faster"]


@pytest.mark.parametrize("out", [{"failed": True}, {"inconclusive": True}])
def test_an_outpaced_model_is_back_when_a_faster_one_drops_out(out: dict[str, bool]) -> None:
    slow, slower = racer("slow", 200, passes=0), racer("slower", 300, passes=0)
    leaders = [replace(FAST, passes=2), replace(FASTER, passes=2)]
    assert live([slow, slower, *leaders], repeats=3) == ["fast", "faster"]
    assert live([slow, slower, replace(leaders[0], **out), leaders[1]], repeats=3) == ["slow", "faster"]


def test_the_race_is_over_when_the_leaders_are_complete() -> None:
    field = [racer("slow", 200), replace(FAST, passes=3), replace(FASTER, passes=3)]
    assert live(field, repeats=3) == []


def test_a_race_of_one_pass_still_needs_the_pass() -> None:
    assert live([Racer("a", {})], repeats=1) == ["a"]
    assert live([racer("a", 100)], repeats=1) == []


def test_nobody_runs_in_an_empty_field() -> None:
    assert live([], repeats=3) == []


# What holds in every field

latencies = st.floats(10, 10_000) | st.sampled_from([100.0, 110.0, 200.0])
some_racers = st.builds(
    Racer,
    model=st.just(""),
    medians_ms=st.dictionaries(st.sampled_from(SUITE[:6]), latencies, max_size=6)
    | latencies.map(lambda ms: racer("", ms).medians_ms),
    passes=st.integers(0, 3),
    failed=st.booleans(),
    inconclusive=st.sampled_from([False, False, True]),
    incumbent=st.sampled_from([False, False, True]),
)
fields = st.lists(some_racers, max_size=7).map(
    lambda racers: [replace(racer, model=f"m{number}") for number, racer in enumerate(racers)]
)


@given(fields)
def test_an_incumbent_is_never_outpaced(field: list[Racer]) -> None:
    assert not any(is_outpaced(racer, field) for racer in field if racer.incumbent)


@given(fields)
def test_a_model_that_is_out_never_outpaces_another(field: list[Racer]) -> None:
    still_in = [racer for racer in field if racer.in_the_race]
    assert [is_outpaced(racer, field) for racer in still_in] == [is_outpaced(racer, still_in) for racer in still_in]


@given(fields)
def test_two_models_that_are_in_the_race_are_always_outpaced_by_nobody(field: list[Racer]) -> None:
    still_in = [racer for racer in field if racer.in_the_race]
    assert sum(not is_outpaced(racer, field) for racer in still_in) >= min(2, len(still_in))


@given(fields)
def test_who_needs_a_pass_is_exactly_who_is_in_incomplete_and_not_stopped(field: list[Racer]) -> None:
    needed = set(live(field, repeats=2))
    for one in field:
        reason = stop_reason(one, field, repeats=2)
        assert (one.model in needed) == (reason is None and not one.inconclusive and not one.is_complete(2))


@given(fields)
def test_when_the_race_is_over_two_models_are_complete_or_all_that_are_in(field: list[Racer]) -> None:
    if not live(field, repeats=2):
        still_in = [racer for racer in field if racer.in_the_race]
        assert sum(racer.is_complete(2) for racer in still_in) >= min(2, len(still_in))


# Against full measuring


@pytest.mark.parametrize("cv", [0.0, 0.15, 1.0])
@pytest.mark.parametrize("number", range(3))
def test_every_race_ends_within_the_calls_of_full_and_one_confirmation_a_model(number: int, cv: float) -> None:
    field = draw_field(number, cv, spread=4.0)
    raced = Race(field).run()
    assert len(raced.leaders) == 2
    assert raced.calls <= len(field.models) * (len(CASES) * REPEATS + 1)


def test_the_race_finds_the_champion_and_the_runner_up_of_full_with_less_than_half_of_the_calls() -> None:
    row = simulate(fields=20, scenario=BARRED)
    assert (row.champion, row.pair) == (1.0, 1.0)
    assert row.calls < 0.45
