"""Ranks, ties and comparisons of several models, by the formulae that the user fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.scoreboard import (
    ModelResult,
    Standing,
    ahead_by,
    paired_means,
    rank,
)
from bench_pipeline.domain.tasks.outcome import Outcome

CORRECT, WRONG, INVALID, ERROR = Outcome.CORRECT, Outcome.WRONG, Outcome.INVALID, Outcome.ERROR
QUALIFIED, DISQUALIFIED, INCONCLUSIVE = Standing.QUALIFIED, Standing.DISQUALIFIED, Standing.INCONCLUSIVE
OUTPACED = Standing.OUTPACED


def result_of(
    model: str,
    ms: float | None = 100.0,
    standing: Standing = QUALIFIED,
    size: int | None = None,
    correct: int = 10,
    p90_ms: float | None = None,
    memory: int | None = None,
    passes: Sequence[float] = (),
) -> ModelResult:
    return ModelResult(
        model,
        standing,
        10,
        correct,
        correct * 10.0,
        avg_latency_ms=ms,
        size_bytes=size,
        p90_ms=p90_ms,
        memory_bytes=memory,
        pass_means_ms=tuple(passes),
    )


def test_the_fastest_qualified_model_is_champion_and_the_next_is_runner_up() -> None:
    board = rank([result_of("slow", 300), result_of("fast", 100), result_of("middle", 200)])
    assert [(r.rank, r.model) for r in board.ranked] == [(1, "fast"), (2, "middle"), (3, "slow")]
    assert board.champion == board.of("fast")
    assert board.runner_up == board.of("middle")


def test_a_faster_model_that_does_not_qualify_has_no_rank() -> None:
    board = rank([result_of("right", 900), result_of("wrong", 1, DISQUALIFIED), result_of("broken", 1, INCONCLUSIVE)])
    assert [(r.model, r.rank) for r in board.results] == [("right", 1), ("wrong", None), ("broken", None)]


def test_without_a_qualified_model_there_is_neither_champion_nor_runner_up() -> None:
    board = rank([result_of("wrong", 1, DISQUALIFIED)])
    assert (board.champion, board.runner_up, board.ranked) == (None, None, ())


def test_one_qualified_model_has_no_runner_up() -> None:
    assert rank([result_of("only")]).runner_up is None


def test_nothing_measured_is_an_empty_scoreboard() -> None:
    assert rank([]).results == ()


def test_a_model_that_is_not_on_the_scoreboard_is_not_found() -> None:
    assert rank([result_of("a")]).of("b") is None


def test_below_stand_the_disqualified_with_the_most_correct_first_the_inconclusive_and_the_outpaced() -> None:
    board = rank(
        [
            result_of("slow", 900, OUTPACED),
            result_of("open", None, INCONCLUSIVE, correct=9),
            result_of("b", 5, DISQUALIFIED, correct=3),
            result_of("a", 5, DISQUALIFIED, correct=3),
            result_of("nearly", 5, DISQUALIFIED, correct=9),
        ]
    )
    assert [r.model for r in board.results] == ["nearly", "a", "b", "open", "slow"]


@pytest.mark.parametrize(
    ("results", "incumbents", "order"),
    [
        pytest.param([("b", 100.4, 1), ("a", 99.6, 9)], {"a"}, ["a", "b"], id="the incumbent before the smaller"),
        pytest.param([("b", 99.6, 9), ("a", 100.4, 1)], {"b"}, ["b", "a"], id="the incumbent before the name"),
        pytest.param([("a", 100.0, 9), ("b", 100.0, 1)], {"x"}, ["b", "a"], id="the smaller before the name"),
        pytest.param([("a", 100.0, None), ("b", 100.0, 1)], set(), ["b", "a"], id="a known size before none"),
        pytest.param([("b", 100.0, 1), ("a", 100.0, 1)], set(), ["a", "b"], id="the name"),
        pytest.param([("b", 100.0, None), ("a", 100.0, None)], set(), ["a", "b"], id="the name without sizes"),
        pytest.param([("b", 100.4, 1), ("a", 99.6, 1)], {"a", "b"}, ["a", "b"], id="two incumbents by size and name"),
    ],
)
def test_equal_means_stand_by_incumbent_then_size_then_name(
    results: list[tuple[str, float, int | None]], incumbents: set[str], order: list[str]
) -> None:
    board = rank([result_of(name, ms, size=size) for name, ms, size in results], frozenset(incumbents))
    assert [r.model for r in board.ranked] == order
    assert [r.rank for r in board.ranked] == [1, 2]


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        pytest.param(
            result_of("a", 99.6, p90_ms=150, memory=1), result_of("b", 100.4, p90_ms=140, memory=9), "ba", id="p90"
        ),
        pytest.param(
            result_of("a", p90_ms=150, memory=9, size=1),
            result_of("b", p90_ms=150, memory=8, size=2),
            "ba",
            id="memory",
        ),
        pytest.param(result_of("a", memory=9), result_of("b", size=8), "ba", id="its size, where memory is not known"),
        pytest.param(result_of("a", 100.4, p90_ms=100), result_of("b", 100.6, p90_ms=1), "ab", id="the mean first"),
    ],
)
def test_equal_means_stand_by_p90_then_by_memory(one: ModelResult, other: ModelResult, order: str) -> None:
    assert [r.model for r in rank([one, other]).ranked] == list(order)


@pytest.mark.parametrize(
    ("ahead", "behind", "word"),
    [
        pytest.param(result_of("b", 99.4), result_of("i", 100.6), "mean latency", id="another whole millisecond"),
        pytest.param(result_of("i", 100.4), result_of("a", 99.6), "incumbent", id="the incumbent"),
        pytest.param(result_of("b", p90_ms=110, size=2), result_of("a", p90_ms=120, size=1), "p90", id="lower p90"),
        pytest.param(result_of("b", size=1), result_of("a", size=2), "memory", id="less memory"),
        pytest.param(result_of("a"), result_of("b"), "name", id="nothing but the name"),
    ],
)
def test_what_puts_one_model_before_another_has_a_name(ahead: ModelResult, behind: ModelResult, word: str) -> None:
    incumbents = frozenset({"i"})
    assert [result.model for result in rank([behind, ahead], incumbents).ranked] == [ahead.model, behind.model]
    assert ahead_by(ahead, behind, incumbents) == word


@pytest.mark.parametrize(("one", "other", "tied"), [(100.0, 100.0, True), (100.0, 109.0, True), (100.0, 111.0, False)])
def test_with_too_few_passes_to_compare_means_that_are_near_are_a_tie(one: float, other: float, tied: bool) -> None:
    board = rank([result_of("a", one), result_of("b", other)])
    assert [r.tied_with for r in board.ranked] == ([("b",), ("a",)] if tied else [(), ()])


EVEN = [100.0, 110.0, 120.0, 130.0, 140.0]
CLOSE = [108.0, 104.0, 128.0, 126.0, 146.0]
FAR = [202.0, 219.0, 243.0, 258.0, 281.0]


@pytest.mark.parametrize(
    ("results", "ties"),
    [
        pytest.param([("a", 120, EVEN), ("b", 240, FAR)], [(), ()], id="a difference in all passes"),
        pytest.param([("a", 120, EVEN), ("b", 122, CLOSE)], [("b",), ("a",)], id="now one, now the other is faster"),
        pytest.param([("a", 120, EVEN), ("b", 120, EVEN)], [("b",), ("a",)], id="no difference at all"),
        pytest.param([("a", 120, EVEN), ("b", 122, CLOSE), ("c", 240, FAR)], [("b",), ("a",), ()], id="two of three"),
        pytest.param(
            [("a", 119, EVEN), ("b", 240, FAR), ("c", 241, FAR)], [(), ("c",), ("b",)], id="behind the leader"
        ),
    ],
)
def test_models_whose_means_over_the_passes_are_not_separated_are_tied(
    results: list[tuple[str, float, list[float]]], ties: list[tuple[str, ...]]
) -> None:
    board = rank([result_of(name, ms, passes=passes) for name, ms, passes in results])
    assert [r.tied_with for r in board.ranked] == ties


def test_the_more_models_are_compared_the_larger_a_difference_must_be() -> None:
    slower = [104.0, 111.0, 128.0, 133.0, 150.0]  # p = 0.024 alone, 0.073 among three comparisons
    pair = [result_of("a", 120, passes=EVEN), result_of("b", 126, passes=slower)]
    assert [r.tied_with for r in rank(pair).ranked] == [(), ()]
    board = rank([*pair, result_of("c", 127, passes=slower)])
    assert [r.tied_with for r in board.ranked] == [("b", "c"), ("a", "c"), ("a", "b")]


def finalist(*passes: dict[str, float]) -> ModelResult:
    return replace(result_of("m"), final_passes=len(passes), final_latencies_ms=passes)


@pytest.mark.parametrize(
    ("one", "other", "pairs"),
    [
        pytest.param(
            finalist({"a": 1, "b": 3}, {"a": 2, "b": 4}),
            finalist({"a": 2, "b": 6}, {"a": 4, "b": 8}),
            [(2, 4), (3, 6)],
            id="pass by pass",
        ),
        pytest.param(finalist({"a": 1}, {"a": 2}), finalist({"a": 2}), [(1, 2)], id="as many as both made"),
        pytest.param(
            finalist({"a": 1, "b": 3}, {"a": 2}),
            finalist({"a": 2, "b": 6}, {"a": 4, "b": 8}),
            [(2, 4), (2.5, 6)],
            id="a missing latency is replaced by the others of its case",
        ),
        pytest.param(
            finalist({"a": 1, "b": 3, "c": 5}, {"a": 2}),
            finalist({"a": 2, "b": 6, "c": 10}, {"a": 4, "b": 8, "c": 12}),
            [(3, 6)],
            id="a pass with less than half of the cases is left out",
        ),
        pytest.param(finalist({"a": 1, "b": 9}), finalist({"a": 2, "c": 9}), [(1, 2)], id="the cases of both"),
        pytest.param(finalist({"a": 1}), finalist({"b": 2}), [], id="no common case"),
        pytest.param(finalist({}, {}), finalist({}, {}), [], id="no latency"),
    ],
)
def test_the_means_of_a_final_are_paired_pass_by_pass(
    one: ModelResult, other: ModelResult, pairs: list[tuple[float, float]]
) -> None:
    assert paired_means(one, other) == pairs


def test_models_that_met_in_a_final_are_compared_by_it_alone() -> None:
    final = tuple({"c": latency} for latency in EVEN)
    board = rank(
        [
            replace(result_of(name, ms, passes=passes), final_latencies_ms=final, final_passes=5)
            for name, ms, passes in (("a", 120, EVEN), ("b", 240, FAR))
        ]
    )
    assert [r.tied_with for r in board.ranked] == [("b",), ("a",)]


def test_the_unranked_are_tied_with_nobody() -> None:
    board = rank([result_of("a", 100), result_of("b", 100, DISQUALIFIED)])
    assert [r.tied_with for r in board.results] == [(), ()]


standings = st.sampled_from([QUALIFIED, QUALIFIED, DISQUALIFIED, INCONCLUSIVE])
boards = st.lists(
    st.builds(
        result_of,
        st.sampled_from([f"m{i}" for i in range(20)]),
        st.floats(1, 5, allow_nan=False) | st.integers(1, 10_000).map(float),
        standings,
        st.none() | st.integers(1, 3),
        st.integers(0, 10),
        passes=st.just(()) | st.lists(st.floats(50, 200), min_size=4, max_size=4),
    ),
    max_size=10,
    unique_by=lambda result: result.model,
)
incumbents_of_boards = st.frozensets(st.sampled_from([f"m{i}" for i in range(20)]), max_size=3)


@given(boards.flatmap(lambda b: st.tuples(st.just(b), st.permutations(b))), incumbents_of_boards)
def test_the_order_of_measuring_never_changes_a_rank(
    orders: tuple[list[ModelResult], list[ModelResult]], incumbents: frozenset[str]
) -> None:
    assert rank(orders[0], incumbents) == rank(orders[1], incumbents)


@given(boards, incumbents_of_boards)
def test_exactly_the_qualified_models_have_the_ranks_from_one_on(
    results: list[ModelResult], incumbents: frozenset[str]
) -> None:
    board = rank(results, incumbents)
    qualified = {r.model for r in results if r.standing is QUALIFIED}
    assert [r.rank for r in board.results if r.model in qualified] == list(range(1, len(qualified) + 1))
    assert {r.model for r in board.results if r.rank is None} == {r.model for r in results} - qualified
    assert {r.model for r in board.ranked} == qualified


@given(boards, incumbents_of_boards)
def test_no_model_is_ranked_before_one_that_is_a_whole_millisecond_faster(
    results: list[ModelResult], incumbents: frozenset[str]
) -> None:
    latencies = [r.avg_latency_ms or 0 for r in rank(results, incumbents).ranked]
    assert all(latencies[i] <= later + 1 for i in range(len(latencies)) for later in latencies[i + 1 :])
    assert [round(ms) for ms in latencies] == sorted(round(ms) for ms in latencies)


@given(boards, incumbents_of_boards)
def test_ties_are_mutual_and_never_with_oneself(results: list[ModelResult], incumbents: frozenset[str]) -> None:
    board = rank(results, incumbents)
    pairs = {(r.model, other) for r in board.results for other in r.tied_with}
    assert pairs == {(other, model) for model, other in pairs}
    assert all(model != other for model, other in pairs)
