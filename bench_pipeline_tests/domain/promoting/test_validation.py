"""Whether a session of a promoted champion with its rivals is over, and whether it shows the champion to be slower."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, rank
from bench_pipeline.domain.promoting.final import LOOKS, MAX_FINAL_PASSES
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.promoting.validation import (
    rivals_meet,
    session_over,
    slower_than,
    slowness_in_words,
    speed_in_words,
)

POLICY = PromotionPolicy()
FIRST_LOOK = LOOKS[0]
STEADY = (100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 100.0)
WILD = (60.0, 150.0, 90.0, 140.0, 70.0, 130.0, 80.0, 120.0)


def model(name: str, *passes_ms: float) -> ModelResult:
    """A qualified model with these means of its passes in the session."""
    latencies = tuple({"a": mean - 5, "b": mean + 5} for mean in passes_ms)
    mean = sum(passes_ms) / len(passes_ms)
    return ModelResult(
        name,
        Standing.QUALIFIED,
        2,
        2,
        100.0,
        avg_latency_ms=mean,
        final_passes=len(passes_ms),
        final_latencies_ms=latencies,
    )


def times(factor: float, *passes_ms: float) -> tuple[float, ...]:
    return tuple(factor * one for one in passes_ms)


def over(champion: ModelResult, *rivals: ModelResult, passes: int = FIRST_LOOK, limit: float = 1.0) -> bool:
    return session_over(rank([champion, *rivals]), {rival.model: limit for rival in rivals}, passes, POLICY)


OLD = model("old", *STEADY[:FIRST_LOOK])
GOOD = model("new", *times(0.8, *STEADY[:FIRST_LOOK]))
SLOWER = model("new", *times(1.3, *STEADY[:FIRST_LOOK]))
UNCLEAR = model("new", *WILD[:FIRST_LOOK])


def test_a_champion_that_is_slower_in_every_pass_is_shown_to_be_slower() -> None:
    found = slower_than(SLOWER, OLD, 1.0, POLICY)
    assert found is not None
    assert slowness_in_words(SLOWER, OLD, 1.0, found).startswith("new is 30.0% slower than old in the same session (")


@pytest.mark.parametrize("champion", [GOOD, UNCLEAR, replace(SLOWER, final_passes=0, final_latencies_ms=())])
def test_a_champion_is_not_slower_as_long_as_that_is_not_shown(champion: ModelResult) -> None:
    assert slower_than(champion, OLD, 1.0, POLICY) is None


def test_a_ratio_that_the_mean_over_all_passes_contradicts_shows_nothing() -> None:
    """The rival was much slower once, which hardly moves the mean of the logarithms."""
    rival = model("old", *[100.0] * 39, 10_000.0)
    champion = model("new", *[130.0] * 39, 130.0)
    assert slower_than(champion, rival, 1.0, POLICY) is None


def test_a_champion_may_take_as_many_times_the_latency_as_its_limit_says() -> None:
    assert slower_than(SLOWER, OLD, 1.4, POLICY) is None
    found = slower_than(SLOWER, OLD, 1.2, POLICY)
    assert found is not None
    assert slowness_in_words(SLOWER, OLD, 1.2, found).endswith("more than 1.2")


@pytest.mark.parametrize(
    ("champion", "ends"),
    [
        pytest.param(GOOD, True, id="not slower beyond doubt"),
        pytest.param(SLOWER, True, id="slower beyond doubt"),
        pytest.param(UNCLEAR, False, id="neither"),
    ],
)
def test_the_session_is_over_when_it_is_decided_either_way(champion: ModelResult, ends: bool) -> None:
    assert over(champion, OLD) is ends


@pytest.mark.parametrize("passes", sorted(set(range(1, MAX_FINAL_PASSES)) - set(LOOKS)))
def test_between_two_looks_nothing_is_decided(passes: int) -> None:
    assert not over(GOOD, OLD, passes=passes)


def test_the_session_is_over_at_the_last_look() -> None:
    assert over(UNCLEAR, OLD, passes=MAX_FINAL_PASSES)


def test_one_rival_that_is_faster_ends_it_whatever_the_others_show() -> None:
    assert over(SLOWER, OLD, replace(UNCLEAR, model="other"))


def test_every_rival_must_be_shown_to_be_no_faster() -> None:
    assert not over(GOOD, OLD, replace(UNCLEAR, model="other", final_latencies_ms=GOOD.final_latencies_ms))


DROPPED = {"standing": Standing.DISQUALIFIED}


def test_the_session_is_over_when_the_champion_or_every_rival_dropped_out() -> None:
    assert over(replace(UNCLEAR, **DROPPED), OLD)
    assert over(UNCLEAR, replace(OLD, **DROPPED))
    assert not over(UNCLEAR, OLD, replace(OLD, model="other", **DROPPED))


@pytest.mark.parametrize(
    ("champion", "rivals", "meeting"),
    [
        pytest.param(SLOWER, [OLD], ("new", "old"), id="both, however slow the champion is"),
        pytest.param(replace(SLOWER, **DROPPED), [OLD], (), id="nobody when the champion dropped out"),
        pytest.param(SLOWER, [replace(OLD, **DROPPED)], (), id="nobody when the rival dropped out"),
        pytest.param(SLOWER, [OLD, replace(OLD, model="x", **DROPPED)], ("new", "old"), id="the rivals that are left"),
        pytest.param(SLOWER, [], (), id="nobody without a rival"),
    ],
)
def test_who_meets(champion: ModelResult, rivals: list[ModelResult], meeting: tuple[str, ...]) -> None:
    assert rivals_meet(rank([champion, *rivals]), {rival.model: 1.0 for rival in rivals}) == meeting


def test_what_was_compared_is_told_in_words() -> None:
    assert speed_in_words(GOOD, OLD, POLICY).startswith("0.8 times the mean latency of old in the same session (")
    unmet = replace(GOOD, final_passes=0, final_latencies_ms=())
    assert speed_in_words(unmet, OLD, POLICY).startswith("speed not compared with old: ")
