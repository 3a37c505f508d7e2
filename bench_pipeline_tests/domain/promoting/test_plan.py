"""A plan is what was shown: its hash covers all of it."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.measuring.statistics import PairedComparison
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.promoting.decision import Decision, DecisionKind
from bench_pipeline.domain.promoting.plan import (
    ApprovalMode,
    Bar,
    Holding,
    PlanEvidence,
    PlanKind,
    PlanRow,
    PlanTerms,
    PromotionPlan,
    TaskTerms,
    evidence_hash,
    identity_hash,
    plan_diff,
    plan_row,
)

IDENTITY = ModelIdentity(name="fast:1b", runtime="ollama", digest="sha256:aa")
ROW = PlanRow(
    task="extraction",
    conversation_id=3335,
    conversation="extract",
    decision=DecisionKind.PROMOTE,
    reason="50.0% faster",
    old_actor_id=9,
    old_actor="old",
    new_actor_id=1,
    new_actor="fast",
    execution_path="ollama:fast:1b",
    identity_hash=identity_hash(IDENTITY),
    runner_up_actor_id=2,
    runner_up="next",
    gain=0.5,
    avg_latency_ms=100.0,
    ratio_low=0.45,
    ratio_high=0.55,
    level=0.995,
)
TERMS = PlanTerms(
    min_gain=0.05,
    alpha=0.008,
    max_rows=20,
    evidence_days=35,
    plan_hours=168,
    approval=ApprovalMode.AUTO,
    approval_hours=72,
    second_person=False,
    schema_hash="s1",
)
EVIDENCE = PlanEvidence(task="extraction", benchmark_id="b1", evidence_hash="e1")
PLAN = PromotionPlan(evidence=(EVIDENCE,), terms=TERMS, rows=(ROW,))
RESULT = ModelResult(
    "fast", Standing.QUALIFIED, 10, 10, 100.0, calls=10, actor_id=1, avg_latency_ms=100.0, rank=1, digest="sha256:aa"
)
NEXT = replace(RESULT, model="next", actor_id=2, rank=2)
OTHER_ROW_VALUES = {
    "own_prompt": "a" * 64,
    "task": "grading",
    "conversation_id": 3336,
    "conversation": "grade",
    "decision": DecisionKind.KEEP,
    "reason": "another",
    "old_actor_id": None,
    "old_actor": None,
    "new_actor_id": 5,
    "new_actor": "other",
    "execution_path": "ollama:fast:3b",
    "identity_hash": None,
    "runner_up_actor_id": None,
    "runner_up": None,
    "gain": 0.51,
    "avg_latency_ms": None,
    "ratio_low": None,
    "ratio_high": 0.56,
    "level": 0.95,
}
OTHER_PLAN_VALUES = {
    "kind": PlanKind.FAILOVER,
    "undoes": 7,
    "bar": Bar.EVIDENCE,
    "reason": "another",
    "evidence": (),
    "terms": TERMS.model_copy(update={"max_rows": 1}),
    "rows": (),
}
OTHER_TERMS = {
    "min_gain": 0.06,
    "alpha": 0.01,
    "max_rows": 21,
    "evidence_days": 36.0,
    "plan_hours": 169.0,
    "approval": ApprovalMode.REQUIRED,
    "approval_hours": 73.0,
    "second_person": True,
    "schema_hash": "s2",
}
TASK_TERMS = TaskTerms(task="grading", conversations=(1,), auto=(), max_rows=None, suite_hash="s", prompt_hash="p")
OTHER_EVIDENCE = {"task": "grading", "benchmark_id": "b2", "evidence_hash": "e2", "task_terms": TASK_TERMS}
OTHER_RESULT_VALUES = {
    "final_latencies_ms": ({"c1": 1.0},),
    "model": "other",
    "actor_id": None,
    "digest": "sha256:bb",
    "standing": Standing.DISQUALIFIED,
    "rank": None,
    "cases_correct": 9,
    "cases": 11,
    "calls": 20,
    "avg_latency_ms": 100.1,
}


@pytest.mark.parametrize("name", list(PromotionPlan.model_fields))
def test_the_hash_changes_with_any_field_of_the_plan(name: str) -> None:
    assert PLAN.model_copy(update={name: OTHER_PLAN_VALUES[name]}).hash != PLAN.hash


@pytest.mark.parametrize("name", list(PlanTerms.model_fields))
def test_the_hash_and_that_of_the_policy_change_with_any_of_the_terms(name: str) -> None:
    other = PLAN.model_copy(update={"terms": TERMS.model_copy(update={name: OTHER_TERMS[name]})})
    assert other.hash != PLAN.hash
    assert other.terms_hash != PLAN.terms_hash


@pytest.mark.parametrize("name", list(PlanEvidence.model_fields))
def test_the_hash_changes_with_any_field_of_the_evidence(name: str) -> None:
    other = EVIDENCE.model_copy(update={name: OTHER_EVIDENCE[name]})
    assert PLAN.model_copy(update={"evidence": (other,)}).hash != PLAN.hash


@pytest.mark.parametrize("name", list(PlanRow.model_fields))
def test_the_hash_changes_with_any_field_of_a_row(name: str) -> None:
    row = ROW.model_copy(update={name: OTHER_ROW_VALUES[name]})
    assert PLAN.model_copy(update={"rows": (row,)}).hash != PLAN.hash


def test_the_hash_changes_with_the_order_of_rows() -> None:
    other = ROW.model_copy(update={"conversation_id": 1})
    plans = [PLAN.model_copy(update={"rows": rows}) for rows in ((ROW, other), (other, ROW))]
    assert plans[0].hash != plans[1].hash


def test_a_plan_that_was_stored_and_read_has_the_same_hash() -> None:
    assert PromotionPlan.model_validate_json(PLAN.model_dump_json()).hash == PLAN.hash


def test_the_hash_is_that_of_the_document() -> None:
    assert hashlib.sha256(PLAN.document.encode()).hexdigest() == PLAN.hash
    assert PromotionPlan.model_validate_json(PLAN.document) == PLAN


@given(text=st.text(st.characters(codec=None)))
def test_the_document_is_text_that_every_database_takes(text: str) -> None:
    row = PlanRow.model_validate(ROW.model_dump() | {"reason": text, "new_actor": text})
    document = PLAN.model_copy(update={"rows": (row,)}).document
    assert "\\u0000" not in document
    document.encode()


def test_the_tasks_of_a_plan_are_named_once_each_in_order() -> None:
    rows = (ROW, ROW.model_copy(update={"conversation_id": 1}), ROW.model_copy(update={"task": "grading"}))
    assert PLAN.model_copy(update={"rows": rows}).tasks == "extraction,grading"


def test_the_evidence_of_a_task_is_found_by_its_name() -> None:
    assert PLAN.evidence_of("extraction") == EVIDENCE
    assert PLAN.evidence_of("grading") is None


def test_a_diff_shows_old_and_new_actor_of_the_rows_that_change() -> None:
    kept = ROW.model_copy(update={"decision": DecisionKind.KEEP})
    plan = PLAN.model_copy(update={"rows": (ROW.model_copy(update={"new_actor": "fa`st\n"}), kept)})
    assert plan_diff(plan) == "  conversation 3335 extract\n- actor_id 9 old\n+ actor_id 1 fa st "
    assert plan_diff(PLAN.model_copy(update={"rows": (kept,)})) == "  nothing changes"


@pytest.mark.parametrize("name", sorted(OTHER_RESULT_VALUES))
def test_the_hash_of_the_evidence_changes_with_what_a_result_rests_on(name: str) -> None:
    other = replace(RESULT, **{name: OTHER_RESULT_VALUES[name]})
    assert evidence_hash((other,), {}) != evidence_hash((RESULT,), {})


def test_the_table_above_names_fields_that_a_result_has() -> None:
    assert OTHER_RESULT_VALUES.keys() <= {field.name for field in fields(ModelResult)}


def test_the_hash_of_the_evidence_changes_with_the_terms_and_the_models() -> None:
    hashes = {
        evidence_hash((RESULT,), {"suite": "s1"}),
        evidence_hash((RESULT,), {"suite": "s2"}),
        evidence_hash((RESULT, NEXT), {"suite": "s1"}),
        evidence_hash((), {"suite": "s1"}),
    }
    assert len(hashes) == 4


def test_promotions_and_rows_that_no_benchmark_decided_are_changes() -> None:
    kinds = (*DecisionKind, None)
    rows = tuple(ROW.model_copy(update={"decision": kind, "reason": str(kind)}) for kind in kinds)
    assert [row.reason for row in PLAN.model_copy(update={"rows": rows}).changes] == ["promote", "None"]


@pytest.mark.parametrize(
    ("decision", "old", "new", "confirms"),
    [
        pytest.param(DecisionKind.KEEP, 1, 1, True, id="the champion is the incumbent"),
        pytest.param(DecisionKind.KEEP, 9, 1, False, id="the champion is another"),
        pytest.param(DecisionKind.KEEP, None, None, False, id="neither"),
        pytest.param(DecisionKind.INCONCLUSIVE, 1, 1, False, id="inconclusive"),
    ],
)
def test_a_row_confirms_the_incumbent_when_it_is_kept_as_champion(
    decision: DecisionKind, old: int | None, new: int | None, confirms: bool
) -> None:
    row = ROW.model_copy(update={"decision": decision, "old_actor_id": old, "new_actor_id": new})
    assert row.confirms is confirms


def test_a_decision_becomes_a_row_with_its_challenger_and_runner_up() -> None:
    comparison = PairedComparison(10, ratio=0.5, low=0.45, high=0.55, level=0.995, sd_log=0.1, unit="passes")
    decision = Decision(DecisionKind.PROMOTE, "50.0% faster", RESULT, NEXT, 0.5, comparison)
    assert plan_row(Holding("extraction", 3335, "extract", 9, "old"), decision, ("ollama:fast:1b", IDENTITY)) == ROW


def test_a_decision_without_a_challenger_becomes_a_row_that_names_nobody() -> None:
    decision = Decision(DecisionKind.KEEP, "no model was correct")
    row = plan_row(Holding("grading", 1, "x", 9, "old"), decision, ("ollama:fast:1b", IDENTITY))
    assert (row.new_actor_id, row.new_actor, row.execution_path, row.identity_hash, row.runner_up) == (None,) * 5
