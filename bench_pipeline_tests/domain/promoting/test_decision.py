"""Whether a conversation gets a new actor: every rule, and which of two comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.scoreboard import (
    ModelResult,
    Scoreboard,
    Standing,
    rank,
)
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.promoting.decision import DecisionKind, Incumbent, decide
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline_tests.domain.promoting.examples import (
    ALSO_WRONG,
    FAST,
    INCONCLUSIVE,
    KEEP,
    NEXT,
    OLD,
    OPEN,
    PROMOTE,
    UNREADABLE,
    UNREGISTERED,
    WRONG,
    decided,
    result,
    timed,
    without_final,
)


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
            Incumbent(9, "Ann", "human", None, is_model=False),
            KEEP,
            "Ann is not a model but of type human; a person decides",
            id="the incumbent is a person",
        ),
        pytest.param(
            [FAST],
            Incumbent(9, "report.py", "script", None, is_model=False),
            KEEP,
            "report.py is not a model but of type script; a person decides",
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
            "fast and old did not meet in a final, and only a final decides between two; "
            "benchmark again with BENCH_FINAL_PASSES=20",
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
            [FAST],
            Incumbent(1, "fast", "human", is_model=False),
            KEEP,
            id="that it is the champion, before what type it has",
        ),
        pytest.param(
            [result("fast", 1, 100)],
            Incumbent(1, "fast", "ai_model", OPEN),
            KEEP,
            id="that it is the champion, before how it was measured",
        ),
        pytest.param(
            [FAST, WRONG],
            Incumbent(9, "old", "human", WRONG, is_model=False),
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
        st.just("some type"),
        st.none() | results,
        is_model=st.booleans(),
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
        assert incumbent.is_model or incumbent.actor_id is None
        assert decision.gain is None or decision.gain >= min_gain
