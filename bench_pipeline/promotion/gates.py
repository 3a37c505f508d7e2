"""Approvals and freezes, which people give before a promotion, and what a stored plan still waits for."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.approval import Approval, Freeze, dagster_for
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import ApprovalMode
from bench_pipeline.domain.promoting.refusal import APPROVAL_REASONS, PlanRefused
from bench_pipeline.domain.promoting.rules import admit, intact
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.plans import (
    accounts_of_requesters,
    insert_approval,
    insert_freeze,
    plan_by_hash,
    possible_approvers,
    requesters,
    signing_login,
)
from bench_pipeline.storage.promotion_facts import gather_facts


def approve(database: Database, beginning: str, account: str) -> tuple[StoredPlan, Approval]:
    """Approve the stored plan whose hash has this prefix; return it with the approval as the database signed it.

    Raises `InputError` when there is none, and `GateFailed` when it needs no approval or its requester approves it.
    """
    with database.writing() as connection:
        stored = plan_by_hash(connection, beginning)
        if stored is None:
            raise InputError(f"there is no stored plan {beginning}; `bench log --plans` lists them")
        terms = stored.plan.terms
        if terms.approval is ApprovalMode.AUTO:
            raise GateFailed(f"plan {stored.plan_hash[:12]} needs no approval; `bench promote` applies it")
        login = signing_login(connection, account)
        if terms.second_person and login in requesters(connection, stored.plan_hash):
            raise GateFailed(
                f"{login} requested plan {stored.plan_hash[:12]} and cannot approve it; "
                f"{who_may_approve(connection, stored.plan_hash)}"
            )
        clicked = {dagster_for(login), dagster_for(account)} & accounts_of_requesters(connection, stored.plan_hash)
        if terms.second_person and clicked:
            raise GateFailed(
                f"{clicked.pop()} requested plan {stored.plan_hash[:12]}: you started its run in the UI and cannot "
                "approve it; another person may"
            )
        given = insert_approval(connection, stored.plan_hash, account, datetime.now(UTC))
    return stored, given


def who_may_approve(connection: Connection, plan_hash: str) -> str:
    """Return, as a clause, who may approve a plan that its requesters may not."""
    if connection.dialect.name == "sqlite":
        return f"an account other than {', '.join(sorted(requesters(connection, plan_hash)))} may"
    if names := possible_approvers(connection, plan_hash):
        return f"{', '.join(names)} may, with BENCH_DATABASE_URL set to their login"
    return (
        "no other login may; create one for each person: CREATE ROLE name LOGIN PASSWORD '…' IN ROLE "
        f"{connection.scalar(text('SELECT session_user'))}"
    )


def awaited(bench: Workbench, stored: StoredPlan) -> str:
    """Return why a stored plan cannot be applied now, in words; empty when it can.

    These are the rules by which it is applied, without the identities of the models: the runtimes are not asked.
    """
    refused, others = _refusal(bench, stored)
    if refused is None or refused.reason not in APPROVAL_REASONS:
        return str(refused or "")
    missing = refused.reason == "approval_missing"
    what = f"needs an approval: bench approve {stored.plan_hash[:12]}" if missing else str(refused)
    return f"{what} ({others})" if stored.plan.terms.second_person else what


def awaits_approval(bench: Workbench, stored: StoredPlan) -> bool:
    """Return whether an approval, and nothing that comes before it, is what a stored plan waits for."""
    refused, _ = _refusal(bench, stored)
    return refused is not None and refused.reason in APPROVAL_REASONS


def _refusal(bench: Workbench, stored: StoredPlan) -> tuple[PlanRefused | None, str]:
    """Return the refusal that applying the plan would meet now, and who may approve it."""
    others = ""
    try:
        intact(stored.plan_hash, stored)
        with bench.database.engine.connect() as connection:
            facts = gather_facts(connection, bench.production, stored, datetime.now(UTC))
            others = who_may_approve(connection, stored.plan_hash)
        admit(stored.plan, facts)
    except PlanRefused as refused:
        return refused, others
    return None, others


def set_freeze(database: Database, frozen: bool, reason: str, account: str) -> Freeze:
    """Freeze or thaw all promotions. A promotion that begins after this returned has seen it."""
    with database.writing() as connection:
        return insert_freeze(connection, frozen, reason, account, datetime.now(UTC))
