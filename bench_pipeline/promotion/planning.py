"""From a ranked benchmark to the exact rows that should change. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.decision import Decision, Incumbent
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.impact import WINDOW_DAYS, Impact, impact
from bench_pipeline.domain.plan import PlanRow, PromotionPlan, evidence_hash, plan_row
from bench_pipeline.domain.policy import Policy
from bench_pipeline.domain.replay import Evidence
from bench_pipeline.domain.scoreboard import Scoreboard
from bench_pipeline.domain.task import Task
from bench_pipeline.storage import decisions, promotions
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Conversation, Production


@dataclass(frozen=True, slots=True)
class DecidedRow:
    """A row of a plan with its decision and all that this rests on."""

    row: PlanRow
    evidence: Evidence
    decision: Decision


@dataclass(frozen=True, slots=True)
class DecidedPlan:
    """A plan, and its rows in their order with what each rests on."""

    plan: PromotionPlan
    decided: tuple[DecidedRow, ...]


def make_plan(database: Database, production: Production, ranked: RankedBenchmark, policy: Policy) -> DecidedPlan:
    """Decide for every conversation that the task serves.

    A change that was made on this very evidence and undone is not planned again.
    """
    numbers = Task.model_validate(ranked.benchmark.task).conversations
    with database.engine.connect() as connection:
        found = {row.conversation_id: row for row in production.conversations(connection, numbers)}
        templates = production.templates(connection, numbers)
    incumbents = [_incumbent(found.get(number), templates.get(number), ranked) for number in numbers]
    made = _decided(numbers, found, incumbents, ranked, policy)
    with database.engine.connect() as connection:
        earlier = promotions.promotion_by_plan(connection, made.plan.hash)
    if earlier is None or earlier.status != promotions.ROLLED_BACK:
        return made
    undone = f"promotion {earlier.promotion_id} did this and was undone ({earlier.rollback_reason})"
    warned = [incumbent and replace(incumbent, undone=undone) for incumbent in incumbents]
    return _decided(numbers, found, warned, ranked, policy)


def store_plan(database: Database, made: DecidedPlan) -> None:
    """Keep a plan, so that exactly what was shown can be applied, with its decisions, so that they can be replayed."""
    now = datetime.now(UTC)
    with database.writing() as connection:
        promotions.insert_plan(connection, made.plan, now)
        for one in made.decided:
            decisions.insert_decision(connection, made.plan, one.row.conversation_id, one.evidence, one.decision, now)


def impacts(database: Database, production: Production, made: DecidedPlan, now: datetime) -> dict[int, Impact]:
    """Return what each conversation's challenger would save, by the calls of the last days before `now`.

    A conversation is left out when no call of it is known or no two models were compared. The plan does not hold
    this: the volume changes from one day to the next, the evidence does not.
    """
    numbers = [one.row.conversation_id for one in made.decided]
    with database.engine.connect() as connection:
        calls = production.calls(connection, numbers, now - timedelta(days=WINDOW_DAYS), now)
    found = {one.row.conversation_id: _impact(one, calls.get(one.row.conversation_id, 0)) for one in made.decided}
    return {number: saved for number, saved in found.items() if saved is not None}


def _impact(one: DecidedRow, calls: int) -> Impact | None:
    measured = one.evidence.incumbent.result if one.evidence.incumbent else None
    return impact(calls, WINDOW_DAYS, one.decision.comparison, measured.avg_latency_ms if measured else None)


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


def _incumbent(conversation: Conversation | None, template: str | None, ranked: RankedBenchmark) -> Incumbent | None:
    if conversation is None:
        return None
    number, name = conversation.actor_id, conversation.actor_name
    other = template is not None and content_hash(template) != ranked.benchmark.prompt_hash
    return Incumbent(
        actor_id=number,
        name=name,
        actor_type=conversation.actor_type,
        result=next((r for r in ranked.scoreboard.results if r.actor_id is not None and r.actor_id == number), None),
        exclusion=next((reason for model, reason, _ in ranked.excluded if model == name), None),
        other_prompt=ranked.benchmark.prompt_source if other else "",
    )


def _decided(
    numbers: Sequence[int],
    found: Mapping[int, Conversation],
    incumbents: Sequence[Incumbent | None],
    ranked: RankedBenchmark,
    policy: Policy,
) -> DecidedPlan:
    decided = []
    for number, incumbent in zip(numbers, incumbents, strict=True):
        evidence = Evidence(ranked.scoreboard, incumbent, policy)
        decision = evidence.decide()
        decided.append(DecidedRow(_row(number, found.get(number), decision, ranked), evidence, decision))
    plan = PromotionPlan(
        task=ranked.benchmark.task_type,
        benchmark_id=ranked.benchmark.benchmark_id,
        evidence_hash=hash_of_evidence(ranked.benchmark, ranked.scoreboard),
        min_gain=policy.min_gain,
        alpha=policy.alpha,
        rows=tuple(one.row for one in decided),
    )
    return DecidedPlan(plan, tuple(decided))


def _row(number: int, conversation: Conversation | None, decision: Decision, ranked: RankedBenchmark) -> PlanRow:
    if conversation is None:
        return plan_row(number, "unknown", None, None, decision, None)
    run = ranked.runs.get(decision.challenger.model) if decision.challenger else None
    path = run.ref.execution_path if run else None
    return plan_row(number, conversation.name, conversation.actor_id, conversation.actor_name, decision, path)
