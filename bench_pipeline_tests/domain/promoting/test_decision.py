"""Whether a conversation gets a new actor: every rule, and which of two comes first."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.scoreboard import (
    CaseFailure,
    ModelResult,
    Scoreboard,
    Standing,
    compare_means,
    rank,
)
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.promoting.decision import Decision, DecisionKind, Incumbent, decide
from bench_pipeline.domain.promoting.final import level_at
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.tasks.outcome import Outcome

CASES = [f"c{number}" for number in range(10)]
PROMOTE, KEEP, INCONCLUSIVE = DecisionKind.PROMOTE, DecisionKind.KEEP, DecisionKind.INCONCLUSIVE


def result(
    model: str, actor_id: int | None, ms: float = 100.0, standing: Standing = Standing.QUALIFIED, correct: int = 10
) -> ModelResult:
    return ModelResult(
        model,
        standing,
        10,
        correct,
        correct * 10.0,
        calls=10,
        actor_id=actor_id,
        avg_latency_ms=ms,
        reason="time-out",
        final_passes=4,
        final_latencies_ms=(dict.fromkeys(CASES, ms),) * 4,
    )


def timed(model: str, actor_id: int, *passes_ms: float, main_ms: float | None = None) -> ModelResult:
    """A qualified model with these means of the final's passes; in the ranking it has the mean `main_ms`."""
    return replace(
        result(model, actor_id, main_ms or fmean(passes_ms)),
        final_passes=len(passes_ms),
        final_latencies_ms=tuple(dict.fromkeys(CASES, ms) for ms in passes_ms),
    )


def without_final(one: ModelResult) -> ModelResult:
    return replace(one, final_passes=0, final_latencies_ms=())


FAST, NEXT = result("fast", 1, 100), result("next", 2, 150)
OLD = result("old", 9, 200)
WRONG = replace(OLD, standing=Standing.DISQUALIFIED, cases_correct=9)
UNREADABLE = replace(WRONG, cases_correct=8, failures=(CaseFailure("c1", Outcome.INVALID, "empty reply"),))
ALSO_WRONG = replace(UNREADABLE, failures=(*UNREADABLE.failures, CaseFailure("c2", Outcome.WRONG, "said PASS")))
OPEN = replace(OLD, standing=Standing.INCONCLUSIVE, cases_correct=4)
UNREGISTERED = result("by hand", None, 50)


def decided(results: list[ModelResult], incumbent: Incumbent | None = None, min_gain: float = 0.05) -> Decision:
    return decide(rank(results), incumbent or Incumbent(9, "old", "ai_model", OLD), PromotionPolicy(min_gain))


