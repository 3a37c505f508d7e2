"""Plans and their approvals as rows, and the switch that stops all promotions. Rows are only ever added."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, insert, select, text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.approval import Approval
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.storage.tables import approvals, freezes, plans

MIN_PREFIX = 8


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan as it was stored, for whom and when. One that is stored again counts from then on."""

    plan_hash: str
    document: str
    requested_by: str
    made_at: datetime

    @property
    def plan(self) -> PromotionPlan:
        """The plan itself."""
        return PromotionPlan.model_validate_json(self.document)

    @property
    def intact(self) -> bool:
        """Whether the document is what the hash was made of."""
        return hashlib.sha256(self.document.encode()).hexdigest() == self.plan_hash


@dataclass(frozen=True, slots=True)
class Freeze:
    """The last word on whether promotions are stopped."""

    frozen: bool
    reason: str
    set_by: str
    set_at: datetime


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
    """Return the last plan that was made for this task alone by a benchmark, or None."""
    query = _plans().where(plans.c.tasks == task, plans.c.kind == "promotion").limit(1)
    row = connection.execute(query).first()
    return StoredPlan(*row) if row else None


def plan_by_hash(connection: Connection, beginning: str) -> StoredPlan | None:
    """Return the plan whose hash begins so, as it was stored last. Raises `InputError` when several do."""
    if len(beginning) < MIN_PREFIX or not set(beginning) <= set("0123456789abcdef"):
        raise InputError(f"{beginning!r} is no plan; give the first {MIN_PREFIX} or more characters of its hash")
    found = [StoredPlan(*row) for row in connection.execute(_plans().where(plans.c.plan_hash.startswith(beginning)))]
    if len({plan.plan_hash for plan in found}) > 1:
        raise InputError(f"several plans begin with {beginning}; give more of the hash")
    return found[0] if found else None


def all_plans(connection: Connection) -> list[StoredPlan]:
    """Return every plan that was stored, latest first."""
    return [StoredPlan(*row) for row in connection.execute(_plans())]


def requesters(connection: Connection, plan_hash: str) -> frozenset[str]:
    """Return everybody who asked for this plan."""
    return frozenset(connection.scalars(select(plans.c.requested_by).where(plans.c.plan_hash == plan_hash)))


def insert_approval(connection: Connection, plan_hash: str, approved_by: str, at: datetime) -> None:
    """Store that somebody agrees to a plan."""
    connection.execute(
        insert(approvals).values(
            plan_hash=plan_hash, approved_by=approved_by, database_role=_login(connection), approved_at=at
        )
    )


def approvals_of(connection: Connection, plan_hash: str) -> list[Approval]:
    """Return who agreed to a plan, latest first."""
    c = approvals.c
    query = select(c.approved_by, c.approved_at).where(c.plan_hash == plan_hash)
    return [Approval(*row) for row in connection.execute(query.order_by(c.approval_id.desc()))]


def insert_freeze(connection: Connection, frozen: bool, reason: str, set_by: str, at: datetime) -> None:
    """Stop all promotions, or let them go on."""
    connection.execute(
        insert(freezes).values(frozen=frozen, reason=reason, set_by=set_by, database_role=_login(connection), set_at=at)
    )


def latest_freeze(connection: Connection) -> Freeze | None:
    """Return the last word on whether promotions are stopped, or None when none was said."""
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
