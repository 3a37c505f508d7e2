"""Applies a stored plan: checks what needs no lock, then calls the writer, which decides under its locks.

The writer's rules are in domain/promoting/rules.py and, for PostgreSQL, in its function.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.fitness import newer_fit_benchmark
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.task_keys import task_in_production
from bench_pipeline.benchmark.workbench import Workbench, account
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.fitness import outdated_row
from bench_pipeline.domain.promoting.plan import PlanEvidence, PlanKind, PromotionPlan
from bench_pipeline.domain.promoting.refusal import APPROVAL_REASONS, PlanRefused
from bench_pipeline.promotion.gates import who_may_approve
from bench_pipeline.promotion.observation import observe
from bench_pipeline.promotion.plan import make_plan, task_terms
from bench_pipeline.promotion.validation_hook import check_hook
from bench_pipeline.storage import benchmarks, history
from bench_pipeline.storage.plans import plan_by_hash, record_task_terms, recorded_task_terms
from bench_pipeline.storage.promotions import promotion_by_id, promotion_by_plan


def apply_plan(
    bench: Workbench, plan_hash: str, requested_by: str, dagster_run_id: str | None = None
) -> Promotion | None:
    """Change the rows of a stored plan, all or none, and return the promotion; None when it changes no row.

    For a plan that was already applied and is still in force, its promotion is returned. Where the incumbent is the
    champion, only the champion registry is updated. Raises `PlanRefused` when nothing was changed, and
    `OutcomeUnknown` when the connection was lost during the commit: applying the plan again determines the outcome.
    """
    with bench.database.engine.connect() as connection:
        stored = plan_by_hash(connection, plan_hash)
        applied = promotion_by_plan(connection, plan_hash)
    if stored is None:
        raise PlanRefused("plan_unknown", {"plan_hash": plan_hash})
    if not stored.intact:
        raise PlanRefused("plan_altered", {"plan_hash": stored.plan_hash})
    observed = [] if applied else _check_without_locks(bench, stored.plan)
    try:
        promotion_id = bench.writer.apply(plan_hash, requested_by, dagster_run_id, observed)
    except PlanRefused as refused:
        if refused.reason not in APPROVAL_REASONS or not stored.plan.terms.second_person:
            raise
        with bench.database.engine.connect() as connection:
            note = who_may_approve(connection, stored.plan_hash)
        raise PlanRefused(refused.reason, refused.facts, note) from None
    if promotion_id is None:
        return None
    with bench.database.engine.connect() as connection:
        return promotion_by_id(connection, promotion_id)


def _check_without_locks(bench: Workbench, plan: PromotionPlan) -> list[Observed]:
    """Check what only the program can: its own files, the whole stored evidence, and the models' identities.

    The schema comes first: with another one nothing else could be read. The writer checks it again.
    """
    if bench.production.schema_hash(bench.database) != plan.terms.schema_hash:
        raise PlanRefused("schema_changed", {})
    if plan.kind is PlanKind.ROLLBACK:
        return []
    if bench.settings.validation_hook is not None:
        check_hook(bench.settings.validation_hook)  # do not start a promotion that could not be validated
    with bench.database.engine.connect() as connection:
        for evidence in plan.evidence:
            _check_evidence(connection, evidence)
    if plan.kind is PlanKind.PROMOTION:
        for evidence in plan.evidence:
            _record_terms(bench, evidence)
            _check_not_outdated(bench, plan, evidence)
    return observe(bench, plan)


def _record_terms(bench: Workbench, evidence: PlanEvidence) -> None:
    """Tell the database what the task's files allow and measure now, unless it knows; the writer decides by that."""
    prepared = prepare(bench, evidence.task)
    terms = task_terms(prepared.task, prepared.suite.hash, prepared.prompt_hash)
    with bench.database.engine.connect() as connection:
        known = recorded_task_terms(connection, [evidence.task]).get(evidence.task, evidence.task_terms)
    if known == terms:
        return
    with bench.database.writing() as connection:
        record_task_terms(connection, terms, account(), datetime.now(UTC))


def _check_evidence(connection: Connection, evidence: PlanEvidence) -> None:
    """Check that the whole stored scoreboard is unchanged; the writer compares only the outcome of its ranking."""
    benchmark = benchmarks.benchmark(connection, evidence.benchmark_id)
    scoreboard = history.stored_scoreboard(connection, evidence.benchmark_id)
    if benchmark is None or scoreboard is None:
        raise PlanRefused("evidence_gone", {"benchmark_id": evidence.benchmark_id})
    if hash_of_evidence(benchmark, scoreboard) != evidence.evidence_hash:
        raise PlanRefused("evidence_changed", {"benchmark_id": evidence.benchmark_id})


def _check_not_outdated(bench: Workbench, plan: PromotionPlan, evidence: PlanEvidence) -> None:
    """Refuse the plan also if a newer benchmark that is fit for production decides differently by its interval."""
    newer = newer_fit_benchmark(bench, evidence.task, evidence.benchmark_id)
    if newer is None:
        return
    planned = [row for row in plan.rows if row.task == evidence.task]
    decided = make_plan(bench, [newer], [task_in_production(bench, evidence.task)]).plan
    if (row := outdated_row(planned, decided.rows, newer.actor_ids)) is not None:
        facts = {"task": evidence.task, "planned_id": evidence.benchmark_id, "newer_id": newer.benchmark.benchmark_id}
        conversation = {"conversation_id": row.conversation_id, "conversation": row.conversation}
        raise PlanRefused("plan_outdated", facts | conversation)
