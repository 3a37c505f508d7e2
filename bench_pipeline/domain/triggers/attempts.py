"""What becomes of a trigger when its run ends, waits or is forgotten. Pure: moments and chance are handed in.

A row is changed in storage/triggers.py, and what counts as evidence is judged in operation/triggers.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from bench_pipeline.domain.triggers.trigger import Action, Trigger, TriggerState

MAX_ATTEMPTS = 5
"""Failed runs after which a trigger is given up."""
MAX_LOST = 3
"""Runs that may end without a word before the next one counts as failed: the trigger itself may kill them."""
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=6)
GROWTH = 4
JITTER = 0.25
"""Share by which a pause may be shorter, so that triggers which failed together do not return together."""
LOOK_AGAIN = timedelta(minutes=1)
"""When a trigger that must wait is looked at again."""
CANCELLED = "cancelled by a person"


def noticed_as(action: Action) -> TriggerState:
    """Return the state of a trigger that is new."""
    return TriggerState.OPEN if action is Action.TELL else TriggerState.WAITING


def pause_after(attempts: int, chance: float) -> timedelta:
    """Return how long to wait after so many failed attempts: 5 min, 20 min, 80 min, then 5 h 20 min, less the jitter.

    `chance` is between 0 and 1.
    """
    growth: int = GROWTH ** (max(attempts, 1) - 1)
    full = min(FIRST_PAUSE * growth, LONGEST_PAUSE)
    return full * (1 - JITTER * chance)


def launched(trigger: Trigger, now: datetime) -> Trigger:
    """Return the trigger with a run requested for it; what it carried before is forgotten."""
    claims = trigger.claims + 1
    return _changed(trigger, now, state=TriggerState.LAUNCHED, claims=claims, dagster_run_id=None, benchmark_id=None)


def done(trigger: Trigger, now: datetime) -> Trigger:
    """Return the trigger whose evidence was written."""
    return _changed(trigger, now, state=TriggerState.DONE, note=None)


def failed(trigger: Trigger, why: str, now: datetime, chance: float) -> Trigger:
    """Return the trigger after a failed run: waiting for its next attempt, or given up."""
    attempts = trigger.attempts + 1
    if attempts >= MAX_ATTEMPTS:
        note = f"given up after {attempts} attempts: {why}"
        return _changed(trigger, now, state=TriggerState.GIVEN_UP, attempts=attempts, note=note)
    due_at = now + pause_after(attempts, chance)
    return _changed(trigger, now, state=TriggerState.WAITING, attempts=attempts, due_at=due_at, note=why)


def lost(trigger: Trigger, why: str, now: datetime, chance: float) -> Trigger:
    """Return the trigger whose run vanished or was killed: run again at once, unless that happens again and again."""
    times = trigger.lost + 1
    if times > MAX_LOST:
        return failed(replace(trigger, lost=0), f"{why}, {times} times in a row", now, chance)
    return _changed(trigger, now, state=TriggerState.WAITING, lost=times, due_at=now, note=why)


def cancelled(trigger: Trigger, now: datetime) -> Trigger:
    """Return the trigger whose run a person cancelled: it rests until `bench retry`."""
    return _changed(trigger, now, state=TriggerState.GIVEN_UP, note=CANCELLED)


def withdrawn(trigger: Trigger, now: datetime) -> Trigger:
    """Return the trigger whose cause is gone. A launched one is left to its run, a done one stays done."""
    if trigger.state in (TriggerState.LAUNCHED, TriggerState.DONE, TriggerState.WITHDRAWN):
        return trigger
    return _changed(trigger, now, state=TriggerState.WITHDRAWN, note="its cause is gone")


def found_again(trigger: Trigger, why: str, now: datetime) -> Trigger:
    """Return the trigger whose cause is there: a withdrawn one is taken up again, any other keeps its state."""
    if trigger.state in (TriggerState.LAUNCHED, TriggerState.DONE):
        return trigger
    if trigger.state is not TriggerState.WITHDRAWN:
        return trigger if why == trigger.why else replace(trigger, why=why, changed_at=now)
    state = noticed_as(trigger.cause.action)
    return _changed(replace(trigger, why=why), now, state=state, attempts=0, lost=0, due_at=now, note=None)


def retried(trigger: Trigger, now: datetime) -> Trigger:
    """Return the trigger as a person takes it up again: without its attempts, due now. Only a resting one changes."""
    if trigger.state not in (TriggerState.GIVEN_UP, TriggerState.WAITING):
        return trigger
    return _changed(trigger, now, state=TriggerState.WAITING, attempts=0, lost=0, due_at=now, note=None)


def _changed(trigger: Trigger, now: datetime, **values: object) -> Trigger:
    return replace(trigger, changed_at=now, **values)  # type: ignore[arg-type]
