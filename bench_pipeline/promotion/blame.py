"""Why a conversation has its actor: the change that set it and its evidence, down to the calls. Only reads."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow
from bench_pipeline.storage import promotions
from bench_pipeline.storage.benchmarks import BenchmarkRow, benchmark
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.decisions import StoredDecision, decision_of
from bench_pipeline.storage.history import model_run_ids, stored_scoreboard
from bench_pipeline.storage.production import Conversation, Production
from bench_pipeline.storage.promotions import Validation
from bench_pipeline.storage.samples import samples_of


@dataclass(frozen=True, slots=True)
class Grounds:
    """The evidence of a change: its decision, the benchmark, the champion's result there and its calls."""

    decision: StoredDecision | None
    benchmark: BenchmarkRow
    result: ModelResult | None
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Blame:
    """A conversation's actor, and the change that set it.

    `change` is the last change that bench made, `row` its row for the conversation; both None if there is none.
    `by_us`: the conversation still has the actor of that change. `origin` is the promotion that first set the actor,
    which differs from `change` after rollbacks; `grounds` is the evidence of that promotion.
    """

    conversation: Conversation
    by_us: bool
    change: Promotion | None
    row: PromotionRow | None
    origin: Promotion | None
    grounds: Grounds | None
    validation: Validation | None


def blame(database: Database, production: Production, conversation_id: ConversationId) -> Blame:
    """Explain why a conversation has its actor. Raises `InputError` when there is no such conversation."""
    with database.engine.connect() as connection:
        found = production.conversations(connection, [conversation_id])
        if not found:
            raise InputError(f"there is no conversation {conversation_id}; list them with `bench plan --task TASK`")
        changes = [
            (one, row)
            for one in promotions.all_promotions(connection)
            for row in one.changed
            if row.conversation_id == conversation_id
        ]
        if not changes:
            return Blame(found[0], False, None, None, None, None, None)
        change, row = changes[-1]
        by_us = found[0].actor_id == row.new_actor_id
        origin = next(
            (pair for pair in reversed(changes) if pair[1].new_actor_id == row.new_actor_id and pair[1].benchmark_id),
            None,
        )
        return Blame(
            conversation=found[0],
            by_us=by_us,
            change=change,
            row=row,
            origin=origin[0] if origin else None,
            grounds=_grounds(connection, origin[0], origin[1], origin[1].benchmark_id) if origin else None,
            validation=promotions.last_validation(connection, origin[0].promotion_id) if origin else None,
        )


def _grounds(connection: Connection, origin: Promotion, row: PromotionRow, benchmark_id: str | None) -> Grounds | None:
    if benchmark_id is None:
        return None
    run = benchmark(connection, benchmark_id)
    scoreboard = stored_scoreboard(connection, benchmark_id)
    if run is None or scoreboard is None:
        return None
    result = next((one for one in scoreboard.results if one.actor_id == row.new_actor_id), None)
    number = model_run_ids(connection, benchmark_id).get(result.model) if result else None
    samples = samples_of(connection, [number])[number] if number is not None else []
    decision = decision_of(connection, origin.plan_hash, row.conversation_id)
    return Grounds(decision, run, result, tuple(samples))
