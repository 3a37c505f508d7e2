"""Plans, their approvals, freezes, and what tasks allow, as rows. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, Select, column, func, insert, literal_column, select, table, text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.approval import Approval, Freeze
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import PromotionPlan, TaskTerms
from bench_pipeline.storage.tables import approvals, freezes, plans, promotions, task_terms

MIN_PREFIX = 8
_FREEZE = freezes.c.frozen, freezes.c.reason, freezes.c.set_by, freezes.c.account, freezes.c.set_at


def insert_plan(connection: Connection, plan: PromotionPlan, account: str, at: datetime) -> None:
    """Store a plan, so that exactly what was shown can be applied. PostgreSQL itself writes login and moment."""
    connection.execute(
        insert(plans).values(
            plan_hash=plan.hash,
            kind=plan.kind.value,
            terms_hash=plan.terms_hash,
            tasks=plan.tasks,
            document=plan.document,
            requested_by=account,
            account=account,
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
    """Return every plan that was stored, latest first, without those that are incomplete: they are never applied."""
    return [plan for row in connection.execute(_plans()) if (plan := StoredPlan(*row)).complete]


def open_plans(connection: Connection, since: datetime) -> list[StoredPlan]:
    """Return the last plan of each kind and set of tasks, if it was made after this moment and is not applied."""
    latest = select(func.max(plans.c.plan_id)).where(plans.c.made_at > since).group_by(plans.c.kind, plans.c.tasks)
    query = _plans().where(plans.c.plan_id.in_(latest), plans.c.plan_hash.not_in(select(promotions.c.plan_hash)))
    return [plan for row in connection.execute(query) if (plan := StoredPlan(*row)).complete]


def requesters(connection: Connection, plan_hash: str) -> frozenset[str]:
    """Return all accounts that requested this plan."""
    return frozenset(connection.scalars(select(plans.c.requested_by).where(plans.c.plan_hash == plan_hash)))


def accounts_of_requesters(connection: Connection, plan_hash: str) -> frozenset[str | None]:
    """Return the accounts that those who requested this plan named."""
    return frozenset(connection.scalars(select(plans.c.account).where(plans.c.plan_hash == plan_hash)))


def insert_approval(connection: Connection, plan_hash: str, account: str, at: datetime) -> Approval:
    """Store an approval of a plan and return it as stored. PostgreSQL itself writes the login and the moment."""
    c = approvals.c
    values = {"plan_hash": plan_hash, "approved_by": account, "account": account, "approved_at": at}
    stored = insert(approvals).values(values).returning(c.approved_by, c.account, c.approved_at)
    return Approval(*connection.execute(stored).one())


def signing_login(connection: Connection, account: str) -> str:
    """Return whom the database takes for the author of a row: the login, in SQLite the account."""
    if connection.dialect.name == "sqlite":
        return account
    return str(connection.scalar(text("SELECT session_user")))


def possible_approvers(connection: Connection, plan_hash: str) -> list[str]:
    """Return the logins that may approve a plan which they did not request; empty in SQLite, which has none."""
    if connection.dialect.name == "sqlite":
        return []
    # `bench db install` grants the same rights on plans and on approvals.
    oid = select(literal_column("tableoid")).select_from(plans).limit(1).scalar_subquery()
    roles = table("pg_roles", column("oid"), column("rolname"), column("rolcanlogin"), column("rolsuper"))
    may_write = func.has_table_privilege(roles.c.oid, oid, "INSERT")
    query = select(roles.c.rolname).where(roles.c.rolcanlogin, ~roles.c.rolsuper, may_write).order_by(roles.c.rolname)
    asked = requesters(connection, plan_hash)
    return [name for name in connection.scalars(query) if name not in asked]


def approvals_of(connection: Connection, plan_hash: str) -> list[Approval]:
    """Return the approvals of a plan, latest first."""
    c = approvals.c
    query = select(c.approved_by, c.account, c.approved_at).where(c.plan_hash == plan_hash)
    return [Approval(*row) for row in connection.execute(query.order_by(c.approval_id.desc()))]


def insert_freeze(connection: Connection, frozen: bool, reason: str, account: str, at: datetime) -> Freeze:
    """Freeze all promotions, or thaw them, and return it as stored.

    In PostgreSQL a promotion in progress ends first, because it keeps this table from being written; the next one sees
    the row.
    """
    values = {"frozen": frozen, "reason": reason, "set_by": account, "account": account, "set_at": at}
    stored = insert(freezes).values(values).returning(*_FREEZE)
    return Freeze(*connection.execute(stored).one())


def latest_freeze(connection: Connection) -> Freeze | None:
    """Return the latest freeze or thaw, or None."""
    c = freezes.c
    row = connection.execute(select(*_FREEZE).order_by(c.freeze_id.desc()).limit(1)).first()
    return Freeze(*row) if row else None


def record_task_terms(connection: Connection, terms: TaskTerms, account: str, at: datetime) -> None:
    """Record what a task allows and measures now, unless it was recorded so last."""
    c = task_terms.c
    last = select(c.terms_hash).where(c.task_type == terms.task).order_by(c.task_terms_id.desc()).limit(1)
    if connection.scalar(last) == terms.hash:
        return
    connection.execute(
        insert(task_terms).values(
            task_type=terms.task,
            terms_hash=terms.hash,
            document=terms.document,
            recorded_by=account,
            recorded_at=at,
        )
    )


def recorded_task_terms(connection: Connection, tasks: Iterable[str]) -> dict[str, TaskTerms]:
    """Return what was recorded last of each of these tasks, where anything was."""
    c = task_terms.c
    latest = select(func.max(c.task_terms_id)).where(c.task_type.in_(list(tasks))).group_by(c.task_type)
    found = connection.scalars(select(c.document).where(c.task_terms_id.in_(latest)))
    return {terms.task: terms for terms in map(TaskTerms.model_validate_json, found)}


def _plans() -> Select[str, str, str, str | None, datetime]:
    c = plans.c
    return select(c.plan_hash, c.document, c.requested_by, c.account, c.made_at).order_by(c.plan_id.desc())
