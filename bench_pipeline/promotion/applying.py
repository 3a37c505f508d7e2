"""Applies a plan, or undoes a promotion: one transaction each, every row compared before it is set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from bench_pipeline.domain.actor import Actor
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.model_ref import UnknownExecutionPath, parse_execution_path
from bench_pipeline.domain.plan import PlanRow, PromotionPlan
from bench_pipeline.promotion.planning import hash_of_evidence
from bench_pipeline.storage import benchmarks, history, promotions
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotions import Promotion


class StalePlan(GateFailed):
    """The world is no longer the one that was planned for; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """What undoing a promotion did: conversations that got their actor back, and those that somebody changed."""

    promotion: Promotion
    restored: tuple[int, ...]
    left: tuple[int, ...]


def apply_plan(
    database: Database,
    production: Production,
    plan: PromotionPlan,
    requested_by: str,
    dagster_run_id: str | None = None,
) -> Promotion | None:
    """Change the rows of `plan`, all or none, and return the promotion; None when it changes no row.

    A plan that was applied before is returned as it is. Where the incumbent is the champion, only our own
    registry is brought up to date. Raises `StalePlan` when a row, an actor or the evidence is not what the
    plan says, and `GateFailed` when this very plan was undone.
    """
    now = datetime.now(UTC)
    with database.writing() as connection:
        if known := promotions.promotion_by_plan(connection, plan.hash):
            if known.status == promotions.ROLLED_BACK:
                raise GateFailed(
                    f"this plan was applied and undone ({known.rollback_reason}); run a new benchmark first"
                )
            _check_still_holds(connection, production, known)
            return known
        _check_evidence(connection, plan)
        actors = {actor.actor_id: actor for actor in production.actors(connection, (), ())}
        for row in plan.changes:
            _check_actor(row, actors)
            _change(connection, production, row)
        _verify(connection, production, plan)
        promotion_id = (
            promotions.insert_promotion(connection, plan, requested_by, dagster_run_id, now) if plan.changes else None
        )
        for row in plan.rows:
            if row.changes or row.confirms:
                promotions.register_champion(connection, plan, row, now)
        return promotions.promotion_by_id(connection, promotion_id) if promotion_id is not None else None


def _check_evidence(connection: Connection, plan: PromotionPlan) -> None:
    benchmark = benchmarks.benchmark(connection, plan.benchmark_id)
    scoreboard = history.stored_scoreboard(connection, plan.benchmark_id)
    if benchmark is None or scoreboard is None:
        raise StalePlan(f"benchmark {plan.benchmark_id}, which the plan rests on, is gone; make a new plan")
    if hash_of_evidence(benchmark, scoreboard) != plan.evidence_hash:
        raise StalePlan(f"benchmark {plan.benchmark_id} was ranked anew since the plan was made; make a new plan")


def _check_actor(row: PlanRow, actors: dict[int, Actor]) -> None:
    actor = actors.get(row.new_actor_id) if row.new_actor_id is not None else None
    if actor is None:
        raise StalePlan(f"actor {row.new_actor_id} ({row.new_actor}) is gone; make a new plan")
    if actor.exclusion is not None:
        raise StalePlan(f"actor {actor.name} is excluded now ({actor.exclusion}); make a new plan")
    try:
        same = parse_execution_path(actor.execution_path).execution_path == row.execution_path
    except UnknownExecutionPath:
        same = False
    if not same:
        raise StalePlan(f"actor {actor.name} is called by {actor.execution_path!r} now; benchmark it again")


def _change(connection: Connection, production: Production, row: PlanRow) -> None:
    if not production.set_actor(connection, row.conversation_id, row.old_actor_id, row.new_actor_id):
        raise StalePlan(
            f"conversation {row.conversation_id} ({row.conversation}) no longer holds actor "
            f"{row.old_actor_id} ({row.old_actor}), as the plan says; nothing was changed, make a new plan"
        )


def _verify(connection: Connection, production: Production, plan: PromotionPlan) -> None:
    if changed := _rows_that_differ(connection, production, plan):
        raise StalePlan(f"after the change {changed}; nothing was changed")


def _check_still_holds(connection: Connection, production: Production, promotion: Promotion) -> None:
    if changed := _rows_that_differ(connection, production, promotion.plan):
        raise StalePlan(
            f"this plan is promotion {promotion.promotion_id} already, and since then {changed}; "
            "run a new benchmark to plan from what production holds now"
        )


def _rows_that_differ(connection: Connection, production: Production, plan: PromotionPlan) -> str:
    wanted = {row.conversation_id: row.new_actor_id for row in plan.changes}
    held = {row.conversation_id: row.actor_id for row in production.conversations(connection, wanted)}
    return "; ".join(
        f"conversation {number} holds actor {held.get(number)}, not {actor}"
        for number, actor in wanted.items()
        if held.get(number) != actor
    )


def roll_back(
    database: Database, production: Production, reason: str, promotion_id: int | None = None, task: str | None = None
) -> Rollback:
    """Give every conversation that still holds its promoted actor the old one back; leave the others.

    Without `promotion_id` the last promotion (of `task`) is undone. Raises `InputError` when there is none,
    `GateFailed` when it was undone before.
    """
    with database.writing() as connection:
        promotion = (
            promotions.promotion_by_id(connection, promotion_id)
            if promotion_id is not None
            else promotions.latest_promotion(connection, task)
        )
        if promotion is None:
            raise InputError("there is no promotion to undo" + (f" with id {promotion_id}" if promotion_id else ""))
        if promotion.status == promotions.ROLLED_BACK:
            raise GateFailed(f"promotion {promotion.promotion_id} was undone already: {promotion.rollback_reason}")
        restored, left = [], []
        for row in promotion.plan.changes:
            if production.set_actor(connection, row.conversation_id, row.new_actor_id, row.old_actor_id):
                restored.append(row.conversation_id)
                before = promotions.old_champion(connection, promotion.promotion_id, row.conversation_id)
                promotions.restore_champion(connection, row.conversation_id, before)
            else:
                left.append(row.conversation_id)
        promotions.mark_rolled_back(connection, promotion.promotion_id, restored, reason, datetime.now(UTC))
    return Rollback(promotion, tuple(restored), tuple(left))
