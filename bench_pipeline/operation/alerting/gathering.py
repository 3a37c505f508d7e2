"""Finds what people should be told in our own tables. It reads and writes nothing, and asks no runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.alerts.alert import Alert
from bench_pipeline.domain.alerts.messages import Messages
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.promotion.gates import awaited, awaits_approval
from bench_pipeline.storage.alerts import calling_triggers, undecided_since, unqualified_since
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.plans import open_plans
from bench_pipeline.storage.promotions import changes_since

_BACK = timedelta(days=1)
"""How old an event may be. Events are told once, on their day; states that last are told again each day."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The alerts, and what could not be looked at: one line each. One fault does not hide the other alerts."""

    alerts: tuple[Alert, ...]
    faults: tuple[str, ...]


def gather(bench: Workbench, messages: Messages, now: datetime) -> Gathered:
    """Return every alert that our tables call for now, whether it was sent or not."""
    sources: dict[str, Callable[[Workbench, Messages, datetime], Iterable[Alert]]] = {
        "promotions": _changes,
        "plans": _waiting_plans,
        "benchmarks": _benchmarks,
        "triggers": _triggers,
    }
    found: list[Alert] = []
    faults: list[str] = []
    for name, source in sources.items():
        try:
            found += source(bench, messages, now)
        except BenchError as error:
            faults.append(f"{name} cannot be read: {error}")
        except DBAPIError as error:
            faults.append(f"{name} cannot be read: {driver_message(error)}")
    return Gathered(tuple(found), tuple(faults))


def _changes(bench: Workbench, messages: Messages, now: datetime) -> Iterable[Alert]:
    with bench.database.engine.connect() as connection:
        changes = changes_since(connection, now - _BACK)
    return [messages.promoted(change) if change.forward else messages.undone(change) for change in changes]


def _waiting_plans(bench: Workbench, messages: Messages, now: datetime) -> Iterable[Alert]:
    with bench.database.engine.connect() as connection:
        plans = open_plans(connection, now - timedelta(hours=bench.settings.plan_hours))
    return [
        messages.awaits_approval(plan, awaited(bench, plan), now)
        for plan in plans
        if plan.plan.changes and awaits_approval(bench, plan)
    ]


def _benchmarks(bench: Workbench, messages: Messages, now: datetime) -> Iterable[Alert]:
    with bench.database.engine.connect() as connection:
        undecided = undecided_since(connection, now - _BACK)
        unqualified = unqualified_since(connection, now - _BACK)
    return [
        *(messages.inconclusive(one.task, one.benchmark_id, one.reasons, one.at) for one in undecided),
        *(messages.nothing_qualifies(one.task, one.benchmark_id, one.models, one.at) for one in unqualified),
    ]


def _triggers(bench: Workbench, messages: Messages, now: datetime) -> Iterable[Alert]:
    with bench.database.engine.connect() as connection:
        calling = calling_triggers(connection)
    found = (messages.of_trigger(trigger, given_up, now) for trigger, given_up in calling)
    return [alert for alert in found if alert is not None]
