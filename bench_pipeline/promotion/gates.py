"""What a person says before a promotion: agreed to a plan, stopped all promotions, let them go on."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.approval import approver
from bench_pipeline.domain.promoting.plan import ApprovalMode, PlanKind
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.storage.database import Database, lock_key
from bench_pipeline.storage.plans import (
    Freeze,
    StoredPlan,
    approvals_of,
    insert_approval,
    insert_freeze,
    latest_freeze,
    plan_by_hash,
    requesters,
)


def approve(database: Database, beginning: str, approved_by: str) -> StoredPlan:
    """Agree to the stored plan whose hash begins so. Raises `InputError` without one, `GateFailed` for one's own."""
    with database.writing() as connection:
        stored = plan_by_hash(connection, beginning)
        if stored is None:
            raise InputError(f"there is no stored plan {beginning}; `bench log --plans` lists them")
        terms = stored.plan.terms
        if terms.approval is ApprovalMode.AUTO:
            raise GateFailed(f"plan {stored.plan_hash[:12]} needs no approval; `bench promote` applies it")
        if terms.second_person and approved_by in requesters(connection, stored.plan_hash):
            raise GateFailed(f"{approved_by} asked for plan {stored.plan_hash[:12]}; another person has to approve it")
        insert_approval(connection, stored.plan_hash, approved_by, datetime.now(UTC))
    return stored


def awaited(database: Database, stored: StoredPlan) -> str:
    """Return what a plan waits for before it may be applied, in words; empty when nothing."""
    plan = stored.plan
    if not plan.changes:
        return ""
    with database.engine.connect() as connection:
        last = latest_freeze(connection)
        given = approvals_of(connection, stored.plan_hash)
        asked = requesters(connection, stored.plan_hash)
    if last is not None and last.frozen and plan.kind is not PlanKind.ROLLBACK:
        return f"promotions are frozen by {last.set_by}: {last.reason}; `bench thaw` ends that"
    try:
        approver(plan.terms, given, asked, stored.plan_hash, datetime.now(UTC))
    except PlanRefused as refused:
        whose = f" by somebody other than {', '.join(sorted(asked))}" if plan.terms.second_person else ""
        missing = refused.reason == "approval_missing"
        return f"{f'needs an approval: bench approve {stored.plan_hash[:12]}' if missing else refused}{whose}"
    return ""


def set_freeze(database: Database, frozen: bool, reason: str, set_by: str) -> Freeze:
    """Stop all promotions, or let them go on. Once this returns, none is applied that did not see it."""
    now = datetime.now(UTC)
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            # The promotion that is under way ends first; the next one reads what is written here.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key("promotion")})
        insert_freeze(connection, frozen, reason, set_by, now)
    return Freeze(frozen, reason, set_by, now)
