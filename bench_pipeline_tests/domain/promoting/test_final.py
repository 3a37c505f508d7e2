"""The final: who meets in it, in which order, at which level it is looked at, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, rank
from bench_pipeline.domain.promoting.final import (
    LOOKS,
    MAX_FINAL_PASSES,
    contenders,
    decisive,
    level_at,
    order_of,
    passes_missing,
    settled,
)
from bench_pipeline.domain.promoting.policy import PromotionPolicy

POLICY = PromotionPolicy(min_gain=0.05, alpha=0.01)
HELD = frozenset({"old"})

# Means of four passes that scatter by about 2 %, or widely.
AT_100 = (99.0, 101.0, 100.0, 102.0)
AT_101 = (102.0, 99.0, 101.0, 103.0)
AT_80 = (81.0, 80.0, 79.0, 82.0)
AT_97 = (97.0, 98.0, 96.0, 99.0)
AT_200 = (201.0, 199.0, 202.0, 200.0)
UNCLEAR = (60.0, 150.0, 70.0, 140.0)


def model(name: str, main_ms: float = 100.0, final: Sequence[float] = (), actor: bool = True) -> ModelResult:
    return ModelResult(
        name,
        Standing.QUALIFIED,
        5,
        5,
        100.0,
        actor_id=sum(name.encode()) if actor else None,
        avg_latency_ms=fmean(final) if final else main_ms,
        final_latencies_ms=tuple({"c": latency} for latency in final),
        final_passes=len(final),
    )


# The levels


@pytest.mark.parametrize("alpha", [0.01, 0.002])
def test_all_looks_together_spend_alpha_and_no_more(alpha: float) -> None:
    assert sum((1 - level_at(look, alpha)) / 2 for look in LOOKS) == pytest.approx(alpha)


@given(st.integers(1, 100))
def test_between_two_looks_the_level_is_that_of_the_next(passes: int) -> None:
    later = [look for look in LOOKS if look >= passes]
    assert level_at(passes) == level_at(later[0] if later else MAX_FINAL_PASSES)


def test_the_fewer_passes_of_two_models_set_the_level() -> None:
    one, other = model("new", final=AT_80 + AT_80[:2]), model("old", final=AT_100 * 2)
    comparison = decisive(one, other, POLICY)
    assert comparison is not None
    assert (comparison.n, comparison.level) == (6, level_at(6, POLICY.alpha))


def test_a_protocol_may_ask_for_as_many_passes_as_there_are_looks_and_no_more() -> None:
    assert Protocol(final_passes=MAX_FINAL_PASSES).final_passes == MAX_FINAL_PASSES
    with pytest.raises(ValueError, match="less than or equal to 40"):
        Protocol(final_passes=MAX_FINAL_PASSES + 1)


# The order


@given(st.permutations("abc"), st.integers(1, 40), st.text(max_size=5))
def test_every_contender_has_one_place_in_a_pass_and_the_same_when_it_is_resumed(
    names: list[str], number: int, seed: str
) -> None:
    order = order_of(names, number, seed)
    assert sorted(order) == ["a", "b", "c"]
    assert order == order_of(names, number, seed)


def test_either_of_two_is_first_in_half_of_the_passes() -> None:
    first = [order_of(("new", "old"), number, f"benchmark {number // 40}")[0] for number in range(4000)]
    assert 1850 < first.count("new") < 2150  # within five standard deviations


# Who meets


@pytest.mark.parametrize(
    ("models", "meeting"),
    [
        pytest.param([model("new", 80), model("old")], ("new", "old"), id="a faster challenger, however clear"),
        pytest.param([model("old"), model("new", 109)], ("old", "new"), id="a challenger that is slower by chance"),
        pytest.param([model("old"), model("new", 111)], (), id="a challenger that is clearly slower"),
        pytest.param([model("new", 80), model("next", 97), model("old")], ("new", "old"), id="the fastest only"),
        pytest.param(
            [model("by hand", 80, actor=False), model("new", 81), model("old")],
            ("new", "old"),
            id="no model that is no actor",
        ),
        pytest.param([model("old")], (), id="no challenger"),
        pytest.param([], (), id="nobody qualified"),
    ],
)
def test_the_fastest_challenger_meets_the_incumbent_unless_it_is_clearly_slower(
    models: list[ModelResult], meeting: tuple[str, ...]
) -> None:
    assert contenders(rank(models, HELD), HELD) == meeting


@pytest.mark.parametrize(
    ("models", "meeting"),
    [
        pytest.param([model("new", 80), model("old"), model("older", 200)], ("new", "old", "older"), id="both"),
        pytest.param([model("old", 80), model("older", 200)], ("old", "older"), id="one may replace the other"),
        pytest.param(
            [model("old", 80), model("new", 100), model("older", 200)],
            ("old", "older"),
            id="a challenger that is slower than the fastest of them does not matter",
        ),
    ],
)
def test_two_incumbents_meet_each_model_that_may_replace_them(
    models: list[ModelResult], meeting: tuple[str, ...]
) -> None:
    held = frozenset({"old", "older"})
    assert contenders(rank(models, held), held) == meeting


@pytest.mark.parametrize(
    ("models", "meeting"),
    [
        pytest.param([model("a"), model("b", 109)], ("a", "b"), id="near"),
        pytest.param([model("a", 80), model("b")], (), id="one is clearly slower"),
        pytest.param([model("a")], (), id="only one"),
        pytest.param([model("a", actor=False), model("b", 101, actor=False)], ("a", "b"), id="named by hand"),
    ],
)
def test_without_an_incumbent_the_two_leaders_meet_unless_one_is_clearly_slower(
    models: list[ModelResult], meeting: tuple[str, ...]
) -> None:
    assert contenders(rank(models), HELD) == meeting


def test_an_incumbent_that_does_not_qualify_is_not_in_the_final() -> None:
    old = replace(model("old"), standing=Standing.DISQUALIFIED)
    assert contenders(rank([model("a"), model("b", 101), old], HELD), HELD) == ("a", "b")


# When it is over


@pytest.mark.parametrize(
    ("of_new", "of_old", "over"),
    [
        pytest.param(AT_80, AT_100, True, id="the challenger could be promoted"),
        pytest.param(AT_101, AT_100, True, id="it cannot save the margin"),
        pytest.param(UNCLEAR, AT_100, False, id="neither is sure"),
        pytest.param((*AT_80, 80.0), (*AT_100, 100.0), False, id="between two looks nobody looks"),
        pytest.param(UNCLEAR * 10, AT_100 * 10, True, id="the last look"),
        pytest.param(UNCLEAR, (), False, id="one of the two has no valid latency"),
    ],
)
def test_the_final_is_over_when_the_pair_is_decided_or_after_the_last_look(
    of_new: Sequence[float], of_old: Sequence[float], over: bool
) -> None:
    board = rank([model("new", final=of_new), model("old", final=of_old)], HELD)
    assert settled(board, ("new", "old"), HELD, len(of_new), POLICY) is over


@pytest.mark.parametrize(("of_older", "over"), [(AT_200, True), (UNCLEAR, False)])
def test_the_final_is_over_when_every_pair_is_decided(of_older: Sequence[float], over: bool) -> None:
    held = frozenset({"old", "older"})
    finals = {"new": AT_80, "old": AT_100, "older": of_older}
    board = rank([model(name, final=final) for name, final in finals.items()], held)
    assert settled(board, tuple(finals), held, 4, POLICY) is over


@pytest.mark.parametrize("out", ["new", "old"])
def test_a_pair_of_which_one_drops_out_is_decided(out: str) -> None:
    results = [model("new", final=UNCLEAR), model("old", final=AT_100)]
    results = [replace(r, standing=Standing.DISQUALIFIED) if r.model == out else r for r in results]
    assert settled(rank(results, HELD), ("new", "old"), HELD, 4, POLICY)


@pytest.mark.parametrize(
    ("of_b", "over"),
    [
        pytest.param(AT_200, True, id="separated"),
        pytest.param(AT_101, True, id="equal within the margin"),
        pytest.param(UNCLEAR, False, id="neither"),
    ],
)
def test_two_leaders_are_decided_when_they_are_separated_or_equal_within_the_margin(
    of_b: Sequence[float], over: bool
) -> None:
    board = rank([model("a", final=AT_100), model("b", final=of_b)])
    assert settled(board, ("a", "b"), frozenset(), 4, POLICY) is over


latencies = st.lists(st.floats(50, 200), min_size=2, max_size=40)


@given(latencies, latencies)
def test_the_passes_that_are_missing_lead_to_a_look_if_there_is_one(one: list[float], other: list[float]) -> None:
    comparison = decisive(model("new", final=one), model("old", final=other), POLICY)
    assert comparison is not None
    missing = passes_missing(comparison, POLICY)
    assert missing is None or comparison.n + missing in LOOKS or comparison.n + missing > MAX_FINAL_PASSES


@given(st.lists(st.floats(50, 200), max_size=6), st.frozensets(st.sampled_from("abcdef"), max_size=3))
def test_a_final_has_two_contenders_or_more_or_none_and_all_qualified(means: list[float], held: frozenset[str]) -> None:
    board = rank([model(name, main) for name, main in zip("abcdef", means, strict=False)], held)
    meeting = contenders(board, held)
    assert len(meeting) != 1
    assert list(meeting) == [r.model for r in board.ranked if r.model in meeting]
