"""Applies plans in SQLite, in one BEGIN IMMEDIATE transaction, beside which nothing else writes.

Whether a plan may be applied is decided by `domain/promoting/rules.py`; here its rows are written and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.champion import Champion, planned_champion
from bench_pipeline.domain.promoting.facts import Facts, Observed
from bench_pipeline.domain.promoting.plan import PlanRow, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.domain.promoting.rules import admit, check_written, intact, is_changed
from bench_pipeline.storage.champions import all_champions, restore_champion
from bench_pipeline.storage.database import SQLITE_BUSY_LIMIT_S, Database
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.plans import plan_by_hash
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotion_facts import gather_facts
from bench_pipeline.storage.promotions import insert_promotion

Changed = Mapping[ConversationId, bool]


class SqliteWriter:
    """Writes `conversations.actor_id` in SQLite."""

    def __init__(self, database: Database, production: Production) -> None:
        self._database = database
        self._production = production

    def apply(
        self, plan_hash: str, account: str, dagster_run_id: str | None, observed: Sequence[Observed]
    ) -> int | None:
        """See `PromotionWriter`."""
        try:
            with self._database.writing() as connection:
                return attempt(connection, self._production, plan_hash, observed).run(account, dagster_run_id)
        except DBAPIError as error:
            raise told(error) from None

    def check(self) -> None:
        """See `PromotionWriter`: a login that may open the file may promote."""

    def check_target(self) -> None:
        """See `PromotionWriter`: there is one file."""

    def close(self) -> None:
        """See `PromotionWriter`."""


def attempt(connection: Connection, production: Production, plan_hash: str, observed: Sequence[Observed]) -> _Attempt:
    """Return the attempt to apply a stored plan within the transaction of the caller. Raises `PlanRefused`."""
    stored = intact(plan_hash, plan_by_hash(connection, plan_hash))
    facts = gather_facts(connection, production, stored, datetime.now(UTC), observed)
    return _Attempt(connection, production, stored.plan, facts)


def told(error: DBAPIError) -> GateFailed:
    """Return what an error of the database means, as the exception to raise."""
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    if name == "SQLITE_BUSY":
        return PlanRefused("busy", {"seconds": SQLITE_BUSY_LIMIT_S, "blockers": ""})
    if name.startswith("SQLITE_CONSTRAINT") and name != "SQLITE_CONSTRAINT_TRIGGER":
        return PlanRefused("constraint", {"error": driver_message(error)})
    return GateFailed(f"the database refused the promotion and changed nothing: {driver_message(error)}")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One plan in one open transaction."""

    connection: Connection
    production: Production
    plan: PromotionPlan
    facts: Facts

    def run(self, account: str, dagster_run_id: str | None) -> int | None:
        admission = admit(self.plan, self.facts)
        if admission.applied is not None:
            return admission.applied
        changed = {
            row.conversation_id: admission.changed[row.conversation_id] and self._write(row)
            for row in self.plan.changes
        }
        holders = self.production.holders(self.connection, [number for number, done in changed.items() if done])
        check_written(self.plan, changed, holders)
        before = {champion.conversation_id: champion for champion in all_champions(self.connection)}
        promotion_id = None
        if self.plan.changes:
            head = self._head(account, admission.approved_by, dagster_run_id)
            lines = [self._line(row, changed, before) for row in self.plan.changes]
            promotion_id = insert_promotion(self.connection, head, lines)
        self._register(changed, before)
        return promotion_id

    def _write(self, row: PlanRow) -> bool:
        """Compare and set; a trigger of the application may have changed the row since the facts were gathered."""
        number = row.conversation_id
        try:
            matched = self.production.set_actor(self.connection, number, row.old_actor_id, row.new_actor_id)
        except DBAPIError as error:
            if getattr(error.orig, "sqlite_errorname", None) != "SQLITE_CONSTRAINT_TRIGGER":
                raise
            facts = {"triggers": ", ".join(self._triggers()), "error": driver_message(error)}
            raise PlanRefused("trigger_failed", facts) from None
        held = None if matched == 1 else self.production.holders(self.connection, [number]).get(number)
        suspects = ", ".join(f"trigger {name}" for name in self._triggers())
        return is_changed(self.plan, row, matched, held[0] if held else None, suspects)

    def _triggers(self) -> list[str]:
        """Return the names of the triggers on conversations, which may have stopped a write."""
        table = self.production.table("conversations").name
        query = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table ORDER BY name")
        return list(self.connection.scalars(query, {"table": table}))

    def _head(self, account: str, approved_by: str | None, dagster_run_id: str | None) -> dict[str, Any]:
        plan = self.plan
        return {
            "kind": plan.kind.value,
            "plan_hash": self.facts.stored.plan_hash,
            "terms_hash": plan.terms_hash,
            "plan": plan.model_dump(mode="json"),
            "undoes": plan.undoes,
            "bar": plan.bar.value if plan.bar else None,
            "reason": plan.reason,
            "requested_by": account,
            "account": account,
            "approved_by": approved_by,
            "dagster_run_id": dagster_run_id,
            "applied_at": self.facts.now,
        }

    def _line(self, row: PlanRow, changed: Changed, before: Mapping[ConversationId, Champion]) -> dict[str, Any]:
        evidence = self.plan.evidence_of(row.task)
        champion = before.get(row.conversation_id)
        return {
            "conversation_id": row.conversation_id,
            "task_type": row.task,
            "benchmark_id": evidence.benchmark_id if evidence else None,
            "evidence_hash": evidence.evidence_hash if evidence else None,
            "conversation": row.conversation,
            "old_actor_id": row.old_actor_id,
            "old_actor": row.old_actor,
            "new_actor_id": row.new_actor_id,
            "new_actor": row.new_actor,
            "identity_hash": row.identity_hash,
            "runner_up_actor_id": row.runner_up_actor_id,
            "expected_gain": row.gain,
            "reason": row.reason,
            "changed": changed[row.conversation_id],
            "old_champion": champion.as_json() if champion else None,
        }

    def _register(self, changed: Changed, before: Mapping[ConversationId, Champion]) -> None:
        """Bring the registry up to date; a line that would say the same stays as it is."""
        if self.facts.undone is not None:
            for line in self.facts.undone.changed:
                if changed[line.conversation_id]:
                    restore_champion(self.connection, line.conversation_id, line.old_champion)
            return
        for row in self.plan.rows:
            if not (changed.get(row.conversation_id) or row.confirms):
                continue
            champion = planned_champion(self.plan, row, self.facts.now)
            if champion is not None and not champion.says_the_same(before.get(row.conversation_id)):
                restore_champion(self.connection, row.conversation_id, champion)
