"""Makes and stores plans: from ranked benchmarks to the exact rows to change. plan_application.py applies them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.incumbents import incumbents_of
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.decision import Decision, Incumbent
from bench_pipeline.domain.promoting.impact import WINDOW_DAYS, Impact, impact
from bench_pipeline.domain.promoting.plan import (
    ApprovalMode,
    Holding,
    PlanEvidence,
    PlanRow,
    PlanTerms,
    PromotionPlan,
    TaskTerms,
    plan_row,
)
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.promoting.replay import DecisionInput
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.settings import Settings
from bench_pipeline.storage import decisions, plans
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Conversation
from bench_pipeline.storage.promotions import read_bars


@dataclass(frozen=True, slots=True)
class DecidedRow:
    """A row of a plan with its decision and the input of that decision."""

    row: PlanRow
    input: DecisionInput
    decision: Decision


@dataclass(frozen=True, slots=True)
class DecidedPlan:
    """A plan, and its rows in order, each with its decision."""

    plan: PromotionPlan
    decided: tuple[DecidedRow, ...]


def make_plan(bench: Workbench, ranked: Sequence[RankedBenchmark], tasks: Sequence[Task]) -> DecidedPlan:
    """Decide for every conversation that these tasks serve; `ranked` has one benchmark per task, in the same order.

    A change that was undone is not planned again while its rollback bars it. Raises `InputError` when two tasks
    serve one conversation.
    """
    _check_apart(tasks)
    evidence = tuple(_evidence(one, task) for one, task in zip(ranked, tasks, strict=True))
    decided = [
        row
        for benchmark, rests_on, task in zip(ranked, evidence, tasks, strict=True)
        for row in _decided(bench, benchmark, rests_on, task)
    ]
    rows = tuple(one.row for one in decided)
    terms = _terms(rows, evidence, bench.settings, bench.production.schema_hash(bench.database))
    return DecidedPlan(PromotionPlan(evidence=evidence, terms=terms, rows=rows), tuple(decided))


def _evidence(ranked: RankedBenchmark, task: Task) -> PlanEvidence:
    return PlanEvidence(
        task_terms=task_terms(task, ranked.benchmark.suite_hash, ranked.benchmark.prompt_hash),
        task=ranked.benchmark.task_type,
        benchmark_id=ranked.benchmark.benchmark_id,
        evidence_hash=hash_of_evidence(ranked.benchmark, ranked.scoreboard),
    )


def task_terms(task: Task, suite_hash: str, prompt_hash: str) -> TaskTerms:
    """Return what a task allows by its task.yaml, with the suite and the prompt that it measures."""
    return TaskTerms(
        task=task.task,
        conversations=task.conversations,
        auto=task.promotion.auto,
        max_rows=task.promotion.max_rows,
        suite_hash=suite_hash,
        prompt_hash=prompt_hash,
    )


def _check_apart(tasks: Sequence[Task]) -> None:
    served = Counter(number for task in tasks for number in task.conversations)
    if twice := [number for number, times in served.items() if times > 1]:
        names = ", ".join(task.task for task in tasks)
        raise InputError(f"{names}: conversation {twice[0]} is in two tasks; remove it from all but one task.yaml")


def _terms(
    rows: Sequence[PlanRow], evidence: Sequence[PlanEvidence], settings: Settings, schema_hash: str
) -> PlanTerms:
    marked = {number for one in evidence if one.task_terms is not None for number in one.task_terms.auto}
    asks = settings.approval == "required" or any(row.changes and row.conversation_id not in marked for row in rows)
    by_tasks = sum(one.task_terms.most_rows for one in evidence if one.task_terms is not None)
    approval = ApprovalMode.REQUIRED if asks else ApprovalMode.AUTO
    return terms_of(settings, min(settings.max_rows, by_tasks), approval, schema_hash)


def terms_of(settings: Settings, max_rows: int, approval: ApprovalMode, schema_hash: str) -> PlanTerms:
    """Return the terms of the settings, with the values that differ from plan to plan."""
    return PlanTerms(
        min_gain=settings.min_gain,
        alpha=settings.alpha,
        max_rows=max_rows,
        evidence_days=settings.promotion_evidence_days,
        plan_hours=settings.plan_hours,
        approval=approval,
        approval_hours=settings.approval_hours,
        second_person=settings.second_person,
        schema_hash=schema_hash,
    )


def store_plan(database: Database, made: DecidedPlan, requested_by: str) -> None:
    """Store a plan so that exactly this plan can be applied, and its decisions so that they can be replayed.

    A plan that is already the latest of its tasks, and not too old, is not stored again: a person who applies
    another person's plan does not become its requester.
    """
    now = datetime.now(UTC)
    young = now - timedelta(hours=made.plan.terms.plan_hours)
    with database.writing() as connection:
        last = plans.latest_plan(connection, made.plan.tasks)
        if last is not None and last.plan_hash == made.plan.hash and last.made_at > young:
            return
        plans.insert_plan(connection, made.plan, requested_by, now)
        for one in made.decided:
            decisions.insert_decision(connection, made.plan, one.row, one.input, one.decision, now)


def impacts(bench: Workbench, made: DecidedPlan, now: datetime) -> dict[ConversationId, Impact]:
    """Return what each conversation's challenger would save, from the number of calls in the days before `now`.

    A conversation without known calls or without a comparison is left out. The plan does not include the impact,
    because the volume changes daily and the evidence does not.
    """
    numbers = [one.row.conversation_id for one in made.decided]
    with bench.database.engine.connect() as connection:
        calls = bench.production.calls(connection, numbers, now - timedelta(days=WINDOW_DAYS), now)
    found = {one.row.conversation_id: _impact(one, calls.get(one.row.conversation_id, 0)) for one in made.decided}
    return {number: saved for number, saved in found.items() if saved is not None}


def _impact(one: DecidedRow, calls: int) -> Impact | None:
    measured = one.input.incumbent.result if one.input.incumbent else None
    return impact(calls, WINDOW_DAYS, one.decision.comparison, measured.avg_latency_ms if measured else None)


def _decided(bench: Workbench, ranked: RankedBenchmark, evidence: PlanEvidence, task: Task) -> list[DecidedRow]:
    decided = []
    decisions = _Decisions(ranked, bench.settings.promotion_policy)
    with bench.database.engine.connect() as connection:
        bars = read_bars(connection, [evidence.benchmark_id])
        prompts = bench.production.own_prompt_hashes(connection, task.conversations)
    for number, found in incumbents_of(bench, task, ranked).items():
        conversation, incumbent = found or (None, None)
        one = decisions.row(number, conversation, incumbent)
        bar = bars.on(one.row, evidence) if one.row.changes else None
        if incumbent is not None and bar is not None:
            one = decisions.row(number, conversation, replace(incumbent, undone=bar.removal))
        row = one.row.model_copy(update={"own_prompt": prompts.get(number)})
        decided.append(replace(one, row=row))
    return decided


class _Decisions:
    """The decisions from one benchmark: conversations with the same incumbent share theirs."""

    def __init__(self, ranked: RankedBenchmark, policy: PromotionPolicy) -> None:
        self._ranked = ranked
        self._policy = policy
        self._made: dict[Incumbent | None, tuple[DecisionInput, Decision]] = {}

    def row(self, number: ConversationId, conversation: Conversation | None, incumbent: Incumbent | None) -> DecidedRow:
        # The result follows from the actor and cannot be hashed.
        key = replace(incumbent, result=None) if incumbent is not None else None
        if key not in self._made:
            decided_from = DecisionInput(self._ranked.scoreboard, incumbent, self._policy)
            self._made[key] = decided_from, decided_from.decide()
        decided_from, decision = self._made[key]
        return DecidedRow(_row(number, conversation, decision, self._ranked), decided_from, decision)


def _row(
    number: ConversationId, conversation: Conversation | None, decision: Decision, ranked: RankedBenchmark
) -> PlanRow:
    task = ranked.benchmark.task_type
    if conversation is None:
        return plan_row(Holding(task, number, "unknown", None, None), decision, None)
    run = ranked.runs.get(decision.challenger.model) if decision.challenger else None
    measured = (run.ref.execution_path, run.identity) if run else None
    holding = Holding(task, number, conversation.name, conversation.actor_id, conversation.actor_name)
    return plan_row(holding, decision, measured)
