"""Whether a conversation gets a new actor: every rule, and which of two comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.actor import Exclusion
from bench_pipeline.domain.decision import Decision, DecisionKind, Incumbent, Policy, decide
from bench_pipeline.domain.scoreboard import ModelResult, Scoreboard, Standing, rank

PROMOTE, KEEP, INCONCLUSIVE = DecisionKind.PROMOTE, DecisionKind.KEEP, DecisionKind.INCONCLUSIVE


def result(
    model: str, actor_id: int | None, ms: float = 100.0, standing: Standing = Standing.QUALIFIED, correct: int = 10
) -> ModelResult:
    return ModelResult(
        model, standing, 10, correct, correct * 10.0, calls=10, actor_id=actor_id, avg_latency_ms=ms, reason="time-out"
    )


FAST, NEXT = result("fast", 1, 100), result("next", 2, 150)
OLD = result("old", 9, 200)
WRONG = replace(OLD, standing=Standing.DISQUALIFIED, cases_correct=9)
OPEN = replace(OLD, standing=Standing.INCONCLUSIVE, cases_correct=4)
UNREGISTERED = result("by hand", None, 50)


def decided(results: list[ModelResult], incumbent: Incumbent | None = None, min_gain: float = 0.05) -> Decision:
    return decide(rank(results), incumbent or Incumbent(9, "old", "ai_model", OLD), Policy(min_gain))


@pytest.mark.parametrize(
    ("results", "incumbent", "kind", "reason"),
    [
        pytest.param(
            [FAST, OLD],
            Incumbent(9, "old", "ai_model", OLD),
            PROMOTE,
            "50.0% faster than old (n=10 calls each)",
            id="a challenger that saves enough is promoted",
        ),
        pytest.param(
            [result("fast", 1, 196), OLD],
            Incumbent(9, "old", "ai_model", OLD),
            KEEP,
            "2.0% faster than old (n=10 calls each), less than the margin of 5%",
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
            "old is not eligible any more (too_large)",
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


def test_equal_models_change_nothing() -> None:
    old = result("old", 9, 100)
    board = rank([result("another", 1, 100), old], frozenset({"old"}))
    assert decide(board, Incumbent(9, "old", "ai_model", old), Policy(0)).kind is KEEP


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
    st.sampled_from([Standing.QUALIFIED, Standing.DISQUALIFIED, Standing.INCONCLUSIVE]),
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
    decision = decide(scoreboard, incumbent, Policy(min_gain))
    assert decision.reason
    if decision.kind is PROMOTE:
        assert decision.challenger is not None
        assert decision.challenger.qualified
        assert decision.challenger.actor_id not in (None, incumbent.actor_id)
        assert incumbent.actor_type in (None, "ai_model") or incumbent.actor_id is None
        assert decision.gain is None or decision.gain >= min_gain
