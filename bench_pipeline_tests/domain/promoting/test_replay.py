"""A decision depends on its input alone: a stored input gives the same decision again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.scoreboard import CaseFailure, ModelResult, Scoreboard, Standing, rank
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.promoting.decision import DecisionKind, Incumbent
from bench_pipeline.domain.promoting.policy import POLICY_VERSION, PromotionPolicy
from bench_pipeline.domain.promoting.replay import DecisionInput, read_input
from bench_pipeline.domain.tasks.outcome import Outcome

CASES = ("c1", "c2", "c3")
_ms = st.floats(0.1, 1e6)
_medians = st.dictionaries(st.sampled_from(CASES), _ms)
results = st.builds(
    ModelResult,
    model=st.sampled_from("abcd"),
    standing=st.sampled_from([s for s in Standing if s is not Standing.EXCLUDED]),
    cases=st.just(3),
    cases_correct=st.integers(0, 3),
    correctness_score=st.just(100.0),
    actor_id=st.none() | st.integers(1, 4),
    avg_latency_ms=st.none() | _ms,
    failures=st.lists(st.builds(CaseFailure, st.sampled_from(CASES), st.sampled_from(Outcome), st.text())).map(tuple),
    reason=st.text(),
    p90_ms=st.none() | _ms,
    case_medians_ms=_medians,
    final_case_medians_ms=_medians,
    final_passes=st.integers(0, 20),
    final_latencies_ms=st.lists(_medians, max_size=4).map(tuple),
    flaky=st.lists(st.sampled_from(CASES)).map(tuple),
    memory_bytes=st.none() | st.integers(0, 2**40),
)
incumbents = st.none() | st.builds(
    Incumbent,
    actor_id=st.none() | st.integers(1, 4),
    name=st.none() | st.text(),
    actor_type=st.sampled_from([None, "ai_model", "human"]),
    result=st.none() | results,
    exclusion=st.none() | st.sampled_from(Exclusion),
    other_prompt=st.sampled_from(["", "task.yaml"]),
    undone=st.sampled_from(["", "promotion 3 did this and was undone"]),
    was_right=st.sampled_from(["", "grading-1"]),
    is_model=st.booleans(),
)
inputs = st.builds(
    DecisionInput,
    st.builds(
        Scoreboard,
        st.lists(results, max_size=4, unique_by=lambda r: r.model).map(lambda rs: rank(rs).results),
        st.sampled_from(["", "", "", "the anchor drifted"]),
    ),
    incumbents,
    st.builds(
        PromotionPolicy, st.sampled_from([0.0, 0.05, 0.5]), st.sampled_from([0.008, 0.01, 0.4]), st.sampled_from([1, 2])
    ),
)


def stored(value: DecisionInput) -> dict[str, object]:
    """What a database gives back."""
    back: dict[str, object] = json.loads(json.dumps(value.as_json()))
    return back


@given(inputs)
def test_a_decision_recomputed_from_its_stored_input_is_the_same(value: DecisionInput) -> None:
    assert read_input(stored(value)).decide() == value.decide()


@given(inputs)
def test_an_input_has_the_same_hash_after_it_was_stored(value: DecisionInput) -> None:
    assert content_hash(stored(value)) == content_hash(value.as_json())


def case(name: str, ms: float, actor_id: int) -> ModelResult:
    passes = (dict.fromkeys(CASES, ms),) * 4
    return ModelResult(
        name,
        Standing.QUALIFIED,
        3,
        3,
        100.0,
        actor_id=actor_id,
        avg_latency_ms=ms,
        final_passes=4,
        final_latencies_ms=passes,
    )


OLD = case("old", 200.0, 9)
INPUT = DecisionInput(rank([case("fast", 100.0, 1), OLD]), Incumbent(9, "old", "ai_model", OLD), PromotionPolicy())


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        pytest.param(("policy", "min_gain"), 0.9, DecisionKind.KEEP, id="the policy"),
        pytest.param(("incumbent", "undone"), "undone before", DecisionKind.KEEP, id="the incumbent"),
        pytest.param(("scoreboard", "invalid"), "drift", DecisionKind.INVALID, id="the scoreboard"),
    ],
)
def test_each_part_of_the_input_counts(path: tuple[str, str], value: object, kind: DecisionKind) -> None:
    changed = stored(INPUT)
    part = changed[path[0]]
    assert isinstance(part, dict)
    part[path[1]] = value

    assert read_input(stored(INPUT)).decide().kind is DecisionKind.PROMOTE
    assert read_input(changed).decide().kind is kind
    assert content_hash(changed) != content_hash(INPUT.as_json())


def test_an_input_that_was_stored_before_a_field_was_added_is_read_with_its_default() -> None:
    older = stored(INPUT)
    incumbent = older["incumbent"]
    assert isinstance(incumbent, dict)
    del incumbent["was_right"]
    assert read_input(older).decide() == INPUT.decide()


@pytest.mark.parametrize(
    ("actor_type", "is_model"), [("ai_model", True), ("script", False), (None, True)], ids=["model", "script", "gone"]
)
def test_an_input_from_before_other_types_could_be_models_tells_them_by_the_first_one(
    actor_type: str | None, is_model: bool
) -> None:
    older = stored(INPUT)
    incumbent = older["incumbent"]
    assert isinstance(incumbent, dict)
    del incumbent["is_model"]
    read = read_input({**older, "incumbent": {**incumbent, "actor_type": actor_type}})
    assert read.incumbent is not None
    assert read.incumbent.is_model is is_model


@pytest.mark.parametrize("value", [{}, {"scoreboard": {"results": [{"model": "x"}]}, "incumbent": None, "policy": {}}])
def test_an_input_that_cannot_be_read_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read_input(value)


def test_an_input_from_before_versions_were_stored_is_decided_by_the_first_rule() -> None:
    old = stored(INPUT)
    policy = old["policy"]
    assert isinstance(policy, dict)
    del policy["version"]
    assert read_input(old).policy.version == 1
    assert read_input(stored(INPUT)).policy.version == POLICY_VERSION


def test_an_input_of_a_later_rule_is_refused() -> None:
    later = replace(INPUT, policy=PromotionPolicy(version=POLICY_VERSION + 1))
    with pytest.raises(ValueError, match="version 3, which this program does not know"):
        read_input(stored(later))
