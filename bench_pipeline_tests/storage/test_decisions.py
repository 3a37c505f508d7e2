"""A decision comes back from the database with its input."""

from __future__ import annotations

from datetime import UTC, datetime

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, rank
from bench_pipeline.domain.promoting.decision import Incumbent
from bench_pipeline.domain.promoting.plan import ApprovalMode, Holding, PlanEvidence, PlanTerms, PromotionPlan, plan_row
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.promoting.replay import DecisionInput, read_input
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.decisions import decision_by_id, decisions_of, insert_decision

NOW = datetime(2026, 11, 24, 3, 0, 0, 5, UTC)
TERMS = PlanTerms(
    min_gain=0.05,
    max_rows=20,
    evidence_days=35,
    plan_hours=168,
    approval=ApprovalMode.AUTO,
    approval_hours=72,
    second_person=False,
    schema_hash="s",
)


def plan_of(benchmark_id: str) -> PromotionPlan:
    evidence = PlanEvidence(task="grading", benchmark_id=benchmark_id, evidence_hash="e" * 64)
    return PromotionPlan(evidence=(evidence,), terms=TERMS, rows=())


PLAN = plan_of("grading-1")


def result(model: str, actor_id: int, ms: float) -> ModelResult:
    medians = {"Gärtner": ms, "c2": ms * 1.1}
    return ModelResult(
        model, Standing.QUALIFIED, 2, 2, 100.0, actor_id=actor_id, avg_latency_ms=ms, case_medians_ms=medians
    )


OLD = result("old \x00 🌹", 9, 1 / 3)
INPUT = DecisionInput(rank([result("fast", 1, 0.1), OLD]), Incumbent(9, OLD.model, "ai_model", OLD), PromotionPolicy())


def store(database: Database, *conversations: int, plan: PromotionPlan = PLAN) -> None:
    with database.writing() as connection:
        for number in conversations:
            row = plan_row(Holding("grading", number, "Grade", 9, "old"), INPUT.decide(), None)
            insert_decision(connection, plan, row, INPUT, INPUT.decide(), NOW)


def test_a_decision_is_read_back_and_its_input_decides_the_same(database: Database) -> None:
    store(database, 3336)
    with database.engine.connect() as connection:
        found = decision_by_id(connection, 1)
    assert found is not None
    assert (found.plan_hash, found.benchmark_id, found.task_type) == (PLAN.hash, "grading-1", "grading")
    assert (found.conversation_id, found.kind, found.decided_at) == (3336, INPUT.decide().kind, NOW)
    assert found.input_hash == content_hash(found.input) == content_hash(INPUT.as_json())
    assert read_input(found.input).decide() == INPUT.decide()


def test_the_decisions_of_a_benchmark_come_in_the_order_in_which_they_were_stored(database: Database) -> None:
    store(database, 3337, 3336)
    store(database, 3339, plan=plan_of("grading-2"))
    with database.engine.connect() as connection:
        assert [d.conversation_id for d in decisions_of(connection, "grading-1")] == [3337, 3336]
        assert [d.conversation_id for d in decisions_of(connection, "grading-2")] == [3339]
        assert decisions_of(connection, "grading-3") == []
        assert decision_by_id(connection, 4) is None
