"""Standings, scores and latencies of one model, by the formulae that the user fixed, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import (
    CaseFailure,
    ModelResult,
    Standing,
    correctness_score,
    score_model,
    speed_score,
)
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.reply import Reply, ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome

CORRECT, WRONG, INVALID, ERROR = Outcome.CORRECT, Outcome.WRONG, Outcome.INVALID, Outcome.ERROR
QUALIFIED, DISQUALIFIED, INCONCLUSIVE = Standing.QUALIFIED, Standing.DISQUALIFIED, Standing.INCONCLUSIVE
OUTPACED = Standing.OUTPACED
MS = 1_000_000


def sample(case: str, outcome: Outcome = CORRECT, ms: float = 200, repeat: int = 1) -> Sample:
    latency_ns = int(ms * MS) if outcome in (CORRECT, WRONG) else None
    reason = None if outcome is CORRECT else f"because {outcome}"
    return Sample(case, repeat, 1, outcome, "PASS", reason=reason, latency_ns=latency_ns)


def scored(outcomes: Sequence[Outcome | None], repeats: int = 1) -> ModelResult:
    """Score a model whose cases came out like this, one letter each; None: the call was never made."""
    ids = [f"c{i}" for i in range(len(outcomes))]
    taken = [sample(name, outcome) for name, outcome in zip(ids, outcomes, strict=True) if outcome]
    return score_model("m", ids, taken, repeats)


# The formulae


@pytest.mark.parametrize(
    ("correct", "cases", "score"), [(0, 10, 0.0), (7, 10, 70.0), (9, 10, 90.0), (10, 10, 100.0), (1, 3, 100 / 3)]
)
def test_correctness_is_correct_cases_of_all_cases_in_percent(correct: int, cases: int, score: float) -> None:
    assert correctness_score(correct, cases) == pytest.approx(score)


@pytest.mark.parametrize(
    ("latency_ms", "score"), [(1000, 1000.0), (500, 2000.0), (250, 4000.0), (2000, 500.0), (12345.678, 81.0000065)]
)
def test_speed_is_a_thousand_divided_by_the_latency_in_seconds(latency_ms: float, score: float) -> None:
    assert speed_score(latency_ms) == pytest.approx(score, rel=1e-6)


def test_no_cases_have_no_correctness() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        correctness_score(0, 0)


def test_a_model_without_cases_has_no_standing() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        score_model("m", [], [], 1)


@pytest.mark.parametrize("repeats", [0, -1])
def test_a_model_without_a_pass_over_the_suite_has_no_standing(repeats: int) -> None:
    with pytest.raises(ValueError, match="at least one pass"):
        score_model("m", ["a"], [], repeats)


def test_a_model_that_is_right_in_all_cases_qualifies_with_its_mean_latency_and_speed() -> None:
    result = score_model("m", ["a", "b", "c"], [sample("a", ms=100), sample("b", ms=200), sample("c", ms=600)], 1)
    assert result == ModelResult(
        model="m",
        standing=QUALIFIED,
        cases=3,
        cases_correct=3,
        correctness_score=100.0,
        calls=3,
        avg_latency_ms=300.0,
        speed_score=pytest.approx(3333.3333),
        valid_calls=3,
        median_ms=200.0,
        p90_ms=600.0,
        case_medians_ms={"a": 100.0, "b": 200.0, "c": 600.0},
        cases_seen=3,
        pass_means_ms=(300.0,),
    )


def test_nine_of_ten_do_not_qualify_and_have_no_speed() -> None:
    result = scored([CORRECT] * 9 + [WRONG])
    assert (result.standing, result.correctness_score, result.speed_score) == (DISQUALIFIED, 90.0, None)


def test_the_mean_is_over_complete_replies_only() -> None:
    samples = [sample("a", ms=100), sample("b", WRONG, ms=300), sample("c", INVALID), sample("d", ERROR)]
    assert score_model("m", ["a", "b", "c", "d"], samples, 1).avg_latency_ms == 200.0


def test_without_a_complete_reply_there_is_no_latency() -> None:
    assert scored([ERROR, INVALID]).avg_latency_ms is None


def test_samples_of_other_cases_do_not_count() -> None:
    result = score_model("m", ["a"], [sample("a", ms=100), sample("z", WRONG, ms=900)], 1)
    assert (result.standing, result.avg_latency_ms) == (QUALIFIED, 100.0)


# The latency of a call


@pytest.mark.parametrize(
    ("elapsed", "load", "latency"),
    [
        pytest.param(900, None, 900, id="the runtime says nothing of loading"),
        pytest.param(900, 0, 900, id="nothing was loaded"),
        pytest.param(900, 300, 600, id="loading is left out"),
        pytest.param(900, 900, 900, id="loading cannot be all of the call"),
        pytest.param(900, 5000, 900, id="loading cannot be longer than the call"),
    ],
)
def test_latency_is_the_clients_time_without_loading(elapsed: int, load: int | None, latency: int) -> None:
    assert Reply("x", elapsed, timings=ServerTimings(load_ns=load)).latency_ns == latency


# Four outcomes, never merged


@pytest.mark.parametrize(
    ("outcomes", "standing", "correct"),
    [
        pytest.param([CORRECT, CORRECT], QUALIFIED, 2, id="all correct"),
        pytest.param([CORRECT, WRONG], DISQUALIFIED, 1, id="one wrong"),
        pytest.param([CORRECT, INVALID], DISQUALIFIED, 1, id="one invalid"),
        pytest.param([CORRECT, ERROR], INCONCLUSIVE, 1, id="one error"),
        pytest.param([CORRECT, None], INCONCLUSIVE, 1, id="one missing"),
        pytest.param([ERROR, ERROR], INCONCLUSIVE, 0, id="errors only"),
        pytest.param([None, None], INCONCLUSIVE, 0, id="nothing measured"),
        pytest.param([WRONG, ERROR], DISQUALIFIED, 0, id="wrong and error"),
        pytest.param([ERROR, WRONG], DISQUALIFIED, 0, id="error and wrong"),
        pytest.param([INVALID, None], DISQUALIFIED, 0, id="invalid and missing"),
        pytest.param([WRONG, None], DISQUALIFIED, 0, id="wrong and missing"),
        pytest.param([ERROR, None], INCONCLUSIVE, 0, id="error and missing"),
    ],
)
def test_an_outcome_has_its_own_consequence(outcomes: list[Outcome | None], standing: Standing, correct: int) -> None:
    result = scored(outcomes)
    assert (result.standing, result.cases_correct) == (standing, correct)


@given(st.lists(st.sampled_from([CORRECT, WRONG, INVALID, ERROR, None]), min_size=1, max_size=12))
def test_the_standing_follows_from_which_outcomes_occur(outcomes: list[Outcome | None]) -> None:
    result = scored(outcomes)
    if {WRONG, INVALID} & set(outcomes):
        expected = DISQUALIFIED
    elif {ERROR, None} & set(outcomes):
        expected = INCONCLUSIVE
    else:
        expected = QUALIFIED
    assert result.standing is expected
    assert (result.correctness_score == 100.0) == (expected is QUALIFIED)
    assert (result.speed_score is not None) == (expected is QUALIFIED)
    assert [int(failure.case_id[1:]) for failure in result.failures] == [
        number for number, outcome in enumerate(outcomes) if outcome is not CORRECT
    ]


def test_each_failed_case_is_named_with_its_outcome_and_reason() -> None:
    assert scored([WRONG, INVALID, ERROR, None, CORRECT]).failures == (
        CaseFailure("c0", WRONG, "because wrong"),
        CaseFailure("c1", INVALID, "because invalid"),
        CaseFailure("c2", ERROR, "because error"),
        CaseFailure("c3", ERROR, "1 of 1 calls were not made"),
    )


def test_a_correct_sample_without_a_latency_leaves_the_model_inconclusive() -> None:
    result = score_model("m", ["a"], [Sample("a", 1, 1, CORRECT, "PASS", "PASS")], 1)
    assert (result.standing, result.speed_score) == (INCONCLUSIVE, None)
    assert result.why == "a: no reply has a valid latency"


# Repeats


@pytest.mark.parametrize(
    ("second", "standing", "correct"),
    [
        pytest.param(CORRECT, QUALIFIED, 2, id="right again"),
        pytest.param(WRONG, DISQUALIFIED, 1, id="wrong the second time"),
        pytest.param(INVALID, DISQUALIFIED, 1, id="invalid the second time"),
        pytest.param(ERROR, INCONCLUSIVE, 1, id="error the second time"),
        pytest.param(None, INCONCLUSIVE, 1, id="no second time"),
    ],
)
def test_a_case_is_correct_only_when_it_is_right_in_every_repeat(
    second: Outcome | None, standing: Standing, correct: int
) -> None:
    samples = [sample("a"), sample("b"), sample("a", repeat=2)]
    samples += [sample("b", second, repeat=2)] if second else []
    result = score_model("m", ["a", "b"], samples, 2)
    assert (result.standing, result.cases_correct, result.cases) == (standing, correct, 2)


def test_the_mean_is_over_all_calls_of_all_repeats() -> None:
    samples = [sample("a", ms=100), sample("a", ms=400, repeat=2), sample("a", ms=700, repeat=3)]
    result = score_model("m", ["a"], samples, 3)
    assert (result.calls, result.avg_latency_ms) == (3, 400.0)


def test_the_worst_outcome_of_a_case_is_the_one_that_is_named() -> None:
    samples = [sample("a", ERROR), sample("a", INVALID, repeat=2), sample("a", WRONG, repeat=3)]
    assert score_model("m", ["a"], samples, 3).failures == (CaseFailure("a", WRONG, "because wrong"),)


def test_the_calls_that_were_not_made_are_counted() -> None:
    assert score_model("m", ["a"], [sample("a")], 3).failures == (
        CaseFailure("a", ERROR, "2 of 3 calls were not made"),
    )


@pytest.mark.parametrize(
    ("first", "second", "flaky"),
    [
        pytest.param(CORRECT, WRONG, ("a",), id="right, then wrong"),
        pytest.param(INVALID, CORRECT, ("a",), id="invalid, then right"),
        pytest.param(CORRECT, CORRECT, (), id="always right"),
        pytest.param(WRONG, INVALID, (), id="never right"),
        pytest.param(CORRECT, ERROR, (), id="an error says nothing of the model"),
    ],
)
def test_a_case_that_is_right_in_one_pass_and_not_in_another_is_flaky(
    first: Outcome, second: Outcome, flaky: tuple[str, ...]
) -> None:
    assert score_model("m", ["a"], [sample("a", first), sample("a", second, repeat=2)], 2).flaky == flaky


# The budget for errors


@pytest.mark.parametrize(
    ("of_a", "of_b", "budget", "standing", "correct"),
    [
        pytest.param([CORRECT, ERROR], [CORRECT, CORRECT], 0, INCONCLUSIVE, 1, id="none is tolerated unless stated"),
        pytest.param([CORRECT, ERROR], [CORRECT, CORRECT], 1, QUALIFIED, 2, id="within the budget"),
        pytest.param(
            [CORRECT, ERROR], [CORRECT, ERROR], 1, INCONCLUSIVE, 0, id="over the budget, nothing is tolerated"
        ),
        pytest.param([ERROR, ERROR], [CORRECT, CORRECT], 2, INCONCLUSIVE, 1, id="a case that was never right"),
        pytest.param([CORRECT], [CORRECT, CORRECT], 2, INCONCLUSIVE, 1, id="a missing call is no error"),
        pytest.param([WRONG, ERROR], [CORRECT, CORRECT], 2, DISQUALIFIED, 1, id="wrong is wrong"),
    ],
)
def test_errors_within_the_budget_are_passed_over_where_the_case_was_right_otherwise(
    of_a: list[Outcome], of_b: list[Outcome], budget: int, standing: Standing, correct: int
) -> None:
    samples = [
        sample(case, outcome, repeat=repeat)
        for case, outcomes in (("a", of_a), ("b", of_b))
        for repeat, outcome in enumerate(outcomes, start=1)
    ]
    result = score_model("m", ["a", "b"], samples, 2, error_budget=budget)
    assert (result.standing, result.cases_correct) == (standing, correct)


# Latencies that do not count


def excluded(case: str, ms: float, repeat: int = 1) -> Sample:
    return replace(sample(case, ms=ms, repeat=repeat), exclusion="prompt_cached")


def test_a_latency_that_a_rule_excludes_is_in_no_figure() -> None:
    samples = [sample("a", ms=100), excluded("a", 9000, repeat=2), sample("a", ms=300, repeat=3)]
    result = score_model("m", ["a"], samples, 3)
    assert (result.standing, result.calls, result.valid_calls) == (QUALIFIED, 3, 2)
    assert (result.avg_latency_ms, result.median_ms, result.p90_ms) == (200.0, 200.0, 300.0)
    assert result.case_medians_ms == {"a": 200.0}


def test_a_final_is_compared_by_first_takes_and_ranked_by_repetitions() -> None:
    samples = [
        sample("a", ms=100),
        replace(excluded("a", 900, repeat=2), exclusion=ValidityRule.DISTURBED),
        replace(sample("a", ms=120, repeat=2), take=2),
        replace(excluded("b", 700, repeat=2), exclusion=ValidityRule.CACHED_PROMPT),
        sample("b", ms=100),
    ]
    result = score_model("m", ["a", "b"], samples, 2, main_passes=1)
    assert result.final_latencies_ms == ({"a": 900},)
    assert result.avg_latency_ms == 105


@pytest.mark.parametrize("ms", [0, -5])
def test_a_latency_that_is_not_positive_never_ranks(ms: float) -> None:
    result = score_model("m", ["a"], [sample("a", ms=ms)], 1)
    assert (result.standing, result.avg_latency_ms, result.speed_score) == (INCONCLUSIVE, None, None)


def test_the_latency_of_an_error_is_in_no_mean_even_within_the_budget() -> None:
    samples = [sample("a", ms=100), sample("a", Outcome.ERROR, ms=9000, repeat=2)]
    result = score_model("m", ["a"], samples, 2, error_budget=1)
    assert (result.standing, result.avg_latency_ms) == (QUALIFIED, 100)


def test_a_case_without_any_valid_latency_leaves_the_model_inconclusive_and_names_the_rule() -> None:
    result = score_model("m", ["a", "b"], [sample("a"), excluded("b", 10)], 1)
    assert (result.standing, result.cases_correct, result.speed_score) == (INCONCLUSIVE, 2, None)
    assert result.why == "b: no reply has a valid latency: excluded by prompt_cached"


@pytest.mark.parametrize("outcome", [CORRECT, WRONG, INVALID])
def test_a_model_that_changed_while_it_was_measured_is_inconclusive_whatever_it_answered(outcome: Outcome) -> None:
    samples = [replace(sample(case, outcome), exclusion="identity_changed") for case in ("a", "b")]
    result = score_model("m", ["a", "b"], samples, 1)
    assert (result.standing, result.avg_latency_ms) == (INCONCLUSIVE, None)


def test_every_case_weighs_the_same_however_many_of_its_latencies_count() -> None:
    samples = [sample("fast", ms=100), sample("slow", ms=900)]
    samples += [sample("fast", ms=100, repeat=2), excluded("slow", 900, repeat=2)]
    assert score_model("m", ["fast", "slow"], samples, 2).avg_latency_ms == 500.0


# A final


def test_the_finals_latencies_are_kept_apart_and_count_in_the_mean() -> None:
    samples = [
        sample(case, ms=ms, repeat=repeat)
        for case, passes in (("a", (100, 140, 160)), ("b", (200, 240, 260)))
        for repeat, ms in enumerate(passes, start=1)
    ]
    result = score_model("m", ["a", "b"], samples, 3, main_passes=1)
    assert (result.standing, result.final_passes, result.valid_calls) == (QUALIFIED, 2, 6)
    assert (result.case_medians_ms, result.final_case_medians_ms) == ({"a": 100, "b": 200}, {"a": 150, "b": 250})
    assert (result.pass_means_ms, result.final_latencies_ms) == ((150,), ({"a": 140, "b": 240}, {"a": 160, "b": 260}))
    assert result.avg_latency_ms == pytest.approx((400 + 700) / 6)


def test_without_a_final_all_passes_are_main_ones() -> None:
    result = score_model("m", ["a"], [sample("a"), sample("a", repeat=2)], 2)
    assert (result.final_passes, result.final_case_medians_ms) == (0, {})


def test_a_pass_of_the_final_without_a_valid_latency_keeps_its_place() -> None:
    samples = [sample("a", ms=100), excluded("a", 900, repeat=2), sample("a", ms=120, repeat=3)]
    assert score_model("m", ["a"], samples, 3, main_passes=1).final_latencies_ms == ({}, {"a": 120})


def test_a_model_that_is_wrong_in_the_final_is_disqualified() -> None:
    samples = [sample("a"), sample("a", WRONG, repeat=2)]
    assert score_model("m", ["a"], samples, 2, main_passes=1).standing is DISQUALIFIED


@given(st.lists(st.lists(st.floats(1, 1000), min_size=3, max_size=3), min_size=1, max_size=5))
def test_with_all_passes_complete_the_mean_is_that_of_all_calls(passes: list[list[float]]) -> None:
    samples = [sample(f"c{i}", ms=ms, repeat=n) for n, of in enumerate(passes, start=1) for i, ms in enumerate(of)]
    result = score_model("m", ["c0", "c1", "c2"], samples, len(passes))
    assert result.avg_latency_ms == pytest.approx(sum(map(sum, passes)) / len(samples), rel=1e-5)


# Repetitions of disturbed calls


def again(first: Sample, outcome: Outcome, ms: float = 200) -> Sample:
    return replace(sample(first.case_id, outcome, ms, first.repeat), take=2)


def test_a_repetition_is_not_a_pass() -> None:
    taken = [sample("a"), again(sample("a"), CORRECT)]
    result = score_model("m", ["a"], taken, 2)
    assert (result.standing, result.why) == (INCONCLUSIVE, "a: 1 of 2 calls were not made")


def test_the_repetition_ranks_in_place_of_the_first_call() -> None:
    first = replace(sample("a", ms=900), exclusion="disturbed")
    result = score_model("m", ["a", "b"], [first, sample("b", ms=300), again(first, CORRECT, ms=100)], 1)
    assert (result.standing, result.avg_latency_ms, result.valid_calls) == (QUALIFIED, 200, 2)


@pytest.mark.parametrize(("outcome", "standing"), [(WRONG, DISQUALIFIED), (INVALID, DISQUALIFIED), (ERROR, QUALIFIED)])
def test_a_repetition_is_an_answer_like_any_other_unless_there_is_none(outcome: Outcome, standing: Standing) -> None:
    taken = [sample("a"), sample("b"), again(sample("a"), outcome)]
    assert score_model("m", ["a", "b"], taken, 1).standing is standing


def test_a_failed_repetition_does_not_use_the_error_budget() -> None:
    taken = [sample("a"), sample("a", ERROR, repeat=2), again(sample("a"), ERROR)]
    assert score_model("m", ["a"], taken, 2, error_budget=1).standing is QUALIFIED
