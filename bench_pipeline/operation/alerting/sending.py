"""Sends the stored alerts: each at most once for a cause, a subject and a day, and again until a receiver accepts it.

Several senders may work at once: who moves `due_at` of a row on sends it. A sender that dies between delivering an
alert and recording that leaves it to be sent a second time after `_LEASE`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench_pipeline.domain.alerts.alert import Alert
from bench_pipeline.operation.alerting.receivers import Receiver
from bench_pipeline.storage.alerts import (
    StoredAlert,
    add_alerts,
    due_alerts,
    forget_alerts,
    mark_failed,
    mark_sent,
    recent_alerts,
    take,
)
from bench_pipeline.storage.database import Database

GIVEN_UP_AFTER = timedelta(days=1)
"""An alert that no receiver accepted within this time is not tried again."""
_KEPT = timedelta(days=90)
_LEASE = timedelta(minutes=5)
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_AT_ONCE = 20
_BUDGET_S = 25.0  # a tick of a sensor has 60 s for everything


@dataclass(frozen=True, slots=True)
class Sent:
    """What one pass did: alerts that a receiver accepted, and the failures that it met, one line each."""

    accepted: tuple[str, ...]
    failures: tuple[str, ...]


def keep(database: Database, found: Iterable[Alert], ui_url: str | None, now: datetime) -> int:
    """Store new alerts and remove those that are older than 90 days; return how many are new."""
    alerts = list(found)
    with database.writing() as connection:
        forget_alerts(connection, now - _KEPT)
        return add_alerts(connection, alerts, ui_url, now)


def send(database: Database, to: Sequence[Receiver], now: datetime) -> Sent:
    """Send what is due. A pass ends early when no receiver accepts anything, or when its time is used up."""
    accepted: list[str] = []
    failures: list[str] = []
    if not to:
        return Sent((), ())
    ends = time.monotonic() + _BUDGET_S
    with database.engine.connect() as connection:
        due = due_alerts(connection, now, now - GIVEN_UP_AFTER, _AT_ONCE)
    for alert in due:
        with database.writing() as connection:
            mine = take(connection, alert, now + _LEASE)
        if not mine:
            continue
        refusals = _deliver(alert, to)
        failure = "; ".join(refusals) or None
        if refusals:
            failures.append(f"{alert.title}: {failure}")
        reached = len(refusals) < len(to)
        with database.writing() as connection:
            if reached:
                mark_sent(connection, alert.alert_id, datetime.now(UTC), failure)
                accepted.append(alert.title)
            else:
                mark_failed(connection, alert.alert_id, failure or "", now + pause_after(alert.attempts))
        if not reached or time.monotonic() > ends:
            break
    return Sent(tuple(accepted), tuple(failures))


def pause_after(attempts: int) -> timedelta:
    """Return the pause after a failure that follows this number of earlier attempts: doubled up to an hour."""
    return min(_FIRST_PAUSE * (1 << min(attempts, 10)), _LONGEST_PAUSE)


def waiting(database: Database, now: datetime) -> list[StoredAlert]:
    """Return the alerts that are still to be sent, newest first."""
    with database.engine.connect() as connection:
        return [one for one in recent_alerts(connection, now - GIVEN_UP_AFTER) if one.sent_at is None]


def _deliver(alert: StoredAlert, to: Sequence[Receiver]) -> list[str]:
    told = [(receiver, receiver.deliver(alert.title, alert.body)) for receiver in to]
    return [f"{receiver.name} {refusal}" for receiver, refusal in told if refusal is not None]
