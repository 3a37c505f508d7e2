"""Gathers what the rules of a promotion look at, with a fixed number of queries. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, case, distinct, func, select

from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.promoting.facts import EvidenceNow, Facts, MeasuredActor, Observed, StoredPlan
from bench_pipeline.domain.promoting.plan import PlanEvidence
from bench_pipeline.domain.tasks.outcome import DISQUALIFYING, Outcome
from bench_pipeline.storage.plans import approvals_of, latest_freeze, requesters
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotions import promotion_by_id, promotion_by_plan
from bench_pipeline.storage.tables import benchmark_history, benchmark_model_runs, benchmark_runs, benchmark_samples


def gather_facts(
    connection: Connection,
    production: Production,
    stored: StoredPlan,
    now: datetime,
    observed: Iterable[Observed] | None = None,
) -> Facts:
    """Return the facts about a stored plan at `now`; `observed` is None where nobody looked at the runtimes."""
    plan = stored.plan
    wanted = {row.new_actor_id for row in plan.changes if row.new_actor_id is not None}
    return Facts(
        now=now,
        stored=stored,
        requesters=requesters(connection, stored.plan_hash),
        approvals=approvals_of(connection, stored.plan_hash),
        freeze=latest_freeze(connection),
        applied=promotion_by_plan(connection, stored.plan_hash),
        undone=promotion_by_id(connection, plan.undoes) if plan.undoes is not None else None,
        evidence=_evidence(connection, plan.evidence, wanted),
        actors=production.actors_now(connection, wanted),
        holders=production.holders(connection, [row.conversation_id for row in plan.changes]),
        observed=None if observed is None else {one.actor_id: one for one in observed},
    )


def _evidence(
    connection: Connection, evidence: Iterable[PlanEvidence], actor_ids: Iterable[ActorId]
) -> dict[PlanEvidence, EvidenceNow]:
    named = {(one.benchmark_id, one.task): one for one in evidence}
    c = benchmark_runs.c
    columns = c.benchmark_id, c.task_type, c.evidence_hash, c.invalid, c.task, c.suite
    query = select(*columns).where(c.benchmark_id.in_([benchmark_id for benchmark_id, _ in named]))
    measured = _measured(connection, [benchmark_id for benchmark_id, _ in named], actor_ids)
    return {
        named[benchmark_id, task_type]: EvidenceNow(
            evidence_hash=evidence_hash,
            invalid=invalid,
            conversations=frozenset(task["conversations"]),
            cases=len(suite["test_cases"]),
            actors=measured.get(benchmark_id, {}),
        )
        for benchmark_id, task_type, evidence_hash, invalid, task, suite in connection.execute(query)
        if (benchmark_id, task_type) in named
    }


def _measured(
    connection: Connection, benchmark_ids: Iterable[str], actor_ids: Iterable[ActorId]
) -> dict[str, dict[ActorId, MeasuredActor]]:
    h, r, s = benchmark_history.c, benchmark_model_runs.c, benchmark_samples.c
    line = h.standing, h.correctness_score, h.cases, h.cases_correct, r.started_at
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
    for benchmark_id, actor_id, standing, score, cases, correct, started_at, correct_cases, bad in rows:
        found.setdefault(benchmark_id, {})[actor_id] = MeasuredActor(
            standing=standing,
            correctness_score=score,
            cases=cases,
            cases_correct=correct,
            started_at=started_at,
            correct_cases=correct_cases,
            disqualified=bad > 0,
        )
    return found
