"""Every model of a benchmark has one reason code, whatever became of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.ledger import LedgerLine, LookedAt, ReasonCode, ledger
from bench_pipeline.domain.measuring.scoreboard import CaseFailure, ModelResult, Standing, rank
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.tasks.outcome import Outcome


def qualified(model: str, *passes_ms: float, actor_id: int | None = 1) -> ModelResult:
    return ModelResult(
        model,
        Standing.QUALIFIED,
        4,
        4,
        100.0,
        actor_id=actor_id,
        avg_latency_ms=sum(passes_ms) / len(passes_ms),
        pass_means_ms=passes_ms,
        cases_seen=4,
    )


def failed(
    *failures: tuple[str, Outcome, str],
    standing: Standing = Standing.DISQUALIFIED,
    correct: int = 2,
    seen: int = 4,
    reason: str = "",
) -> ModelResult:
    found = tuple(CaseFailure(*failure) for failure in failures)
    return ModelResult(
        "m", standing, 4, correct, correct * 25.0, actor_id=2, failures=found, cases_seen=seen, reason=reason
    )


FAST = qualified("fast", 100, 110, 90, 100)
NEXT = qualified("next", 150, 166, 134, 149)
SAID = ("c2", Outcome.WRONG, "said PASS, gold is FAIL")
MUTE = ("c3", Outcome.INVALID, "no verdict")
LOST = ("c4", Outcome.ERROR, "deadline")
UNTIMED = ("c1", Outcome.ERROR, "no reply has a valid latency: excluded by cached_prompt")


def line_of(model: str, *results: ModelResult, invalid: str = "") -> LedgerLine:
    board = replace(rank(results), invalid=invalid)
    (line,) = ledger(board, [LookedAt(model)], {result.model for result in results})
    return line


@pytest.mark.parametrize(
    ("others", "result", "code", "reason"),
    [
        pytest.param(
            [NEXT], FAST, ReasonCode.CHAMPION, "the fastest of 2 that qualified, mean 100 ms", id="the champion"
        ),
        pytest.param(
            [qualified("twin", 101, 109, 91, 101)],
            FAST,
            ReasonCode.CHAMPION,
            "the fastest of 2 that qualified, mean 100 ms; not separated from twin",
            id="a champion with a tie",
        ),
        pytest.param(
            [FAST],
            NEXT,
            ReasonCode.RUNNER_UP,
            "1.5 times the mean latency of fast (95 % interval 1.48 to 1.51, n=4 passes; mean 150 ms against 100 ms)",
            id="the runner-up",
        ),
        pytest.param(
            [FAST, NEXT],
            qualified("m", 200, 220, 180, 200),
            ReasonCode.SLOWER,
            "2 times the mean latency of fast (95 % interval 2 to 2, n=4 passes; mean 200 ms against 100 ms)",
            id="slower",
        ),
        pytest.param(
            [FAST, NEXT],
            qualified("m", 160, actor_id=1),
            ReasonCode.SLOWER,
            "slower than fast by the mean (mean 160 ms against 100 ms; fewer than two passes to compare)",
            id="slower, with too few passes to compare",
        ),
        pytest.param(
            [FAST],
            qualified("m", 200, 220, 180, 200, actor_id=None),
            ReasonCode.RUNNER_UP,
            "2 times the mean latency of fast (95 % interval 2 to 2, n=4 passes; "
            "mean 200 ms against 100 ms); it is not an actor, so it is never promoted",
            id="no actor",
        ),
        pytest.param(
            [FAST],
            failed(SAID),
            ReasonCode.WRONG,
            "1 of 4 cases wrong; c2: said PASS, gold is FAIL",
            id="wrong in one case",
        ),
        pytest.param(
            [FAST],
            failed(MUTE, SAID, ("c4", Outcome.WRONG, "x"), LOST),
            ReasonCode.WRONG,
            "2 of 4 cases wrong; first c2: said PASS, gold is FAIL",
            id="wrong in two, before what was no verdict",
        ),
        pytest.param(
            [FAST],
            failed(SAID, seen=2),
            ReasonCode.WRONG,
            "1 of 4 cases wrong, 2 seen; c2: said PASS, gold is FAIL",
            id="wrong, stopped by a race",
        ),
        pytest.param(
            [FAST],
            failed(LOST, MUTE),
            ReasonCode.INVALID,
            "1 of 4 cases without a readable verdict; c3: no verdict",
            id="no verdict",
        ),
        pytest.param(
            [FAST],
            failed(standing=Standing.OUTPACED, reason="outpaced: two models are faster beyond doubt", seen=3),
            ReasonCode.OUTPACED,
            "outpaced: two models are faster beyond doubt",
            id="outpaced",
        ),
        pytest.param(
            [FAST],
            failed(UNTIMED, standing=Standing.INCONCLUSIVE, correct=4),
            ReasonCode.NO_VALID_LATENCY,
            "1 of 4 cases without a valid latency; c1: no reply has a valid latency: excluded by cached_prompt",
            id="right everywhere, and a latency that cannot rank",
        ),
        pytest.param(
            [FAST],
            failed(UNTIMED, standing=Standing.INCONCLUSIVE, correct=4, reason="the model was changed"),
            ReasonCode.NO_VALID_LATENCY,
            "the model was changed; 1 of 4 cases without a valid latency; "
            "c1: no reply has a valid latency: excluded by cached_prompt",
            id="no latency that ranks, with what happened",
        ),
        pytest.param(
            [FAST],
            failed(LOST, UNTIMED, standing=Standing.INCONCLUSIVE),
            ReasonCode.INCONCLUSIVE,
            "c4: deadline; c1: no reply has a valid latency: excluded by cached_prompt",
            id="infrastructure failed a case",
        ),
        pytest.param(
            [FAST],
            failed(LOST, standing=Standing.INCONCLUSIVE, seen=0, reason="it could not be loaded"),
            ReasonCode.INCONCLUSIVE,
            "it could not be loaded",
            id="infrastructure failed the run",
        ),
    ],
)
def test_each_standing_has_its_code_and_its_reason(
    others: list[ModelResult], result: ModelResult, code: ReasonCode, reason: str
) -> None:
    assert line_of(result.model, *others, result) == LedgerLine(result.model, code, reason)


def test_a_model_that_the_ranking_ties_with_the_champion_is_tied() -> None:
    twins = [qualified(f"twin {n}", *(ms + n for ms in (90, 130, 80, 100))) for n in range(3)]
    scattered = qualified("m", 130, 80, 110, 92)
    line = line_of("m", *twins, scattered)
    assert line.code is ReasonCode.TIED
    assert line.reason.endswith(", not separated from it")


def test_of_an_invalid_run_every_line_says_that_nothing_is_decided() -> None:
    line = line_of("fast", FAST, NEXT, invalid="the anchor drifted by 9 %")
    assert line.code is ReasonCode.CHAMPION
    assert line.reason.endswith("; nothing is decided from this run: the anchor drifted by 9 %")


@pytest.mark.parametrize(
    ("detail", "reason"), [("9.1 GB, the limit is 8.0 GB", "9.1 GB, the limit is 8.0 GB"), ("", "too large")]
)
def test_a_model_that_was_not_run_has_its_exclusion_for_a_code(detail: str, reason: str) -> None:
    (line,) = ledger(rank([FAST]), [LookedAt("m", Exclusion.TOO_LARGE, detail)], {"fast"})
    assert line == LedgerLine("m", Exclusion.TOO_LARGE, reason)


def test_a_model_without_a_run_is_not_measured_whether_or_not_it_stands_on_the_scoreboard() -> None:
    waiting = failed(LOST, standing=Standing.INCONCLUSIVE, seen=0, reason="not measured yet under this suite")
    lines = ledger(rank([FAST, waiting]), [LookedAt("m"), LookedAt("gone")], {"fast"})
    assert [(line.code, line.reason) for line in lines] == [
        (ReasonCode.NOT_MEASURED, "not measured yet under this suite"),
        (ReasonCode.NOT_MEASURED, "it was not run, or its run is not part of the ranking"),
    ]


def test_no_code_means_two_things() -> None:
    assert {code.value for code in ReasonCode}.isdisjoint({reason.value for reason in Exclusion})


_standings = st.sampled_from([s for s in Standing if s is not Standing.EXCLUDED])


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(_standings, st.lists(st.floats(1, 1e4), max_size=4))),
    st.dictionaries(st.sampled_from("efgh"), st.none() | st.sampled_from(Exclusion)),
)
def test_every_model_that_was_looked_at_has_exactly_one_line(
    measured: dict[str, tuple[Standing, list[float]]], others: dict[str, Exclusion | None]
) -> None:
    results = [
        replace(qualified(model, *(cases_ms or [1.0])), standing=standing)
        for model, (standing, cases_ms) in measured.items()
    ]
    looked_at = [LookedAt(model, others.get(model)) for model in measured.keys() | others.keys()]

    lines = ledger(rank(results), looked_at, measured.keys())

    assert [line.model for line in lines] == [one.model for one in looked_at]
    codes = [line.code for line in lines]
    assert codes.count(ReasonCode.CHAMPION) <= 1
    assert codes.count(ReasonCode.RUNNER_UP) <= 1
