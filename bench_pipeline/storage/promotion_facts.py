"""Gathers what the rules of a promotion look at, with a fixed number of queries. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, RowMapping, case, distinct, func, select

from bench_pipeline.domain.measuring.benchmark import Purpose, RunStatus
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.promoting.facts import (
    EvidenceNow,
    Facts,
    MeasuredActor,
    NewerBenchmark,
    NewerLine,
    Observed,
    StoredPlan,
)
from bench_pipeline.domain.promoting.plan import PlanEvidence, PromotionPlan
from bench_pipeline.domain.tasks.outcome import DISQUALIFYING, Outcome
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.plans import approvals_of, latest_freeze, recorded_task_terms, requesters
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotions import promotion_by_id, promotion_by_plan, read_bars
from bench_pipeline.storage.tables import benchmark_history, benchmark_model_runs, benchmark_runs, benchmark_samples


def gather_facts(
    connection: Connection,
    production: Production,
    stored: StoredPlan,
    now: datetime,
    observed: Iterable[Observed] | None = None,
) -> Facts:
    """Return the facts about a stored plan at `now`; `observed` is None when the runtimes were not asked."""
    plan = stored.plan
    wanted = {row.new_actor_id for row in plan.changes if row.new_actor_id is not None}
    served = [row.conversation_id for row in plan.changes]
    return Facts(
        now=now,
        stored=stored,
        requesters=requesters(connection, stored.plan_hash),
        approvals=approvals_of(connection, stored.plan_hash),
        freeze=latest_freeze(connection),
        applied=promotion_by_plan(connection, stored.plan_hash),
        undone=promotion_by_id(connection, plan.undoes) if plan.undoes is not None else None,
        evidence=_evidence(connection, plan),
        actors=production.actors_now(connection, wanted),
        holders=production.holders(connection, served),
        own_prompts=production.own_prompt_hashes(connection, served),
        schema_hash=production.live_schema_hash(connection),
        task_terms=recorded_task_terms(connection, [one.task for one in plan.evidence]),
        bars=read_bars(connection, [one.benchmark_id for one in plan.evidence]),
        registry={row.conversation_id: row for row in all_champions(connection)},
        observed=None if observed is None else {one.actor_id: one for one in observed},
    )


def _evidence(connection: Connection, plan: PromotionPlan) -> dict[PlanEvidence, EvidenceNow]:
    named = {(one.benchmark_id, one.task): one for one in plan.evidence}
    ids = [benchmark_id for benchmark_id, _ in named]
    actors = {actor_id for row in plan.rows for actor_id in (row.new_actor_id, row.runner_up_actor_id)}
    measured = _measured(connection, ids, {actor_id for actor_id in actors if actor_id is not None})
    rows = connection.execute(select(benchmark_runs).where(benchmark_runs.c.benchmark_id.in_(ids))).mappings()
    return {
        named[row["benchmark_id"], row["task_type"]]: EvidenceNow(
            evidence_hash=row["evidence_hash"],
            invalid=row["invalid"],
            suite_hash=row["suite_hash"],
            prompt_hash=row["prompt_hash"],
            conversations=frozenset(row["task"]["conversations"]),
            cases=len(row["suite"]["test_cases"]),
            actors=measured.get(row["benchmark_id"], {}),
            newer=_newer(connection, row),
        )
        for row in rows
        if (row["benchmark_id"], row["task_type"]) in named
    }


def _newer(connection: Connection, than: RowMapping) -> tuple[NewerBenchmark, ...]:
    """Return the later benchmarks of a task with the same suite and prompt, finished and valid, latest first."""
    b, h = benchmark_runs.c, benchmark_history.c
    same = [b[name] == than[name] for name in ("task_type", "suite_hash", "prompt_hash")]
    query = (
        select(b.benchmark_id, b.protocol_hash, h.actor_id, h.standing, h.rank, h.latency_ms, h.final_passes)
        .join_from(benchmark_runs, benchmark_history, h.benchmark_run_id == b.benchmark_id)
        .where(*same, b.purpose == Purpose.BENCHMARK, b.status == RunStatus.FINISHED, b.invalid.is_(None))
        .where(b.started_at > than["started_at"], h.actor_id.is_not(None))
        .order_by(b.started_at.desc(), b.benchmark_id)
    )
    found: dict[str, tuple[bool, dict[ActorId, NewerLine]]] = {}
    for benchmark_id, protocol_hash, actor_id, standing, rank, latency_ms, final_passes in connection.execute(query):
        _, lines = found.setdefault(benchmark_id, (protocol_hash == than["protocol_hash"], {}))
        lines[actor_id] = NewerLine(standing, rank, latency_ms, final_passes > 0)
    return tuple(NewerBenchmark(benchmark_id, same, lines) for benchmark_id, (same, lines) in found.items())


def _measured(
    connection: Connection, benchmark_ids: Iterable[str], actor_ids: Iterable[ActorId]
) -> dict[str, dict[ActorId, MeasuredActor]]:
    h, r, s = benchmark_history.c, benchmark_model_runs.c, benchmark_samples.c
    line = h.standing, h.correctness_score, h.cases, h.cases_correct, r.started_at, h.latency_ms
    query = (
        select(
            h.benchmark_run_id,
            h.actor_id,
            *line,
            func.count(distinct(case((s.outcome == Outcome.CORRECT.value, s.case_id)))),
            func.count(case((s.outcome.in_([outcome.value for outcome in DISQUALIFYING]), 1))),
        )
        .join_from(benchmark_history, benchmark_model_runs, r.model_run_id == h.model_run_id)
        .outerjoin(benchmark_samples, s.model_run_id == h.model_run_id)
        .where(h.benchmark_run_id.in_(list(benchmark_ids)), h.actor_id.in_(list(actor_ids)))
        .group_by(h.benchmark_run_id, h.model, h.actor_id, *line)
    )
    rows = connection.execute(query)
    found: dict[str, dict[ActorId, MeasuredActor]] = {}
    for benchmark_id, actor_id, standing, score, cases, correct, started_at, latency_ms, correct_cases, bad in rows:
        found.setdefault(benchmark_id, {})[actor_id] = MeasuredActor(
            standing=standing,
            correctness_score=score,
            cases=cases,
            cases_correct=correct,
            started_at=started_at,
            correct_cases=correct_cases,
            disqualified=bad > 0,
            latency_ms=latency_ms,
        )
    return found
