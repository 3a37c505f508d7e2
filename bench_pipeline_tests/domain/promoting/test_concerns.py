"""What people are warned of: when, with which n, and what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import click
import pytest

from bench_pipeline.cli.main import bench
from bench_pipeline.domain.measuring.scoreboard import CaseFailure, ModelResult, Scoreboard, Standing, rank
from bench_pipeline.domain.promoting.concerns import (
    Concern,
    flaky_cases,
    near_margin,
    no_runner_up,
    no_way_back,
    old_evidence,
    other_than_champion,
    saturated,
)
from bench_pipeline.domain.promoting.holders import Holder, WayBack
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline_tests.domain.promoting.examples import FAST, NEXT, OPEN, result, timed, without_final

NOW = datetime(2026, 11, 30, tzinfo=UTC)
POLICY = PromotionPolicy(min_gain=0.05)


def failed(model: str, *cases: str, flaky: tuple[str, ...] = ()) -> ModelResult:
    failures = tuple(CaseFailure(case, Outcome.WRONG, "said PASS") for case in cases)
    one = result(model, 5, standing=Standing.DISQUALIFIED, correct=10 - len(cases))
    return replace(one, failures=failures, flaky=flaky)


def board(*results: ModelResult) -> Scoreboard:
    return rank(results)


@pytest.mark.parametrize(
    ("results", "n"),
    [
        pytest.param([FAST, failed("wrong", "c1"), OPEN], "1 of 3 models", id="one qualified"),
        pytest.param([FAST, NEXT], None, id="two qualified"),
        pytest.param([OPEN], None, id="no champion, which another check tells"),
        pytest.param([], None, id="no model"),
    ],
)
def test_a_champion_without_a_runner_up_is_told(results: list[ModelResult], n: str | None) -> None:
    assert says(no_runner_up(board(*results)), n)


STEADY = timed("old", 9, 100, 100.2, 99.8, 100)
NEAR = timed("new", 1, 95, 96, 94, 95.2)
FAR = timed("new", 1, 50, 51, 49, 50)
NOISY = timed("new", 1, 60, 110, 95, 99)


@pytest.mark.parametrize(
    ("results", "incumbents", "n"),
    [
        pytest.param([NEAR, STEADY], {"old"}, "n=4 passes", id="the champion saves about the margin"),
        pytest.param([NOISY, STEADY], {"old"}, "n=4 passes", id="passes that vary leave it open"),
        pytest.param([FAR, STEADY], {"old"}, None, id="it saves far more"),
        pytest.param([STEADY, timed("new", 1, 100.1, 100.3, 99.9, 100.1)], {"old"}, None, id="it saves nothing"),
        pytest.param([STEADY, timed("new", 1, 90, 130, 94, 108)], {"old"}, "n=4 passes", id="a runner-up may save it"),
        pytest.param([STEADY], {"old"}, None, id="a champion in production without a rival"),
        pytest.param([NEAR, STEADY], set(), None, id="nobody is in production"),
        pytest.param([OPEN], {"old"}, None, id="no champion"),
        pytest.param([without_final(NEAR), without_final(STEADY)], {"old"}, "one pass each", id="near without passes"),
        pytest.param([without_final(FAR), without_final(STEADY)], {"old"}, None, id="far without passes"),
    ],
)
def test_a_decision_that_another_measurement_could_turn_is_told(
    results: list[ModelResult], incumbents: set[str], n: str | None
) -> None:
    assert says(near_margin(board(*results), incumbents, POLICY), n)


@pytest.mark.parametrize(
    ("results", "n"),
    [
        pytest.param([FAST, NEXT], "n=2 models, 10 cases", id="all right"),
        pytest.param([failed("a", "c1"), failed("b", "c1"), failed("d", "c1")], "c1 (n=3 models", id="all fail one"),
        pytest.param([FAST, failed("a", "c1")], None, id="one fails"),
        pytest.param([failed("a", "c1"), failed("b", "c2")], None, id="each fails another"),
        pytest.param([FAST, OPEN], None, id="one model is too few to tell"),
        pytest.param([], None, id="no model"),
    ],
)
def test_a_suite_that_does_not_tell_models_apart_is_told(results: list[ModelResult], n: str | None) -> None:
    assert says(saturated(board(*results)), n)


@pytest.mark.parametrize(
    ("results", "n"),
    [
        pytest.param([FAST, failed("a", "c1", flaky=("c1",))], "c1 (by 1) (n=2 models)", id="right otherwise"),
        pytest.param([failed("a", "c1", "c2", flaky=("c1",))], None, id="wrong elsewhere too"),
        pytest.param([replace(OPEN, flaky=("c1",))], None, id="not measured to the end"),
        pytest.param([FAST, failed("a", "c1")], None, id="always wrong"),
        pytest.param(
            [failed(name, *"vwxyz", flaky=tuple("vwxyz")) for name in "ab"],
            "v (by 2); w (by 2); x (by 2); and 2 more (n=2 models)",
            id="many cases",
        ),
    ],
)
def test_a_case_on_which_good_models_flip_is_told(results: list[ModelResult], n: str | None) -> None:
    assert says(flaky_cases(board(*results)), n)


@pytest.mark.parametrize(
    ("ages", "n"),
    [
        pytest.param([1, 34.9], None, id="recent"),
        pytest.param([1, 36], "1 of 2 champions", id="one is old"),
        pytest.param([], None, id="no champion"),
    ],
)
def test_evidence_older_than_its_limit_is_told(ages: list[float], n: str | None) -> None:
    measured = {f"conversation {number}": NOW - timedelta(days=age) for number, age in enumerate(ages)}

    assert says(old_evidence(measured, NOW, 35), n)


@pytest.mark.parametrize(
    ("missing", "n"),
    [
        pytest.param(["", ""], None, id="all there"),
        pytest.param(["", "not found"], "1 of 2 ways", id="one is gone"),
        pytest.param([], None, id="no promotion yet"),
    ],
)
def test_a_way_back_that_cannot_be_used_is_told(missing: list[str], n: str | None) -> None:
    assert says(no_way_back([WayBack("Grade A", "runner-up", "slow", why) for why in missing]), n)


def holder(number: int, actor: int | None) -> Holder:
    return Holder(number, f"step {number}", "grading", actor, "slow", 1, 2, "b1")


@pytest.mark.parametrize(
    ("found", "n"),
    [
        pytest.param([holder(1, 1)], None, id="its champion"),
        pytest.param([holder(1, 1), holder(2, 3)], "1 of 2 conversations", id="another actor"),
        pytest.param([holder(1, None)], "1 of 1 conversation ", id="no actor"),
        pytest.param([], None, id="none"),
    ],
)
def test_a_conversation_without_its_champion_is_told(found: list[Holder], n: str | None) -> None:
    assert says(other_than_champion(found), n)


def says(concern: Concern | None, n: str | None) -> bool:
    """Whether it is told with this n, or not at all where `n` is None; what it says to type must exist."""
    if concern is None or n is None:
        return concern is None and n is None
    assert str(concern) == f"{concern.what}. {concern.matters}. {concern.remedy}."
    for command in re.findall(r"`bench ([a-z ]+?)`", concern.remedy):
        assert exists(command.split()), command
    return n in concern.what


def exists(names: list[str]) -> bool:
    found: click.Command | None = bench
    for name in names:
        found = found.get_command(click.Context(found), name) if isinstance(found, click.Group) else None
    return found is not None
