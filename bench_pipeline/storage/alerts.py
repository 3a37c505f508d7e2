"""Alerts as rows, and what they are made from: benchmarks without a result and triggers that need a person.

What an alert says is in domain/alerts, who receives it in operation/alerting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bench_pipeline.domain.alerts.alert import Alert
from bench_pipeline.domain.alerts.messages import CallingTrigger
from bench_pipeline.domain.measuring.benchmark import Purpose, RunStatus
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.triggers.trigger import Cause, TriggerState
from bench_pipeline.storage.tables import alerts, benchmark_history, benchmark_runs, decisions, triggers


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert as stored. `sent_at` is None until a receiver accepted it; `failure` says which one did not."""

    alert_id: int
    cause: str
    subject: str
    day: str
    title: str
    body: str
    made_at: datetime
    due_at: datetime
    sent_at: datetime | None
    attempts: int
    failure: str | None


def add_alerts(connection: Connection, found: Iterable[Alert], ui_url: str | None, at: datetime) -> int:
    """Store these alerts, unless their cause, subject and day are known; return how many are new."""
    rows = [
        {
            "cause": one.cause.value,
            "subject": one.subject,
            "day": one.day,
            "title": one.title,
            "body": one.body(ui_url),
            "made_at": at,
            "due_at": at,
            "attempts": 0,
        }
        for one in found
    ]
    of_dialect = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = of_dialect(alerts).on_conflict_do_nothing(index_elements=["cause", "subject", "day"])
    return sum(connection.execute(statement, row).rowcount for row in rows)


def is_known(connection: Connection, alert: Alert) -> bool:
    """Return whether an alert with this cause, subject and day is stored."""
    c = alerts.c
    mine = c.cause == alert.cause.value, c.subject == alert.subject, c.day == alert.day
    return connection.scalar(select(c.alert_id).where(*mine)) is not None


def due_alerts(connection: Connection, now: datetime, not_before: datetime, limit: int) -> list[StoredAlert]:
    """Return the alerts that were made after `not_before` and should be sent now, oldest first."""
    c = alerts.c
    query = select(alerts).where(c.sent_at.is_(None), c.due_at <= now, c.made_at > not_before)
    rows = connection.execute(query.order_by(c.due_at, c.alert_id).limit(limit)).mappings()
    return [StoredAlert(**row) for row in rows]


def take(connection: Connection, alert: StoredAlert, until: datetime) -> bool:
    """Take an alert for sending until this moment; return False when another sender was faster."""
    c = alerts.c
    unchanged = c.alert_id == alert.alert_id, c.attempts == alert.attempts, c.sent_at.is_(None)
    done = connection.execute(update(alerts).where(*unchanged).values(attempts=alert.attempts + 1, due_at=until))
    return done.rowcount == 1


def mark_sent(connection: Connection, alert_id: int, at: datetime, failure: str | None) -> None:
    """Store that a receiver accepted an alert; `failure` says which others did not."""
    mine = alerts.c.alert_id == alert_id
    connection.execute(update(alerts).where(mine).values(sent_at=at, failure=failure))


def mark_failed(connection: Connection, alert_id: int, failure: str, due_at: datetime) -> None:
    """Store that no receiver accepted an alert, and when it is tried again."""
    connection.execute(update(alerts).where(alerts.c.alert_id == alert_id).values(failure=failure, due_at=due_at))


def recent_alerts(connection: Connection, since: datetime) -> list[StoredAlert]:
    """Return the alerts that were made after this moment, newest first."""
    query = select(alerts).where(alerts.c.made_at > since).order_by(alerts.c.alert_id.desc())
    return [StoredAlert(**row) for row in connection.execute(query).mappings()]


def forget_alerts(connection: Connection, before: datetime) -> None:
    """Remove the alerts that were made before this moment."""
    connection.execute(delete(alerts).where(alerts.c.made_at < before))


# What alerts are made from


@dataclass(frozen=True, slots=True)
class Undecided:
    """What a benchmark could not decide: one reason per conversation."""

    task: str
    benchmark_id: str
    reasons: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Unqualified:
    """A benchmark in which no model qualified: the reason of each."""

    task: str
    benchmark_id: str
    models: dict[str, str]
    at: datetime


def undecided_since(connection: Connection, since: datetime) -> list[Undecided]:
    """Return what benchmarks could not decide after this moment, by benchmark."""
    c = decisions.c
    kinds = (DecisionKind.INCONCLUSIVE.value, DecisionKind.INVALID.value)
    plan = select(func.max(c.decision_id)).where(c.decided_at > since).group_by(c.benchmark_id, c.conversation_id)
    query = select(c.task_type, c.benchmark_id, c.reason, c.decided_at).where(
        c.decision_id.in_(plan), c.decision.in_(kinds)
    )  # fmt: skip
    found: dict[str, Undecided] = {}
    for task, benchmark_id, reason, at in connection.execute(query.order_by(c.decision_id)):
        known = found.get(benchmark_id, Undecided(task, benchmark_id, (), at))
        found[benchmark_id] = Undecided(task, benchmark_id, (*known.reasons, reason), known.at)
    return list(found.values())


def unqualified_since(connection: Connection, since: datetime) -> list[Unqualified]:
    """Return the benchmarks that finished after this moment, were ranked, and qualified no model."""
    b, h = benchmark_runs.c, benchmark_history.c
    any_of = benchmark_history.alias()
    mine = any_of.c.benchmark_run_id == b.benchmark_id
    qualified = exists().where(mine, any_of.c.standing == Standing.QUALIFIED.value)
    query = (
        select(b.task_type, b.benchmark_id, b.finished_at, h.model, h.reason)
        .join(benchmark_history, h.benchmark_run_id == b.benchmark_id)
        .where(b.finished_at > since, b.purpose == Purpose.BENCHMARK, b.status == RunStatus.FINISHED, ~qualified)
        .order_by(b.finished_at, h.cases_correct.desc(), h.model)
    )
    found: dict[str, Unqualified] = {}
    for task, benchmark_id, at, model, reason in connection.execute(query):
        found.setdefault(benchmark_id, Unqualified(task, benchmark_id, {}, at)).models[model] = reason or "wrong"
    return list(found.values())


def calling_triggers(connection: Connection) -> list[tuple[CallingTrigger, bool]]:
    """Return the triggers that people should know of, each with whether it was given up."""
    c = triggers.c
    slow = (c.cause == Cause.SLOW_IN_PRODUCTION.value) & c.state.in_((TriggerState.WAITING, TriggerState.LAUNCHED))
    query = select(c.task_type, c.cause, c.subject, c.why, c.note, c.attempts, c.state).where(
        or_(c.state.in_((TriggerState.GIVEN_UP, TriggerState.OPEN)), slow)
    )
    rows = connection.execute(query.order_by(c.trigger_id))
    return [(CallingTrigger(*row[:6]), row.state == TriggerState.GIVEN_UP) for row in rows]
