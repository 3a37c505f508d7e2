"""Rows of triggers. A change holds only if the row is still in the state that was read, so two never claim one.

What a change is, is decided in domain/triggers/attempts.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bench_pipeline.domain.triggers.attempts import noticed_as
from bench_pipeline.domain.triggers.trigger import Cause, Finding, Trigger, TriggerState
from bench_pipeline.storage.tables import triggers


def triggers_of(
    connection: Connection, tasks: Collection[str] | None = None, states: Collection[TriggerState] | None = None
) -> list[Trigger]:
    """Return the triggers of these tasks in these states, by default all, in the order in which they were noticed."""
    query = select(triggers).order_by(triggers.c.trigger_id)
    if tasks is not None:
        query = query.where(triggers.c.task_type.in_(tasks))
    if states is not None:
        query = query.where(triggers.c.state.in_([state.value for state in states]))
    return [_trigger(row) for row in connection.execute(query).mappings()]


def trigger_by_id(connection: Connection, trigger_id: int) -> Trigger | None:
    """Return the trigger with this id, or None."""
    row = connection.execute(select(triggers).where(triggers.c.trigger_id == trigger_id)).mappings().first()
    return _trigger(row) if row else None


def trigger_of_benchmark(connection: Connection, benchmark_id: str) -> Trigger | None:
    """Return the trigger for which a benchmark was measured, or None."""
    query = select(triggers).where(triggers.c.benchmark_id == benchmark_id).order_by(triggers.c.trigger_id.desc())
    row = connection.execute(query.limit(1)).mappings().first()
    return _trigger(row) if row else None


def insert_triggers(connection: Connection, findings: Iterable[Finding], now: datetime) -> None:
    """Store new findings as triggers that are due now. One that another process stored meanwhile is left alone."""
    rows = [
        {
            "task_type": finding.task,
            "cause": finding.cause.value,
            "subject": finding.subject,
            "evidence": finding.evidence,
            "why": finding.why,
            "models": list(finding.models) if finding.models is not None else None,
            "terms": dict(finding.terms),
            "state": noticed_as(finding.cause.action).value,
            "attempts": 0,
            "lost": 0,
            "claims": 0,
            "due_at": now,
            "noticed_at": now,
            "changed_at": now,
        }
        for finding in findings
    ]
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(triggers).on_conflict_do_nothing(), rows)


def put(connection: Connection, old: Trigger, new: Trigger) -> bool:
    """Store what became of a trigger; return False when it is no longer as it was read."""
    c = triggers.c
    unchanged = c.trigger_id == old.trigger_id, c.state == old.state.value, c.claims == old.claims
    changed = update(triggers).where(*unchanged).values(
        why=new.why,
        state=new.state.value,
        attempts=new.attempts,
        lost=new.lost,
        claims=new.claims,
        due_at=new.due_at,
        note=new.note,
        dagster_run_id=new.dagster_run_id,
        benchmark_id=new.benchmark_id,
        changed_at=new.changed_at,
    )  # fmt: skip
    return connection.execute(changed).rowcount > 0


def hold_back(connection: Connection, trigger_ids: Collection[int], due_at: datetime, note: str) -> None:
    """Move triggers that must wait to a later moment, and say why. No attempt is counted."""
    c = triggers.c
    waiting = c.trigger_id.in_(list(trigger_ids)), c.state == TriggerState.WAITING.value
    connection.execute(update(triggers).where(*waiting).values(due_at=due_at, note=note))


def carry(connection: Connection, trigger_id: int, claim: int, dagster_run_id: str) -> bool:
    """Record which run carries a claim of a trigger; return False when another one does, or it was settled."""
    c = triggers.c
    mine = c.dagster_run_id.is_(None) | (c.dagster_run_id == dagster_run_id)
    claimed = c.trigger_id == trigger_id, c.claims == claim, c.state == TriggerState.LAUNCHED.value, mine
    return connection.execute(update(triggers).where(*claimed).values(dagster_run_id=dagster_run_id)).rowcount > 0


def link_benchmark(connection: Connection, trigger_id: int, claim: int, benchmark_id: str) -> None:
    """Record what is measured for a claim of a trigger."""
    c = triggers.c
    claimed = c.trigger_id == trigger_id, c.claims == claim
    connection.execute(update(triggers).where(*claimed).values(benchmark_id=benchmark_id))


def _trigger(row: RowMapping) -> Trigger:
    return Trigger(
        trigger_id=row["trigger_id"],
        task=row["task_type"],
        cause=Cause(row["cause"]),
        subject=row["subject"],
        evidence=row["evidence"],
        why=row["why"],
        models=tuple(row["models"]) if row["models"] is not None else None,
        terms=row["terms"],
        state=TriggerState(row["state"]),
        attempts=row["attempts"],
        lost=row["lost"],
        claims=row["claims"],
        due_at=row["due_at"],
        note=row["note"],
        dagster_run_id=row["dagster_run_id"],
        benchmark_id=row["benchmark_id"],
        noticed_at=row["noticed_at"],
        changed_at=row["changed_at"],
    )
