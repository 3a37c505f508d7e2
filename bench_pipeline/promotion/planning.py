"""From a ranked benchmark to the exact rows that should change. Writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.decision import Decision, DecisionKind, Incumbent, decide
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.plan import PlanRow, PromotionPlan, evidence_hash, plan_row
from bench_pipeline.domain.policy import Policy
from bench_pipeline.domain.scoreboard import Scoreboard
from bench_pipeline.domain.task import Task
from bench_pipeline.storage import promotions
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Conversation, Production


def make_plan(database: Database, production: Production, ranked: RankedBenchmark, policy: Policy) -> PromotionPlan:
    """Decide for every conversation that the task serves.

    A change that was made on this very evidence and undone is not planned again.
    """
    task = Task.model_validate(ranked.benchmark.task)
    with database.engine.connect() as connection:
        found = {row.conversation_id: row for row in production.conversations(connection, task.conversations)}
        templates = production.templates(connection, task.conversations)
    rows = tuple(
        _row(number, found.get(number), templates.get(number), ranked, policy) for number in task.conversations
    )
    plan = PromotionPlan(
        task=task.task,
        benchmark_id=ranked.benchmark.benchmark_id,
        evidence_hash=hash_of_evidence(ranked.benchmark, ranked.scoreboard),
        min_gain=policy.min_gain,
        rows=rows,
    )
    with database.engine.connect() as connection:
        earlier = promotions.promotion_by_plan(connection, plan.hash)
    if earlier is None or earlier.status != promotions.ROLLED_BACK:
        return plan
    undone = f"promotion {earlier.promotion_id} did this and was undone ({earlier.rollback_reason})"
    kept = tuple(
        row.model_copy(update={"decision": DecisionKind.KEEP, "reason": undone}) if row.changes else row
        for row in plan.rows
    )
    return plan.model_copy(update={"rows": kept})


def store_plan(database: Database, plan: PromotionPlan) -> None:
    """Keep a plan, so that exactly what was shown can be applied."""
    with database.writing() as connection:
        promotions.insert_plan(connection, plan, datetime.now(UTC))


def stored_plan(database: Database, task: str) -> PromotionPlan:
    """Return the task's last plan. Raises `InputError` when there is none."""
    with database.engine.connect() as connection:
        plan = promotions.latest_plan(connection, task)
    if plan is None:
        raise InputError(f"there is no plan for {task}; materialize {task}/promotion_plan first")
    return plan


def hash_of_evidence(benchmark: BenchmarkRow, scoreboard: Scoreboard) -> str:
    """Hash what a decision rests on: the scoreboard and the terms of its measurement."""
    terms = {
        "suite": benchmark.suite_hash,
        "prompt": benchmark.prompt_hash,
        "protocol": benchmark.protocol_hash,
        "reader": benchmark.reader_version,
        "hardware": benchmark.hardware,
        "invalid": benchmark.invalid,
    }
    return evidence_hash(scoreboard.results, terms)


def _row(
    number: int, conversation: Conversation | None, template: str | None, ranked: RankedBenchmark, policy: Policy
) -> PlanRow:
    if conversation is None:
        missing = Decision(DecisionKind.INVALID, "there is no such conversation; correct conversations in task.yaml")
        return plan_row(number, "unknown", None, None, missing, None)
    decision = _decision(conversation, template, ranked, policy)
    run = ranked.runs.get(decision.challenger.model) if decision.challenger else None
    path = run.ref.execution_path if run else None
    return plan_row(number, conversation.name, conversation.actor_id, conversation.actor_name, decision, path)


def _decision(conversation: Conversation, template: str | None, ranked: RankedBenchmark, policy: Policy) -> Decision:
    if template is not None and content_hash(template) != ranked.benchmark.prompt_hash:
        return Decision(
            DecisionKind.KEEP, f"its own prompt is not the one that was measured ({ranked.benchmark.prompt_source})"
        )
    measured = next(
        (r for r in ranked.scoreboard.results if r.actor_id is not None and r.actor_id == conversation.actor_id), None
    )
    name = conversation.actor_name
    exclusion = next((reason for model, reason, _ in ranked.excluded if model == name), None)
    incumbent = Incumbent(conversation.actor_id, name, conversation.actor_type, measured, exclusion)
    return decide(ranked.scoreboard, incumbent, policy)
