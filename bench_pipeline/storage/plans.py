"""Plans, their approvals, and freezes as rows. Rows are only ever added."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, Select, insert, select, text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.approval import Approval, Freeze
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.storage.database import lock_key
from bench_pipeline.storage.tables import approvals, freezes, plans

MIN_PREFIX = 8


def insert_plan(connection: Connection, plan: PromotionPlan, requested_by: str, at: datetime) -> None:
    """Store a plan, so that exactly what was shown can be applied."""
    connection.execute(
        insert(plans).values(
            plan_hash=plan.hash,
            kind=plan.kind.value,
            terms_hash=plan.terms_hash,
            tasks=plan.tasks,
            document=plan.document,
            requested_by=requested_by,
            made_at=at,
        )
    )


def latest_plan(connection: Connection, task: str) -> StoredPlan | None:
    """Return the last plan that a benchmark gave for this task alone, or None."""
    query = _plans().where(plans.c.tasks == task, plans.c.kind == "promotion").limit(1)
    row = connection.execute(query).first()
    return StoredPlan(*row) if row else None


def plan_by_hash(connection: Connection, beginning: str) -> StoredPlan | None:
    """Return the plan whose hash has this prefix, as stored last. Raises `InputError` when several have it."""
    if len(beginning) < MIN_PREFIX or not set(beginning) <= set("0123456789abcdef"):
        raise InputError(f"{beginning!r} is not the hash of a plan; give its first {MIN_PREFIX} or more characters")
    found = [StoredPlan(*row) for row in connection.execute(_plans().where(plans.c.plan_hash.startswith(beginning)))]
    if len({plan.plan_hash for plan in found}) > 1:
        raise InputError(f"several plans begin with {beginning}; give more of the hash")
    return found[0] if found else None


def all_plans(connection: Connection) -> list[StoredPlan]:
    """Return every plan that was stored, latest first."""
    return [StoredPlan(*row) for row in connection.execute(_plans())]


def requesters(connection: Connection, plan_hash: str) -> frozenset[str]:
    """Return all accounts that requested this plan."""
    return frozenset(connection.scalars(select(plans.c.requested_by).where(plans.c.plan_hash == plan_hash)))


def insert_approval(connection: Connection, plan_hash: str, approved_by: str, at: datetime) -> None:
    """Store an approval of a plan."""
    connection.execute(
        insert(approvals).values(
            plan_hash=plan_hash, approved_by=approved_by, database_role=_login(connection), approved_at=at
        )
    )


def approvals_of(connection: Connection, plan_hash: str) -> list[Approval]:
    """Return the approvals of a plan, latest first."""
    c = approvals.c
    query = select(c.approved_by, c.approved_at).where(c.plan_hash == plan_hash)
    return [Approval(*row) for row in connection.execute(query.order_by(c.approval_id.desc()))]


def insert_freeze(connection: Connection, freeze: Freeze) -> None:
    """Freeze all promotions, or thaw them. In PostgreSQL a promotion in progress ends first; the next one sees it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key("promotion")})
    connection.execute(insert(freezes).values(asdict(freeze) | {"database_role": _login(connection)}))


def latest_freeze(connection: Connection) -> Freeze | None:
    """Return the latest freeze or thaw, or None."""
    c = freezes.c
    row = connection.execute(
        select(c.frozen, c.reason, c.set_by, c.set_at).order_by(c.freeze_id.desc()).limit(1)
    ).first()
    return Freeze(*row) if row else None


def _plans() -> Select[str, str, str, datetime]:
    c = plans.c
    return select(c.plan_hash, c.document, c.requested_by, c.made_at).order_by(c.plan_id.desc())


def _login(connection: Connection) -> str | None:
    return connection.scalar(text("SELECT session_user")) if connection.dialect.name == "postgresql" else None
