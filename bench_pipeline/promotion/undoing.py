"""The ways back: a change undone row by row, and a conversation handed to its runner-up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.ranking import RankedBenchmark, read_ranked
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.plan import (
    Approval,
    Bar,
    PlanEvidence,
    PlanKind,
    PlanRow,
    PlanTerms,
    PromotionPlan,
    identity_hash,
)
from bench_pipeline.promotion.applying import apply_plan
from bench_pipeline.promotion.planning import terms_of
from bench_pipeline.promotion.promoter import Promoter
from bench_pipeline.storage import promotions
from bench_pipeline.storage.champions import Champion, champion
from bench_pipeline.storage.plans import insert_plan
from bench_pipeline.storage.promotions import Promotion, PromotionRow


@dataclass(frozen=True, slots=True)
class Rollback:
    """What an undoing did: the conversations that got their actor back, and those that it left alone."""

    promotion: Promotion
    undone: Promotion
    restored: tuple[PromotionRow, ...]
    left: tuple[PromotionRow, ...]


def roll_back(
    promoter: Promoter,
    reason: str,
    requested_by: str,
    promotion_id: int | None = None,
    task: str | None = None,
    bar: Bar | None = Bar.EVIDENCE,
    dagster_run_id: str | None = None,
) -> Rollback:
    """Give every conversation that still holds what a change gave it the actor from before; leave the others.

    Without `promotion_id` the last promotion (of `task`) is undone. An undoing is a change like any other, and can be
    undone. `bar` says how long what it took back stays out. Raises `InputError` when there is no such change,
    `GateFailed` when it was undone before.
    """
    with promoter.database.engine.connect() as connection:
        undone = _to_undo(connection, promotion_id, task)
    rows = tuple(_back(row, reason) for row in undone.changed)
    if not rows:
        raise GateFailed(f"promotion {undone.promotion_id} changed nothing; there is nothing to undo")
    plan = PromotionPlan(
        kind=PlanKind.ROLLBACK,
        undoes=undone.promotion_id,
        bar=bar if undone.forward and undone.kind is not PlanKind.FAILOVER else None,
        reason=reason,
        evidence=(),
        terms=_terms(promoter, len(rows)),
        rows=rows,
    )
    made = _store_and_apply(promoter, plan, requested_by, dagster_run_id)
    return Rollback(
        made, undone, tuple(row for row in made.rows if row.changed), tuple(row for row in made.rows if not row.changed)
    )


def _to_undo(connection: Connection, promotion_id: int | None, task: str | None) -> Promotion:
    changes = promotions.all_promotions(connection)  # once: between two looks another rollback may come
    if promotion_id is None:
        found = promotions.latest_of(changes, task)
    else:
        found = next((one for one in changes if one.promotion_id == promotion_id), None)
    if found is None:
        raise InputError("there is no promotion to undo" + (f" with id {promotion_id}" if promotion_id else ""))
    if not found.in_force:
        raise GateFailed(
            f"promotion {found.promotion_id} was undone already: {found.undone_because}; "
            f"`bench rollback {found.undone_by}` takes that back"
        )
    return promotions.last_link(changes, found.promotion_id)


def _back(row: PromotionRow, reason: str) -> PlanRow:
    return PlanRow(
        task=row.task,
        conversation_id=row.conversation_id,
        conversation=row.conversation,
        decision=None,
        reason=reason,
        old_actor_id=row.new_actor_id,
        old_actor=row.new_actor,
        new_actor_id=row.old_actor_id,
        new_actor=row.old_actor,
    )


def fail_over(promoter: Promoter, conversation_id: int, requested_by: str) -> Promotion:
    """Hand a conversation from its champion to the runner-up, while the benchmark of both is still valid.

    The champion stays out of it until something in its evidence changes, or this is undone.
    Raises `InputError` when the conversation has no champion of ours, `GateFailed` when it has no runner-up, and
    `PlanRefused` when the runner-up's evidence does not hold any more.
    """
    with promoter.database.engine.connect() as connection:
        registered = champion(connection, conversation_id)
        names = {row.conversation_id: row.name for row in promoter.production.conversations(connection)}
    if registered is None:
        raise InputError(f"conversation {conversation_id} has no champion; `bench plan` shows the conversations")
    if registered.runner_up_actor_id is None:
        raise GateFailed(f"conversation {conversation_id} has no runner-up; run a new benchmark")
    ranked = read_ranked(promoter.database, registered.benchmark_id)
    evidence = PlanEvidence(
        task=registered.task_type,
        benchmark_id=registered.benchmark_id,
        evidence_hash=hash_of_evidence(ranked.benchmark, ranked.scoreboard),
    )
    plan = PromotionPlan(
        kind=PlanKind.FAILOVER,
        bar=Bar.EVIDENCE,
        reason=f"asked for by {requested_by} at {datetime.now(UTC).isoformat()}",
        evidence=(evidence,),
        terms=_terms(promoter, 1),
        rows=(_to_runner_up(registered, names.get(conversation_id, "unknown"), ranked),),
    )
    return _store_and_apply(promoter, plan, requested_by, None)


def _to_runner_up(registered: Champion, conversation: str, ranked: RankedBenchmark) -> PlanRow:
    results = {result.actor_id: result for result in ranked.scoreboard.results if result.actor_id is not None}
    champion_id, runner_up_id = registered.champion_actor_id, registered.runner_up_actor_id
    old, new = results.get(champion_id), results.get(runner_up_id) if runner_up_id is not None else None
    if new is None or new.model not in ranked.runs:
        raise GateFailed(f"benchmark {registered.benchmark_id} does not tell of the runner-up any more; benchmark anew")
    run = ranked.runs[new.model]
    return PlanRow(
        task=registered.task_type,
        conversation_id=registered.conversation_id,
        conversation=conversation,
        decision=None,
        reason="the champion is replaced by the runner-up",
        old_actor_id=registered.champion_actor_id,
        old_actor=old.model if old else None,
        new_actor_id=new.actor_id,
        new_actor=new.model,
        execution_path=run.ref.execution_path,
        identity_hash=identity_hash(run.identity),
        avg_latency_ms=new.avg_latency_ms,
    )


def _terms(promoter: Promoter, rows: int) -> PlanTerms:
    """Ways back wait for nobody's approval and are as large as what they undo."""
    return terms_of(promoter.settings, rows, Approval.AUTO, promoter.production.schema_hash(promoter.database))


def _store_and_apply(
    promoter: Promoter, plan: PromotionPlan, requested_by: str, dagster_run_id: str | None
) -> Promotion:
    with promoter.database.writing() as connection:
        insert_plan(connection, plan, requested_by, datetime.now(UTC))
    made = apply_plan(promoter, plan.hash, requested_by, dagster_run_id)
    assert made is not None  # noqa: S101 - the plan changes a row, so it is a promotion or was refused
    return made
