"""How a final decides between two qualified models: by their means, over its passes, with a margin and an interval."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench_pipeline.domain.measuring.scoreboard import (
    ModelResult,
    compare_means,
)
from bench_pipeline.domain.promoting.decision import DecisionKind, Incumbent
from bench_pipeline.domain.promoting.final import level_at
from bench_pipeline_tests.domain.promoting.examples import (
    CASES,
    FAST,
    KEEP,
    PROMOTE,
    decided,
    result,
    timed,
    without_final,
)


@pytest.mark.parametrize(
    ("challenger_ms", "incumbent_ms", "min_gain", "kind"),
    [
        pytest.param(94, 100, 0.05, PROMOTE, id="6 % of 5 %"),
        pytest.param(95, 100, 0.05, PROMOTE, id="exactly 5 %"),
        pytest.param(96, 100, 0.05, KEEP, id="4 % of 5 %"),
        pytest.param(99, 100, 0.0, PROMOTE, id="1 % of none"),
        pytest.param(51, 100, 0.5, KEEP, id="49 % of 50 %"),
        pytest.param(50, 100, 0.5, PROMOTE, id="exactly 50 %"),
    ],
)
def test_a_challenger_must_save_the_stated_share_of_the_incumbents_latency(
    challenger_ms: float, incumbent_ms: float, min_gain: float, kind: DecisionKind
) -> None:
    old = result("old", 9, incumbent_ms)
    decision = decided([result("new", 1, challenger_ms), old], Incumbent(9, "old", "ai_model", old), min_gain)
    assert decision.kind is kind
    assert decision.gain == pytest.approx(1 - challenger_ms / incumbent_ms)


SCATTERED = timed("new", 1, 60, 120, 70, 130), timed("old", 9, 100, 100, 100, 100)
STEADY = timed("new", 1, 80, 81, 79, 80), timed("old", 9, 100, 100, 100, 100)


@pytest.mark.parametrize(
    ("challenger", "old", "kind", "reason"),
    [
        pytest.param(
            *STEADY,
            PROMOTE,
            "20.0% faster than old in the final "
            "(99.94 % interval 13.5% to 26.0%, n=4 passes; mean 80 ms against 100 ms)",
            id="clear",
        ),
        pytest.param(
            *SCATTERED,
            KEEP,
            "10.0% faster than old in the final "
            "(99.94 % interval below -999% to 95.3%, n=4 passes; mean 95 ms against 100 ms): "
            "the interval does not show that it is faster; "
            "if it goes on like this, about 159 more passes of each would, more than 40 in all",
            id="not clear",
        ),
    ],
)
def test_a_gain_that_may_be_chance_keeps_the_incumbent(
    challenger: ModelResult, old: ModelResult, kind: DecisionKind, reason: str
) -> None:
    decision = decided([challenger, old], Incumbent(9, "old", "ai_model", old))
    assert (decision.kind, decision.reason) == (kind, reason)


def test_a_final_that_ended_too_early_says_how_many_passes_it_lacks_and_what_to_set() -> None:
    challenger, old = timed("new", 1, 70, 90, 80, 75), timed("old", 9, 100, 95, 100, 105)
    decision = decided([challenger, old], Incumbent(9, "old", "ai_model", old))
    assert decision.kind is KEEP
    assert decision.reason.endswith("about 4 more passes of each would (BENCH_FINAL_PASSES=8)")


def test_the_decision_holds_the_comparison_that_decided() -> None:
    challenger, old = STEADY
    decision = decided([challenger, old], Incumbent(9, "old", "ai_model", old))
    assert decision.comparison == compare_means(challenger, old, level_at(4))
    assert decided([FAST], Incumbent(None)).comparison is None


def test_a_final_decides_by_its_own_passes_alone() -> None:
    slower_after_all = timed("new", 1, 99, 100, 98, 99, 100, 98, main_ms=50)
    old = timed("old", 9, 100, 100, 100, 100, 100, 100)
    decision = decided([slower_after_all, old], Incumbent(9, "old", "ai_model", old))
    assert decision.kind is KEEP
    assert decision.comparison is not None
    assert decision.comparison.level == level_at(6)
    assert "n=6 passes; mean 50 ms against 100 ms" in decision.reason


def test_a_challenger_whose_mean_over_the_final_is_not_lower_is_kept_out_whatever_its_pairs_say() -> None:
    """It is faster in eleven pairs of twelve; the twelfth takes most of the time, and there it is slower."""
    old = timed("old", 9, *[100.0] * 11, 1500)
    new = timed("new", 1, *[60.0] * 11, 2100, main_ms=50)
    decision = decided([new, old], Incumbent(9, "old", "ai_model", old))
    assert decision.comparison is not None
    assert decision.comparison.high < 1
    assert decision.kind is KEEP
    assert decision.reason.endswith("its mean over all passes of the final is not lower")


def cases_of(short_ms: float, long_ms: float, passes: int) -> tuple[dict[str, float], ...]:
    """Nine short cases and a long one."""
    return (dict.fromkeys(CASES[:9], short_ms) | {CASES[9]: long_ms},) * passes


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        pytest.param((1000, 10_000), (1000, 6000), PROMOTE, id="one long case makes the mean 21 % lower"),
        pytest.param((1000, 10_000), (800, 12_500), KEEP, id="faster in nine cases, and a mean 3.7 % higher"),
    ],
)
def test_the_mean_over_the_suite_decides_and_not_the_number_of_cases(
    old: tuple[float, float], new: tuple[float, float], kind: DecisionKind
) -> None:
    held = replace(result("old", 9, 1900), final_passes=20, final_latencies_ms=cases_of(*old, passes=20))
    challenger = replace(result("new", 1, 1500), final_passes=20, final_latencies_ms=cases_of(*new, passes=20))
    assert decided([challenger, held], Incumbent(9, "old", "ai_model", held)).kind is kind


def test_two_passes_that_agree_are_not_enough() -> None:
    old, new = timed("old", 9, 1060, 1061), timed("new", 1, 1000, 1000)
    assert decided([new, old], Incumbent(9, "old", "ai_model", old)).kind is KEEP


def test_who_won_the_final_is_promoted_before_a_leader_that_was_not_in_it() -> None:
    lucky = without_final(result("lucky", 2, 60))
    winner, old = result("new", 1, 80), result("old", 9, 100)
    decision = decided([lucky, winner, old], Incumbent(9, "old", "ai_model", old))
    assert decision.kind is PROMOTE
    assert decision.challenger is not None
    assert decision.runner_up is not None
    assert (decision.challenger.model, decision.runner_up.model) == ("new", "lucky")


def test_an_incumbent_that_won_the_final_stays_before_a_leader_that_was_not_in_it() -> None:
    lucky = without_final(result("lucky", 2, 60))
    loser, old = result("new", 1, 110), result("old", 9, 100)
    decision = decided([lucky, loser, old], Incumbent(9, "old", "ai_model", old))
    assert decision.kind is KEEP
    assert decision.reason == "old was the fastest of the final; lucky, which leads by its mean, was not in it"
