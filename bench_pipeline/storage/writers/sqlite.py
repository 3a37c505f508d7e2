"""Applies plans in SQLite: one BEGIN IMMEDIATE transaction, which no other writer runs beside.

The same rules, in the same order, as `apply.sql`; the tests run against both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from sqlalchemy import Connection, Row, distinct, func, select
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.models.actor import MODEL_ACTOR_TYPE
from bench_pipeline.domain.promoting.approval import approver, moment_text
from bench_pipeline.domain.promoting.plan import PlanEvidence, PlanKind, PlanRow, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.storage.champions import champion, register_champion, restore_champion
from bench_pipeline.storage.database import SQLITE_BUSY_LIMIT_S, Database
from bench_pipeline.storage.plans import StoredPlan, approvals_of, latest_freeze, plan_by_hash, requesters
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotions import (
    Promotion,
    insert_promotion,
    last_change,
    promotion_by_id,
    promotion_by_plan,
)
from bench_pipeline.storage.tables import benchmark_history, benchmark_model_runs, benchmark_runs, benchmark_samples
from bench_pipeline.storage.writers.base import Observed


class SqliteWriter:
    """Writes `conversations.actor_id` in SQLite."""

    def __init__(self, database: Database, production: Production) -> None:
        self._database = database
        self._production = production

    def apply(
        self, plan_hash: str, requested_by: str, dagster_run_id: str | None, observed: Sequence[Observed]
    ) -> int | None:
        """See `PromotionWriter`."""
        try:
            with self._database.writing() as connection:
                return self._attempt(connection, plan_hash, observed).run(requested_by, dagster_run_id)
        except DBAPIError as error:
            raise _told(error) from None

    def _attempt(self, connection: Connection, plan_hash: str, observed: Sequence[Observed]) -> _Attempt:
        stored = plan_by_hash(connection, plan_hash)
        if stored is None or stored.plan_hash != plan_hash:
            _refuse("plan_unknown", plan_hash=plan_hash)
        if not stored.intact:
            _refuse("plan_altered", plan_hash=plan_hash)
        seen = {one.actor_id: one for one in observed}
        return _Attempt(connection, self._production, stored, stored.plan, seen, datetime.now(UTC))

    def check(self) -> None:
        """See `PromotionWriter`: whoever may open the file may promote."""

    def close(self) -> None:
        """See `PromotionWriter`."""


def _refuse(reason: str, /, **facts: object) -> NoReturn:
    raise PlanRefused(reason, facts)


def _told(error: DBAPIError) -> GateFailed:
    if getattr(error.orig, "sqlite_errorname", None) == "SQLITE_BUSY":
        return PlanRefused("busy", {"seconds": SQLITE_BUSY_LIMIT_S})
    return GateFailed(f"the database refused the promotion and changed nothing: {error.orig}")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One plan in one open transaction; every method refuses or returns."""

    connection: Connection
    production: Production
    stored: StoredPlan
    plan: PromotionPlan
    observed: Mapping[int, Observed]
    now: datetime

    def run(self, requested_by: str, dagster_run_id: str | None) -> int | None:
        if known := promotion_by_plan(self.connection, self.stored.plan_hash):
            self._still_holds(known)
            return known.promotion_id
        undone = self._undone()
        approved_by = None
        if self.plan.changes:
            if undone is None or not undone.forward:
                self._not_frozen()
            self._young()
            approved_by = self._approved()
            self._within_limits()
        for evidence in self.plan.evidence:
            self._evidence_stands(evidence)
        changed = {row.conversation_id: self._change(row, undone) for row in self.plan.changes}
        self._as_written({number for number, done in changed.items() if done})
        promotion_id = None
        if self.plan.changes:
            promotion_id = self._record(changed, requested_by, approved_by, dagster_run_id)
        self._register(undone, changed)
        return promotion_id

    # Whether it may be applied at all

    def _still_holds(self, known: Promotion) -> None:
        if not known.in_force:
            _refuse("plan_undone", reason=known.undone_because)
        held = self._held([row.conversation_id for row in known.changed])
        for row in known.changed:
            if held.get(row.conversation_id) != row.new_actor_id:
                _refuse(
                    "changed_since",
                    promotion_id=known.promotion_id,
                    conversation_id=row.conversation_id,
                    holds=held.get(row.conversation_id),
                    planned=row.new_actor_id,
                )

    def _undone(self) -> Promotion | None:
        """Return the change that a rollback takes back, whose every row must be the plan's, the other way round."""
        if self.plan.undoes is None:
            if self.plan.kind is PlanKind.ROLLBACK:
                _refuse("not_an_undoing", promotion_id=None)
            return None
        undone = promotion_by_id(self.connection, self.plan.undoes)
        there = undone and {(r.conversation_id, r.new_actor_id, r.old_actor_id) for r in undone.changed}
        back = {(row.conversation_id, row.old_actor_id, row.new_actor_id) for row in self.plan.rows}
        kept = any(row.decision is not None for row in self.plan.rows)
        if self.plan.kind is not PlanKind.ROLLBACK or undone is None or there != back or kept:
            _refuse("not_an_undoing", promotion_id=self.plan.undoes)
        last = last_change(self.connection, undone.promotion_id)
        if last.promotion_id != undone.promotion_id:
            _refuse("undone_already", promotion_id=undone.promotion_id, reason=undone.first_undone_because)
        return undone

    def _not_frozen(self) -> None:
        last = latest_freeze(self.connection)
        if last is not None and last.frozen:
            _refuse("frozen", set_by=last.set_by, set_at=moment_text(last.set_at), reason=last.reason)

    def _young(self) -> None:
        hours = self.plan.terms.plan_hours
        if self.stored.made_at < self.now - timedelta(hours=hours):
            _refuse("plan_expired", made_at=moment_text(self.stored.made_at), plan_hours=hours)

    def _approved(self) -> str | None:
        given = approvals_of(self.connection, self.stored.plan_hash)
        asked = requesters(self.connection, self.stored.plan_hash)
        return approver(self.plan.terms, given, asked, self.stored.plan_hash, self.now)

    def _within_limits(self) -> None:
        rows, most = len(self.plan.changes), self.plan.terms.max_rows
        if rows > most:
            _refuse("too_many_rows", rows=rows, max_rows=most)

    # What it rests on

    def _evidence_stands(self, evidence: PlanEvidence) -> None:
        c = benchmark_runs.c
        query = select(c.evidence_hash, c.invalid, c.task, c.suite, c.protocol).where(
            c.benchmark_id == evidence.benchmark_id, c.task_type == evidence.task
        )
        run = self.connection.execute(query).first()
        if run is None:
            _refuse("evidence_gone", benchmark_id=evidence.benchmark_id)
        if run.evidence_hash != evidence.evidence_hash:
            _refuse("evidence_changed", benchmark_id=evidence.benchmark_id)
        mine = [row for row in self.plan.changes if row.task == evidence.task]
        if mine and run.invalid:
            _refuse("evidence_invalid", benchmark_id=evidence.benchmark_id, reason=run.invalid)
        for row in mine:
            if row.conversation_id not in run.task["conversations"]:
                _refuse(
                    "not_listed",
                    conversation_id=row.conversation_id,
                    conversation=row.conversation,
                    task=evidence.task,
                )
            self._qualified(row, evidence.benchmark_id, run)

    def _qualified(self, row: PlanRow, benchmark_id: str, run: Row[*tuple[Any, ...]]) -> None:
        """The champion's line of history, the age of its run, and its samples: all cases, and none wrong."""
        h, r, s = benchmark_history.c, benchmark_model_runs.c, benchmark_samples.c
        line = self.connection.execute(
            select(h.standing, h.correctness_score, h.cases, h.cases_correct, h.model_run_id, r.started_at)
            .join_from(benchmark_history, benchmark_model_runs, r.model_run_id == h.model_run_id)
            .where(h.benchmark_id == benchmark_id, h.actor_id == row.new_actor_id)
        ).first()
        if line is None:
            _refuse("evidence_gone", benchmark_id=benchmark_id)
        bad = select(func.count()).where(s.model_run_id == line.model_run_id, s.outcome.in_(("wrong", "invalid")))
        right = select(func.count(distinct(s.case_id))).where(
            s.model_run_id == line.model_run_id, s.outcome == "correct"
        )
        cases = len(run.suite["test_cases"])
        why = ""
        if (line.standing, line.correctness_score) != ("qualified", 100.0) or line.cases_correct != line.cases:
            why = f"{line.standing}, {line.cases_correct}/{line.cases} correct"
        elif self.connection.scalar(bad) or self.connection.scalar(right) != cases or line.cases != cases:
            why = "its samples do not show every case right"
        if why:
            _refuse("not_qualified", model=row.new_actor, benchmark_id=benchmark_id, why=why)
        days = self.plan.terms.evidence_days
        if line.started_at < self.now - timedelta(days=days):
            _refuse("evidence_old", model=row.new_actor, measured_at=moment_text(line.started_at), evidence_days=days)

    # The rows

    def _change(self, row: PlanRow, undone: Promotion | None) -> bool:
        if undone is None and self.plan.evidence_of(row.task) is None:
            _refuse("no_evidence", task=row.task)
        if undone is None or not undone.forward:
            self._actor_may(row)
        elif row.new_actor_id is not None and self.production.actor_now(self.connection, row.new_actor_id) is None:
            return False
        if self.production.set_actor(self.connection, row.conversation_id, row.old_actor_id, row.new_actor_id):
            return True
        if undone is not None:
            return False
        _refuse(
            "conversation_changed",
            conversation_id=row.conversation_id,
            conversation=row.conversation,
            planned=row.old_actor_id,
            planned_name=row.old_actor,
            holds=self._held([row.conversation_id]).get(row.conversation_id),
        )

    def _actor_may(self, row: PlanRow) -> None:
        if row.new_actor_id is None:
            return
        actor = self.production.actor_now(self.connection, row.new_actor_id)
        if actor is None:
            _refuse("actor_gone", actor_id=row.new_actor_id, actor=row.new_actor)
        if actor.kind != MODEL_ACTOR_TYPE:
            _refuse("actor_type", actor=row.new_actor)
        if not actor.enabled:
            _refuse("actor_disabled", actor=row.new_actor)
        if self.plan.kind is PlanKind.ROLLBACK:
            return
        seen = self.observed.get(row.new_actor_id)
        if seen is None or seen.execution_path != actor.execution_path:
            _refuse("actor_moved", actor=row.new_actor, path=actor.execution_path)
        if row.identity_hash is None or seen.identity_hash != row.identity_hash:
            _refuse("identity_changed", actor=row.new_actor, why="its identity differs")

    def _held(self, conversations: Sequence[int]) -> dict[int, int | None]:
        found = self.production.conversations(self.connection, conversations)
        return {one.conversation_id: one.actor_id for one in found}

    def _as_written(self, conversations: set[int]) -> None:
        held = self._held(sorted(conversations))
        for row in self.plan.changes:
            number = row.conversation_id
            if number in conversations and held.get(number) != row.new_actor_id:
                _refuse("not_as_written", conversation_id=number, holds=held.get(number), planned=row.new_actor_id)

    # What is written beside

    def _record(
        self,
        changed: Mapping[int, bool],
        requested_by: str,
        approved_by: str | None,
        dagster_run_id: str | None,
    ) -> int:
        plan = self.plan
        head = {
            "kind": plan.kind.value,
            "plan_hash": self.stored.plan_hash,
            "terms_hash": plan.terms_hash,
            "plan": plan.model_dump(mode="json"),
            "undoes": plan.undoes,
            "bar": plan.bar.value if plan.bar else None,
            "reason": plan.reason,
            "requested_by": requested_by,
            "approved_by": approved_by,
            "dagster_run_id": dagster_run_id,
            "applied_at": self.now,
        }
        return insert_promotion(self.connection, head, [self._line(row, changed) for row in plan.changes])

    def _line(self, row: PlanRow, changed: Mapping[int, bool]) -> dict[str, Any]:
        evidence = self.plan.evidence_of(row.task)
        before = champion(self.connection, row.conversation_id)
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
            "old_champion": before.as_json() if before else None,
        }

    def _register(self, undone: Promotion | None, changed: Mapping[int, bool]) -> None:
        if undone is not None:
            for line in undone.changed:
                if changed.get(line.conversation_id):
                    restore_champion(self.connection, line.conversation_id, line.old_champion)
            return
        for row in self.plan.rows:
            if changed.get(row.conversation_id) or row.confirms:
                register_champion(self.connection, self.plan, row, self.now)
