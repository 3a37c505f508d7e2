"""Two benchmarks of a task compared, and what counts as a regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bench_pipeline.domain.measuring.regression import (
    CaseChangeKind,
    Measured,
    RegressionKind,
    benchmark_change,
)
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import Standing, rank, score_model
from bench_pipeline.domain.tasks.outcome import Outcome

CASES = ("A", "B", "C")
MACHINE = {"processor": "Example CPU"}
CHAMPION = "champion"
TOLERATED = 0.05


def calls(
    pass_latencies_ms: Sequence[float],
    wrong: Mapping[str, Outcome] | None = None,
    cases: Sequence[str] = CASES,
) -> list[Sample]:
    """A pass over the cases for each latency; `wrong` holds the cases that are not right in it."""
    return [
        Sample(
            case,
            repeat,
            1,
            outcome := (wrong or {}).get(case, Outcome.CORRECT),
            "PASS",
            "PASS" if outcome is Outcome.CORRECT else "FAIL",
            None if outcome is Outcome.CORRECT else "said FAIL, gold is PASS",
            round((latency + number) * 1e6) if outcome is not Outcome.ERROR else None,
        )
        for repeat, latency in enumerate(pass_latencies_ms, start=1)
        for number, case in enumerate(cases)
    ]


def measured(
    samples: Mapping[str, Sequence[Sample]],
    cases: Sequence[str] = CASES,
    hardware: Mapping[str, Any] = MACHINE,
    invalid: str = "",
    outpaced: Sequence[str] = (),
) -> Measured:
    passes = max((one.repeat for made in samples.values() for one in made), default=1)
    results = [score_model(model, cases, made, passes) for model, made in samples.items()]
    results = [
        replace(one, standing=Standing.OUTPACED, failures=()) if one.model in outpaced else one for one in results
    ]
    return Measured("id", replace(rank(results), invalid=invalid), samples, tuple(cases), passes, hardware)


BEFORE = measured({CHAMPION: calls([100, 101, 102]), "other": calls([200, 201, 202])})
ONE_WRONG = {"B": Outcome.WRONG}
NOW: dict[str, tuple[Measured, list[tuple[RegressionKind, str]]]] = {
    "nothing changed": (BEFORE, []),
    "the champion is wrong once": (
        measured({CHAMPION: calls([100, 101, 102], ONE_WRONG)}),
        [(RegressionKind.NOT_QUALIFIED, CHAMPION)],
    ),
    "an answer of the champion cannot be read": (
        measured({CHAMPION: calls([100, 101, 102], {"B": Outcome.INVALID})}),
        [(RegressionKind.NOT_QUALIFIED, CHAMPION)],
    ),
    "another model that qualified is wrong": (
        measured({CHAMPION: calls([100, 101, 102]), "other": calls([200], ONE_WRONG)}),
        [(RegressionKind.NOT_QUALIFIED, "other")],
    ),
    "a new model is wrong": (measured({CHAMPION: calls([100, 101, 102]), "new": calls([9], ONE_WRONG)}), []),
    "a new case is answered wrongly": (
        measured({CHAMPION: calls([100, 101], {"D": Outcome.WRONG}, (*CASES, "D"))}, (*CASES, "D")),
        [(RegressionKind.NOT_QUALIFIED, CHAMPION)],
    ),
    "the server failed": (
        measured({CHAMPION: calls([100], {"B": Outcome.ERROR})}),
        [(RegressionKind.NOT_MEASURED, CHAMPION)],
    ),
    "the champion was left out": (measured({"other": calls([200])}), [(RegressionKind.NOT_MEASURED, CHAMPION)]),
    "another model was left out": (measured({CHAMPION: calls([100, 101, 102])}), []),
    "a race stopped the other model": (
        measured({CHAMPION: calls([100, 101, 102]), "other": calls([200])}, outpaced=["other"]),
        [],
    ),
    "the champion is clearly slower": (
        measured({CHAMPION: calls([120, 121, 122])}),
        [(RegressionKind.SLOWER, CHAMPION)],
    ),
    "the champion is slower by less than is tolerated": (measured({CHAMPION: calls([103, 104, 105])}), []),
    "the champion may be slower by chance": (measured({CHAMPION: calls([100, 160, 101])}), []),
    "another model is slower": (measured({CHAMPION: calls([100, 101, 102]), "other": calls([400, 401, 402])}), []),
    "one pass took longer": (measured({CHAMPION: calls([200])}), []),
    "other hardware is slower": (
        measured({CHAMPION: calls([200, 201, 202])}, hardware={"processor": "Another"}),
        [],
    ),
    "the benchmark is invalid": (
        measured({CHAMPION: calls([100, 101, 102])}, invalid="the anchor drifted"),
        [(RegressionKind.INVALID, "")],
    ),
}


@pytest.mark.parametrize(("now", "expected"), NOW.values(), ids=NOW)
def test_a_regression_is_a_lost_qualification_or_a_champion_that_is_clearly_slower(
    now: Measured, expected: list[tuple[RegressionKind, str]]
) -> None:
    found = benchmark_change(BEFORE, now, CHAMPION, TOLERATED)

    assert [(one.kind, one.model) for one in found.regressions] == expected


def test_a_model_that_did_not_qualify_before_cannot_lose_that() -> None:
    before = measured({"other": calls([200], ONE_WRONG), CHAMPION: calls([100])})
    now = measured({"other": calls([200], {"A": Outcome.WRONG}), CHAMPION: calls([100])})

    assert benchmark_change(before, now, CHAMPION, TOLERATED).regressions == ()


def test_every_case_says_how_its_answers_changed() -> None:
    before = measured({CHAMPION: calls([100], {"B": Outcome.WRONG, "C": Outcome.INVALID})})
    wrong = {"A": Outcome.WRONG, "C": Outcome.WRONG, "D": Outcome.WRONG, "E": Outcome.ERROR}
    cases = (*CASES, "D", "E")

    (change,) = benchmark_change(before, measured({CHAMPION: calls([100], wrong, cases)}, cases), None, 0).models

    assert {one.case_id: one.kind for one in change.cases} == {
        "A": CaseChangeKind.GOT_WRONG,
        "B": CaseChangeKind.GOT_RIGHT,
        "C": CaseChangeKind.STILL_WRONG,
        "D": CaseChangeKind.NEW_WRONG,
        "E": CaseChangeKind.UNMEASURED,
    }


def test_latencies_are_compared_over_the_cases_that_both_benchmarks_have() -> None:
    cases = ("B", "C", "D")
    now = measured({CHAMPION: calls([100, 100], cases=cases)}, cases)

    found = benchmark_change(BEFORE, now, CHAMPION, TOLERATED)

    latency = found.models[0].latency
    assert (found.added_cases, found.removed_cases) == (("D",), ("A",))
    assert latency is not None
    assert latency.now_ms == pytest.approx(100.5)  # B and C, without the slower D
    assert latency.before_ms == pytest.approx(102.5)  # B and C, without the faster A
    assert latency.comparison is not None
    assert (latency.comparison.n, latency.comparison.unit) == (2, "passes")


def test_without_a_common_case_no_latency_is_compared() -> None:
    now = measured({CHAMPION: calls([900, 900], cases=("X", "Y"))}, ("X", "Y"))

    found = benchmark_change(BEFORE, now, CHAMPION, TOLERATED)

    assert found.models[0].latency is None
    assert found.regressions == ()
