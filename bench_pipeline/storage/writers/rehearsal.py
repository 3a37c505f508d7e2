"""A promotion that is rolled back: whether this database lets the pipeline change an actor, found out by trying.

The plan undoes a promotion that is made up in the same transaction, so it needs neither a benchmark nor an approval.
Nothing of it is committed; what triggers do outside the database, and numbers taken from a sequence, do not come back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.plan import ApprovalMode, PlanKind, PlanRow, PlanTerms, PromotionPlan
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.inspection.inspected import inspected
from bench_pipeline.storage.inspection.triggers import triggers_of
from bench_pipeline.storage.plans import insert_plan
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotions import insert_promotion, promotion_by_plan
from bench_pipeline.storage.writers import postgresql, sqlite
from bench_pipeline.storage.writers.installation import Roles

_BY = "bench db rehearse"
_TASK = "rehearsal"
_TERMS = PlanTerms(
    min_gain=0,
    max_rows=1,
    evidence_days=1,
    plan_hours=1,
    approval=ApprovalMode.AUTO,
    approval_hours=1,
    second_person=False,
    schema_hash="",
)
_SQLITE_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table ORDER BY name"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The change to try: a conversation, the actor that it holds, and the one that it gets for a moment."""

    conversation_id: ConversationId
    conversation: str
    old_actor_id: ActorId
    old_actor: str
    new_actor_id: ActorId
    new_actor: str
    triggers: tuple[str, ...]
    """The application's triggers on conversations, which run."""


def prepare_rehearsal(
    database: Database, production: Production, roles: Roles, preferred: Collection[ConversationId]
) -> Rehearsal:
    """Choose the change to try, in one of the `preferred` conversations if production has one. Changes nothing.

    Raises `InputError` when this login does not own conversations, or there is nothing to change.
    """
    with database.engine.connect() as connection:
        held = [one for one in production.conversations(connection) if one.actor_id is not None]
        chosen = next((one for one in held if one.conversation_id in preferred), held[0] if held else None)
        models = [actor for actor in production.actors(connection, (), ()) if actor.exclusion is None]
        other = next((actor for actor in models if chosen is None or actor.actor_id != chosen.actor_id), None)
        triggers = _triggers(connection, production, roles)
    if chosen is None or chosen.actor_id is None or other is None:
        raise InputError(
            f"{database.name}: a rehearsal needs a conversation with an actor, and another ai_model that is "
            "enabled; add one"
        )
    return Rehearsal(
        conversation_id=chosen.conversation_id,
        conversation=chosen.name,
        old_actor_id=chosen.actor_id,
        old_actor=chosen.actor_name or "unknown",
        new_actor_id=other.actor_id,
        new_actor=other.name,
        triggers=triggers,
    )


def _triggers(connection: Connection, production: Production, roles: Roles) -> tuple[str, ...]:
    if connection.dialect.name == "sqlite":
        table = production.table("conversations").name
        return tuple(connection.scalars(text(_SQLITE_TRIGGERS), {"table": table}))
    seen = inspected(connection, production, roles.recorder, roles.promoter)
    login = "SELECT pg_has_role(session_user, CAST(:owner AS name), 'USAGE')"
    if not seen.value(login, owner=seen.owner):
        raise InputError(
            f"only the owner of conversations can rehearse; set BENCH_OWNER_URL to the login of {seen.owner}"
        )
    return tuple(triggers_of(seen))


def rehearse(database: Database, production: Production, rehearsal: Rehearsal) -> None:
    """Make the change by the real writer, look at it, and roll it back.

    Raises `GateFailed` when the database refuses it, when it has no effect, and when something of it stayed.
    """
    engine = database.engine
    on_postgresql = engine.dialect.name == "postgresql"
    try:
        with _rolled_back(engine) as connection:
            plan_hash = _store(connection, production, rehearsal)
            if on_postgresql:
                values = {"plan": plan_hash, "by": _BY, "run": None, "observed": "[]"}
                postgresql.call_function(connection, engine, values)
            else:
                sqlite.attempt(connection, production, plan_hash, []).run(_BY, None)
            after = _held(connection, production, rehearsal)
    except DBAPIError as error:
        raise (postgresql.told(error) if on_postgresql else sqlite.told(error)) from None
    with engine.connect() as connection:
        stayed = promotion_by_plan(connection, plan_hash) is not None
        if stayed or _held(connection, production, rehearsal) != [rehearsal.old_actor_id]:
            raise GateFailed(
                f"the rehearsal was rolled back, but conversation {rehearsal.conversation_id} no longer holds actor "
                f"{rehearsal.old_actor_id}; find out who changed it in the meantime: `bench blame "
                f"{rehearsal.conversation_id}`"
            )
    if after != [rehearsal.new_actor_id]:
        number, old = rehearsal.conversation_id, rehearsal.old_actor_id
        raise GateFailed(f"conversation {number} no longer held actor {old}; run `bench db rehearse` again")


@contextmanager
def _rolled_back(engine: Engine) -> Iterator[Connection]:
    postgresql_options = {"isolation_level": "READ COMMITTED", "as_owner": True}
    options = postgresql_options if engine.dialect.name == "postgresql" else {"immediate": True}
    with engine.connect().execution_options(**options) as connection:
        transaction = connection.begin()
        try:
            yield connection
        finally:
            transaction.rollback()


def _held(connection: Connection, production: Production, rehearsal: Rehearsal) -> list[ActorId | None]:
    number = rehearsal.conversation_id
    return production.holders(connection, [number]).get(number, [])


def _store(connection: Connection, production: Production, rehearsal: Rehearsal) -> str:
    """Make up a promotion that gave the conversation its actor, and store the plan that undoes it; return its hash."""
    now = datetime.now(UTC)
    terms = _TERMS.model_copy(update={"schema_hash": production.live_schema_hash(connection)})
    made_up = PromotionPlan(evidence=(), terms=terms, reason=f"rehearsal at {now.isoformat()}", rows=())
    head = {
        "kind": made_up.kind.value,
        "plan_hash": made_up.hash,
        "terms_hash": made_up.terms_hash,
        "plan": made_up.model_dump(mode="json"),
        "reason": made_up.reason,
        "requested_by": _BY,
        "applied_at": now,
    }
    line = {
        "conversation_id": rehearsal.conversation_id,
        "task_type": _TASK,
        "conversation": rehearsal.conversation,
        "old_actor_id": rehearsal.new_actor_id,
        "old_actor": rehearsal.new_actor,
        "new_actor_id": rehearsal.old_actor_id,
        "new_actor": rehearsal.old_actor,
        "reason": made_up.reason,
        "changed": True,
    }
    undone = insert_promotion(connection, head, [line])
    plan = PromotionPlan(
        kind=PlanKind.ROLLBACK, undoes=undone, reason=made_up.reason, evidence=(), terms=terms, rows=(_row(rehearsal),)
    )
    insert_plan(connection, plan, _BY, now)
    return plan.hash


def _row(rehearsal: Rehearsal) -> PlanRow:
    return PlanRow(
        task=_TASK,
        conversation_id=rehearsal.conversation_id,
        conversation=rehearsal.conversation,
        decision=None,
        reason=_TASK,
        old_actor_id=rehearsal.old_actor_id,
        old_actor=rehearsal.old_actor,
        new_actor_id=rehearsal.new_actor_id,
        new_actor=rehearsal.new_actor,
    )
