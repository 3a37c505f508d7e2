"""The final: who meets in it, at which level it is looked at, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, rank
from bench_pipeline.domain.promoting.final import LOOKS, MAX_FINAL_PASSES, contenders, decisive, level_at, settled
from bench_pipeline.domain.promoting.policy import PromotionPolicy

POLICY = PromotionPolicy(min_gain=0.05, alpha=0.01)
HELD = frozenset({"old"})

# Medians of five cases whose ratios scatter by about 2 %.
AT_100 = (99.0, 101.0, 100.0, 102.0, 98.0)
AT_101 = (102.0, 99.0, 101.0, 103.0, 100.0)
AT_80 = (81.0, 80.0, 79.0, 82.0, 78.0)
AT_97 = (97.0, 98.0, 96.0, 99.0, 95.0)
AT_200 = (201.0, 199.0, 202.0, 200.0, 198.0)


def model(
    name: str, main: Sequence[float] = AT_100, final: Sequence[float] = (), passes: int = 0, actor: bool = True
) -> ModelResult:
    return ModelResult(
        name,
        Standing.QUALIFIED,
        5,
        5,
        100.0,
        actor_id=sum(name.encode()) if actor else None,
        avg_latency_ms=fmean(final or main),
        case_medians_ms={f"c{number}": latency for number, latency in enumerate(main)},
        final_case_medians_ms={f"c{number}": latency for number, latency in enumerate(final)},
        final_passes=passes,
    )


# The levels


@pytest.mark.parametrize("alpha", [0.01, 0.002])
def test_all_looks_together_spend_alpha_and_no_more(alpha: float) -> None:
    assert sum((1 - level_at(look, alpha)) / 2 for look in LOOKS) == pytest.approx(alpha)


@given(st.integers(1, 100))
def test_between_two_looks_the_level_is_that_of_the_next(passes: int) -> None:
    later = [look for look in LOOKS if look >= passes]
    assert level_at(passes) == level_at(later[0] if later else MAX_FINAL_PASSES)


def test_contenders_have_made_the_same_number_of_turns_forward_and_backward_at_every_look() -> None:
    assert all(look % 2 == 0 for look in LOOKS)


def test_the_fewer_passes_of_two_models_set_the_level() -> None:
    one, other = model("new", final=AT_80, passes=6), model("old", final=AT_100, passes=8)
    comparison = decisive(one, other, 1, POLICY)
    assert comparison is not None
    assert comparison.level == level_at(6, POLICY.alpha)


# Who meets


@pytest.mark.parametrize(
    ("models", "meeting"),
    [
        pytest.param([model("new", AT_80), model("old")], ("new", "old"), id="a faster challenger, however clear"),
        pytest.param([model("old"), model("new", AT_101)], (), id="a challenger that cannot save the margin"),
        pytest.param(
            [model("old", AT_100[::-1]), model("new", (60, 150, 100, 140, 80))],
            ("old", "new"),
            id="a challenger behind, by less than chance",
        ),
        pytest.param([model("new", AT_80), model("next", AT_97), model("old")], ("new", "old"), id="the fastest only"),
        pytest.param(
            [model("by hand", AT_80, actor=False), model("new", AT_80[::-1]), model("old")],
            ("new", "old"),
            id="no model that is no actor",
        ),
        pytest.param([model("old")], (), id="no challenger"),
        pytest.param([], (), id="nobody qualified"),
        pytest.param([model("new", AT_100[:1]), model("old", AT_200[:1])], (), id="one case compares nothing"),
    ],
)
def test_the_fastest_challenger_meets_the_incumbent_while_it_may_save_the_margin(
    models: list[ModelResult], meeting: tuple[str, ...]
) -> None:
    assert contenders(rank(models, HELD), HELD, POLICY) == meeting


@pytest.mark.parametrize(
    ("models", "meeting"),
    [
        pytest.param([model("new", AT_80), model("old"), model("older", AT_200)], ("new", "old", "older"), id="both"),
        pytest.param([model("old", AT_80), model("older", AT_200)], ("old", "older"), id="one may replace the other"),
        pytest.param(
            [model("old", AT_80), model("new", AT_100), model("older", AT_200)],
            ("old", "older"),
            id="a challenger that is slower than the fastest of them does not matter",
        ),
    ],
)
def test_two_incumbents_meet_whoever_may_replace_them(models: list[ModelResult], meeting: tuple[str, ...]) -> None:
    held = frozenset({"old", "older"})
    assert contenders(rank(models, held), held, POLICY) == meeting


@pytest.mark.parametrize(
    ("models", "meeting"),
    [
        pytest.param([model("a"), model("b", AT_101)], ("a", "b"), id="not separated"),
        pytest.param([model("a", AT_80), model("b")], (), id="separated"),
        pytest.param([model("a")], (), id="only one"),
        pytest.param([model("a", actor=False), model("b", AT_101, actor=False)], ("a", "b"), id="named by hand"),
    ],
)
def test_without_an_incumbent_the_two_leaders_meet_when_they_are_not_separated(
    models: list[ModelResult], meeting: tuple[str, ...]
) -> None:
    assert contenders(rank(models), HELD, POLICY) == meeting


def test_an_incumbent_that_does_not_qualify_is_not_in_the_final() -> None:
    old = replace(model("old"), standing=Standing.DISQUALIFIED)
    assert contenders(rank([model("a"), model("b", AT_101), old], HELD), HELD, POLICY) == ("a", "b")


# When it is over

UNCLEAR = (60.0, 150.0, 70.0, 140.0, 80.0)


@pytest.mark.parametrize(
    ("of_new", "passes", "over"),
    [
        pytest.param(AT_80, 4, True, id="the challenger could be promoted"),
        pytest.param(AT_101, 4, True, id="it cannot save the margin"),
        pytest.param(UNCLEAR, 4, False, id="neither is sure"),
        pytest.param(AT_80, 5, False, id="between two looks nobody looks"),
        pytest.param(UNCLEAR, MAX_FINAL_PASSES, True, id="the bound"),
    ],
)
def test_the_final_is_over_when_the_pair_is_decided_or_the_bound_is_reached(
    of_new: Sequence[float], passes: int, over: bool
) -> None:
    board = rank([model("new", final=of_new, passes=passes), model("old", final=AT_100, passes=passes)], HELD)
    assert settled(board, ("new", "old"), HELD, passes, POLICY) is over


@pytest.mark.parametrize(("of_older", "over"), [(AT_200, True), (UNCLEAR, False)])
def test_the_final_is_over_when_every_pair_is_decided(of_older: Sequence[float], over: bool) -> None:
    held = frozenset({"old", "older"})
    finals = {"new": AT_80, "old": AT_100, "older": of_older}
    board = rank([model(name, final=final, passes=4) for name, final in finals.items()], held)
    assert settled(board, tuple(finals), held, 4, POLICY) is over


@pytest.mark.parametrize("out", ["new", "old"])
def test_a_pair_of_which_one_drops_out_is_decided(out: str) -> None:
    results = [model("new", final=UNCLEAR, passes=4), model("old", final=AT_100, passes=4)]
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
    board = rank([model("a", final=AT_100, passes=4), model("b", final=of_b, passes=4)])
    assert settled(board, ("a", "b"), frozenset(), 4, POLICY) is over


latencies = st.lists(st.floats(50, 200), min_size=5, max_size=5)


@given(st.lists(latencies, max_size=6), st.frozensets(st.sampled_from("abcdef"), max_size=3))
def test_a_final_has_two_contenders_or_more_or_none_and_all_qualified(
    fields: list[list[float]], held: frozenset[str]
) -> None:
    board = rank([model(name, main) for name, main in zip("abcdef", fields, strict=False)], held)
    meeting = contenders(board, held, POLICY)
    assert len(meeting) != 1
    assert list(meeting) == [r.model for r in board.ranked if r.model in meeting]