@pytest.mark.parametrize(
    ("results", "incumbent", "kind", "reason"),
    [
        pytest.param(
            [FAST, OLD],
            Incumbent(9, "old", "ai_model", OLD),
            PROMOTE,
            "50.0% faster than old in the final "
            "(99.94 % interval 50.0% to 50.0%, n=4 passes; mean 100 ms against 200 ms)",
            id="a challenger that saves enough is promoted",
        ),
        pytest.param(
            [result("fast", 1, 196), OLD],
            Incumbent(9, "old", "ai_model", OLD),
            KEEP,
            "2.0% faster than old in the final "
            "(99.94 % interval 2.0% to 2.0%, n=4 passes; mean 196 ms against 200 ms): less than the margin of 5%",
            id="a challenger that saves too little is not",
        ),
        pytest.param(
            [FAST, OLD],
            Incumbent(1, "fast", "ai_model", FAST),
            KEEP,
            "fast is the champion already",
            id="the incumbent is the champion",
        ),
        pytest.param([FAST], Incumbent(None), PROMOTE, "the conversation has no actor yet", id="there is no incumbent"),
        pytest.param(
            [FAST],
            Incumbent(9, "Ann", "human", None),
            KEEP,
            "Ann is no model but a human: a person decides",
            id="the incumbent is a person",
        ),
        pytest.param(
            [FAST],
            Incumbent(9, "report.py", "script", None),
            KEEP,
            "report.py is no model but a script: a person decides",
            id="the incumbent is a script",
        ),
        pytest.param(
            [FAST],
            Incumbent(9, "old", "ai_model", None),
            INCONCLUSIVE,
            "old was not measured: it was not part of this benchmark",
            id="nobody asked for the incumbent",
        ),
        pytest.param(
            [FAST],
            Incumbent(9, "old", "ai_model", None, Exclusion.RUNTIME_UNAVAILABLE),
            INCONCLUSIVE,
            "old was not measured: its runtime did not answer",
            id="the incumbent's runtime is down",
        ),
        pytest.param(
            [FAST],
            Incumbent(9, "old", "ai_model", None, Exclusion.TOO_LARGE),
            PROMOTE,
            "old is no longer eligible (too_large)",
            id="the incumbent is not eligible any more",
        ),
        pytest.param(
            [FAST, OPEN],
            Incumbent(9, "old", "ai_model", OPEN),
            INCONCLUSIVE,
            "old could not be measured to the end: time-out",
            id="the incumbent could not be measured to the end",
        ),
        pytest.param(
            [FAST, WRONG],
            Incumbent(9, "old", "ai_model", WRONG),
            PROMOTE,
            "old no longer qualifies: 9/10 correct",
            id="the incumbent is not always right",
        ),
        pytest.param(
            [FAST, UNREADABLE],
            Incumbent(9, "old", "ai_model", UNREADABLE, was_right="grading-1"),
            INCONCLUSIVE,
            "old gave unreadable answers (8/10 correct), although it was right in all cases of benchmark grading-1 "
            "under the same terms: check its runtime, then benchmark again",
            id="the incumbent was right before and is only unreadable now",
        ),
        pytest.param(
            [FAST, UNREADABLE],
            Incumbent(9, "old", "ai_model", UNREADABLE),
            PROMOTE,
            "old no longer qualifies: 8/10 correct",
            id="the incumbent is unreadable and was never right under these terms",
        ),
        pytest.param(
            [FAST, ALSO_WRONG],
            Incumbent(9, "old", "ai_model", ALSO_WRONG, was_right="grading-1"),
            PROMOTE,
            "old no longer qualifies: 8/10 correct",
            id="the incumbent is wrong in one case and unreadable in another",
        ),
        pytest.param(
            [FAST, replace(OLD, standing=Standing.OUTPACED, reason="outpaced after 6 cases")],
            Incumbent(9, "old", "ai_model", replace(OLD, standing=Standing.OUTPACED, reason="outpaced after 6 cases")),
            INCONCLUSIVE,
            "old could not be measured to the end: outpaced after 6 cases",
            id="a race stopped the incumbent",
        ),
        pytest.param(
            [FAST, without_final(OLD)],
            Incumbent(9, "old", "ai_model", without_final(OLD)),
            INCONCLUSIVE,
            "fast and old did not meet in a final, and only a final decides between two; run the benchmark with one",
            id="no final",
        ),
        pytest.param(
            [FAST, timed("old", 9, 200)],
            Incumbent(9, "old", "ai_model", timed("old", 9, 200)),
            INCONCLUSIVE,
            "fast and old have fewer than two passes of the final with valid latencies for half of the cases",
            id="too few passes to compare",
        ),
        pytest.param(
            [WRONG],
            Incumbent(9, "old", "ai_model", WRONG),
            KEEP,
            "no model was correct in all cases",
            id="nobody qualifies",
        ),
        pytest.param([], Incumbent(9, "old"), KEEP, "no model was correct in all cases", id="nobody was measured"),
        pytest.param(
            [WRONG, OPEN, replace(OPEN, model="late")],
            Incumbent(9, "old", "ai_model", WRONG),
            INCONCLUSIVE,
            "no actor qualified, and late, old could not be measured to the end",
            id="nobody qualifies and some are open",
        ),
        pytest.param(
            [UNREGISTERED, WRONG],
            Incumbent(9, "old", "ai_model", WRONG),
            KEEP,
            "the models that qualified are no actors",
            id="only a model that is no actor qualifies",
        ),
        pytest.param(
            [UNREGISTERED, OPEN],
            Incumbent(9, "old", "ai_model", OPEN),
            INCONCLUSIVE,
            "no actor qualified, and old could not be measured to the end",
            id="a model that is no actor qualifies and an actor is open",
        ),
    ],
)
def test_each_rule_has_its_answer_and_its_reason(
    results: list[ModelResult], incumbent: Incumbent, kind: DecisionKind, reason: str
) -> None:
    decision = decided(results, incumbent)
    assert (decision.kind, decision.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("results", "incumbent", "kind"),
    [
        pytest.param([WRONG], Incumbent(None), KEEP, id="that nobody qualifies, before that there is no incumbent"),
        pytest.param(
            [FAST], Incumbent(1, "fast", "human"), KEEP, id="that it is the champion, before what type it has"
        ),
        pytest.param(
            [result("fast", 1, 100)],
            Incumbent(1, "fast", "ai_model", OPEN),
            KEEP,
            id="that it is the champion, before how it was measured",
        ),
        pytest.param(
            [FAST, WRONG],
            Incumbent(9, "old", "human", WRONG),
            KEEP,
            id="that a person decides, before that the incumbent is wrong",
        ),
        pytest.param(
            [FAST, replace(OPEN, avg_latency_ms=1.0)],
            Incumbent(9, "old", "ai_model", replace(OPEN, avg_latency_ms=1.0)),
            INCONCLUSIVE,
            id="that the incumbent is open, before the gain",
        ),
        pytest.param(
            [FAST, replace(WRONG, avg_latency_ms=1.0)],
            Incumbent(9, "old", "ai_model", replace(WRONG, avg_latency_ms=1.0)),
            PROMOTE,
            id="that the incumbent is wrong, before the gain: a slower model that is right replaces it",
        ),
    ],
)
def test_the_first_rule_that_matches_decides(
    results: list[ModelResult], incumbent: Incumbent, kind: DecisionKind
) -> None:
    assert decided(results, incumbent).kind is kind


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


