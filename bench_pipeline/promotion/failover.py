"""Switches a conversation from its champion to the runner-up. Undoing a change is in rollback.py."""

from __future__ import annotations

from datetime import UTC, datetime

from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.ranking import RankedBenchmark, read_ranked
from bench_pipeline.benchmark.task_keys import task_in_production
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import Bar, PlanEvidence, PlanKind, PlanRow, PromotionPlan, identity_hash
from bench_pipeline.promotion.plan import task_terms
from bench_pipeline.promotion.rollback import reversal_terms, store_and_apply
from bench_pipeline.storage.champions import champion


def fail_over(bench: Workbench, conversation_id: ConversationId, requested_by: str) -> Promotion:
    """Switch a conversation from its champion to the runner-up, while the benchmark of both is still valid.

    The champion is barred until something in its evidence changes, or until this is undone.
    Raises `InputError` when the conversation has no registered champion, `GateFailed` when it has no runner-up, and
    `PlanRefused` when the runner-up's evidence is no longer valid.
    """
    with bench.database.engine.connect() as connection:
        registered = champion(connection, conversation_id)
        names = {row.conversation_id: row.name for row in bench.production.conversations(connection, [conversation_id])}
        own_prompt = bench.production.own_prompt_hashes(connection, [conversation_id]).get(conversation_id)
    if registered is None:
        raise InputError(f"conversation {conversation_id} has no champion; `bench plan` shows the conversations")
    if registered.runner_up_actor_id is None:
        raise GateFailed(f"conversation {conversation_id} has no runner-up; run a new benchmark")
    ranked = read_ranked(bench.database, registered.benchmark_id)
    evidence = PlanEvidence(
        task=registered.task_type,
        benchmark_id=registered.benchmark_id,
        evidence_hash=hash_of_evidence(ranked.benchmark, ranked.scoreboard),
        task_terms=task_terms(
            task_in_production(bench, registered.task_type),
            ranked.benchmark.suite_hash,
            ranked.benchmark.prompt_hash,
        ),
    )
    row = _to_runner_up(registered, names.get(conversation_id, "unknown"), ranked)
    plan = PromotionPlan(
        kind=PlanKind.FAILOVER,
        bar=Bar.EVIDENCE,
        reason=f"requested by {requested_by} at {datetime.now(UTC).isoformat()}",
        evidence=(evidence,),
        terms=reversal_terms(bench, 1),
        rows=(row.model_copy(update={"own_prompt": own_prompt}),),
    )
    return store_and_apply(bench, plan, requested_by, None)


def _to_runner_up(registered: Champion, conversation: str, ranked: RankedBenchmark) -> PlanRow:
    results = {result.actor_id: result for result in ranked.scoreboard.results if result.actor_id is not None}
    champion_id, runner_up_id = registered.champion_actor_id, registered.runner_up_actor_id
    old, new = results.get(champion_id), results.get(runner_up_id) if runner_up_id is not None else None
    if new is None or new.model not in ranked.runs:
        raise GateFailed(f"benchmark {registered.benchmark_id} no longer contains the runner-up; run a new benchmark")
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
