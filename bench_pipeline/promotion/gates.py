"""Approvals and freezes, which people give before a promotion, and what a stored plan still waits for."""

from __future__ import annotations

from datetime import UTC, datetime

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.approval import Freeze
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import ApprovalMode
from bench_pipeline.domain.promoting.refusal import APPROVAL_REASONS, PlanRefused
from bench_pipeline.domain.promoting.rules import admit, intact
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.plans import insert_approval, insert_freeze, plan_by_hash, requesters
from bench_pipeline.storage.promotion_facts import gather_facts


def approve(database: Database, beginning: str, approved_by: str) -> StoredPlan:
    """Approve the stored plan whose hash has this prefix.

    Raises `InputError` when there is none, and `GateFailed` when it needs no approval or `approved_by` requested it.
    """
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


def awaited(bench: Workbench, stored: StoredPlan) -> str:
    """Return why a stored plan cannot be applied now, in words; empty when it can.

    These are the rules by which it is applied. The identities of the models are left out: nobody asks the runtimes.
    """
    try:
        intact(stored.plan_hash, stored)
        with bench.database.engine.connect() as connection:
            facts = gather_facts(connection, bench.production, stored, datetime.now(UTC))
        admit(stored.plan, facts)
    except PlanRefused as refused:
        if refused.reason not in APPROVAL_REASONS:
            return str(refused)
        missing = refused.reason == "approval_missing"
        others = f" by somebody other than {', '.join(sorted(facts.requesters))}"
        what = f"needs an approval: bench approve {stored.plan_hash[:12]}" if missing else str(refused)
        return f"{what}{others if stored.plan.terms.second_person else ''}"
    return ""


def set_freeze(database: Database, frozen: bool, reason: str, set_by: str) -> Freeze:
    """Freeze or thaw all promotions. A promotion that begins after this returned has seen it."""
    freeze = Freeze(frozen, reason, set_by, datetime.now(UTC))
    with database.writing() as connection:
        insert_freeze(connection, freeze)
    return freeze