def test_a_challenger_whose_mean_over_the_final_is_not_lower_is_not_promoted_whatever_its_pairs_say() -> None:
    old = timed("old", 9, 100, 100, 100, 100, 100, 100, 100, 100, 10)
    new = timed("new", 1, 30, 31, 30, 31, 30, 31, 30, 31, 700 / 9, main_ms=40)
    faster_in_pairs = replace(new, final_latencies_ms=(*new.final_latencies_ms[:8], dict.fromkeys(CASES, 600.0)))
    policy = PromotionPolicy(alpha=0.4)
    decision = decide(rank([faster_in_pairs, old]), Incumbent(9, "old", "ai_model", old), policy)
    assert decision.comparison is not None
    assert decision.kind is KEEP


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


def test_an_invalid_run_decides_nothing_whatever_it_shows() -> None:
    board = replace(rank([FAST, OLD]), invalid="the anchor drifted by 9 %")
    decision = decide(board, Incumbent(9, "old", "ai_model", OLD), PromotionPolicy())
    assert (decision.kind, decision.reason) == (DecisionKind.INVALID, "the anchor drifted by 9 %")


def test_a_conversation_that_does_not_exist_is_invalid() -> None:
    decision = decide(rank([FAST]), None, PromotionPolicy())
    assert (decision.kind, decision.reason) == (
        DecisionKind.INVALID,
        "there is no such conversation; correct conversations in task.yaml",
    )


@pytest.mark.parametrize("invalid", ["", "the anchor drifted by 9 %"])
def test_a_conversation_with_a_prompt_of_its_own_is_kept_whatever_the_run_shows(invalid: str) -> None:
    board = replace(rank([FAST, OLD]), invalid=invalid)
    decision = decide(board, Incumbent(9, "old", "ai_model", OLD, other_prompt="task.yaml"), PromotionPolicy())
    assert (decision.kind, decision.challenger) == (KEEP, None)
    assert decision.reason == "its own prompt is not the one that was measured (task.yaml)"


def test_a_change_that_was_undone_is_kept_with_what_the_benchmark_found() -> None:
    undone = Incumbent(9, "old", "ai_model", OLD, undone="promotion 3 did this and was undone (by Ann)")
    decision, without = decided([FAST, OLD], undone), decided([FAST, OLD])
    assert without.kind is PROMOTE
    assert decision == replace(without, kind=KEEP, reason="promotion 3 did this and was undone (by Ann)")


def test_what_was_undone_does_not_matter_where_nothing_would_be_promoted() -> None:
    held = Incumbent(1, "fast", "ai_model", FAST)
    assert decided([FAST], replace(held, undone="promotion 3")) == decided([FAST], held)


def test_equal_models_change_nothing() -> None:
    old = result("old", 9, 100)
    board = rank([result("another", 1, 100), old], frozenset({"old"}))
    assert decide(board, Incumbent(9, "old", "ai_model", old), PromotionPolicy(0)).kind is KEEP


def test_the_decision_names_the_challenger_and_the_runner_up() -> None:
    decision = decided([OLD, NEXT, FAST])
    assert decision.challenger is not None
    assert decision.runner_up is not None
    assert (decision.challenger.model, decision.runner_up.model) == ("fast", "next")


def test_a_model_that_is_no_actor_is_neither_challenger_nor_runner_up() -> None:
    decision = decided([UNREGISTERED, FAST, replace(UNREGISTERED, model="by hand 2", avg_latency_ms=120.0), NEXT, OLD])
    assert decision.challenger is not None
    assert decision.runner_up is not None
    assert (decision.challenger.model, decision.runner_up.model) == ("fast", "next")


def test_without_a_champion_nobody_is_named() -> None:
    decision = decided([WRONG])
    assert (decision.challenger, decision.runner_up, decision.gain) == (None, None, None)


results = st.builds(
    result,
    st.sampled_from("abcdefgh"),
    st.none() | st.integers(1, 8),
    st.integers(1, 1000).map(float),
    st.sampled_from([Standing.QUALIFIED, Standing.DISQUALIFIED, Standing.INCONCLUSIVE, Standing.OUTPACED]),
)
scoreboards = st.lists(results, max_size=6, unique_by=lambda r: r.model).map(rank)


@given(
    scoreboards,
    st.builds(
        Incumbent,
        st.none() | st.integers(1, 8),
        st.just("old"),
        st.sampled_from([None, "ai_model", "human"]),
        st.none() | results,
    ),
    st.sampled_from([0.0, 0.05, 0.5]),
)
def test_only_a_qualified_actor_that_is_not_the_incumbent_is_ever_promoted(
    scoreboard: Scoreboard, incumbent: Incumbent, min_gain: float
) -> None:
    decision = decide(scoreboard, incumbent, PromotionPolicy(min_gain))
    assert decision.reason
    if decision.kind is PROMOTE:
        assert decision.challenger is not None
        assert decision.challenger.qualified
        assert decision.challenger.actor_id not in (None, incumbent.actor_id)
        assert incumbent.actor_type in (None, "ai_model") or incumbent.actor_id is None
        assert decision.gain is None or decision.gain >= min_gain
