"""Applies a stored plan: checks what needs no lock, then calls the writer, which decides under its locks.

The writer's rules are in domain/promoting/rules.py and, for PostgreSQL, in its function.
"""

from __future__ import annotations

from sqlalchemy import Connection

from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.fitness import newer_fit_benchmark
from bench_pipeline.benchmark.incumbents import other_prompts
from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.fitness import outdated_row
from bench_pipeline.domain.promoting.plan import PlanEvidence, PlanKind, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.observation import observe
from bench_pipeline.promotion.plan import make_plan
from bench_pipeline.promotion.validation_hook import check_hook
from bench_pipeline.storage import benchmarks, history
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.plans import plan_by_hash
from bench_pipeline.storage.promotions import promotion_by_id, promotion_by_plan, read_bars


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
    promotion_id = bench.writer.apply(plan_hash, requested_by, dagster_run_id, observed)
    if promotion_id is None:
        return None
    with bench.database.engine.connect() as connection:
        return promotion_by_id(connection, promotion_id)


def _check_without_locks(bench: Workbench, plan: PromotionPlan) -> list[Observed]:
    if bench.production.schema_hash(bench.database) != plan.terms.schema_hash:
        raise PlanRefused("schema_changed", {})
    if plan.kind is PlanKind.ROLLBACK:
        return []
    if bench.settings.validation_hook is not None:
        check_hook(bench.settings.validation_hook)  # do not start a promotion that could not be validated
    _check_listed(bench, plan)
    with bench.database.engine.connect() as connection:
        for evidence in plan.evidence:
            benchmark = _check_evidence(connection, evidence)
            _check_prompts(connection, bench, plan, benchmark)
        _check_bars(connection, plan)
    if plan.kind is PlanKind.PROMOTION:
        for evidence in plan.evidence:
            _check_not_outdated(bench, plan, evidence)
    return observe(bench, plan)


def _check_listed(bench: Workbench, plan: PromotionPlan) -> None:
    """Check against the allow-list in task.yaml as it is now; the writer checks against the one that was measured."""
    listed = {one.task: frozenset(read_task(bench.settings, one.task).conversations) for one in plan.evidence}
    for row in plan.changes:
        if row.conversation_id not in listed.get(row.task, ()):
            facts = {"conversation_id": row.conversation_id, "conversation": row.conversation, "task": row.task}
            raise PlanRefused("not_listed", facts)


def _check_evidence(connection: Connection, evidence: PlanEvidence) -> BenchmarkRow:
    """Check that the whole stored scoreboard is unchanged; the writer compares only the outcome of its ranking."""
    benchmark = benchmarks.benchmark(connection, evidence.benchmark_id)
    scoreboard = history.stored_scoreboard(connection, evidence.benchmark_id)
    if benchmark is None or scoreboard is None:
        raise PlanRefused("evidence_gone", {"benchmark_id": evidence.benchmark_id})
    if hash_of_evidence(benchmark, scoreboard) != evidence.evidence_hash:
        raise PlanRefused("evidence_changed", {"benchmark_id": evidence.benchmark_id})
    return benchmark


def _check_prompts(connection: Connection, bench: Workbench, plan: PromotionPlan, benchmark: BenchmarkRow) -> None:
    """Refuse a conversation whose prompt is no longer the one that was measured."""
    rows = {row.conversation_id: row for row in plan.changes if row.task == benchmark.task_type}
    changed = other_prompts(benchmark, bench.production.prompts_of(connection, rows))
    for number in rows:
        if number in changed:
            facts = {"conversation_id": number, "conversation": rows[number].conversation}
            raise PlanRefused("prompt_changed", facts)


def _check_not_outdated(bench: Workbench, plan: PromotionPlan, evidence: PlanEvidence) -> None:
    """Refuse the plan only if a newer benchmark is fit for production and decides differently."""
    newer = newer_fit_benchmark(bench, evidence.task, evidence.benchmark_id)
    if newer is None:
        return
    planned = [row for row in plan.rows if row.task == evidence.task]
    decided = make_plan(bench, [newer], [read_task(bench.settings, evidence.task)]).plan
    if (row := outdated_row(planned, decided.rows, newer.actor_ids)) is not None:
        facts = {"task": evidence.task, "planned_id": evidence.benchmark_id, "newer_id": newer.benchmark.benchmark_id}
        conversation = {"conversation_id": row.conversation_id, "conversation": row.conversation}
        raise PlanRefused("plan_outdated", facts | conversation)


def _check_bars(connection: Connection, plan: PromotionPlan) -> None:
    """Refuse to restore what was undone after the plan was made."""
    bars = read_bars(connection, [evidence.benchmark_id for evidence in plan.evidence])
    for row in plan.changes:
        evidence = plan.evidence_of(row.task)
        bar = bars.on(row, evidence) if evidence else None
        if bar is not None:
            facts = {"actor": row.new_actor, "conversation_id": row.conversation_id, "why": bar.removal}
            raise PlanRefused("barred", facts | {"promotion_id": bar.promotion_id})
