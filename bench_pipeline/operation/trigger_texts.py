"""Triggers in words, the same in the sensors' texts, on the command line and on the page."""

from __future__ import annotations

from datetime import datetime

from bench_pipeline.domain.triggers.attempts import MAX_ATTEMPTS
from bench_pipeline.domain.triggers.trigger import Action, Trigger, TriggerState


def state_of(trigger: Trigger, now: datetime) -> str:
    """Return how far a trigger came, and what it waits for."""
    why = trigger.why
    match trigger.state:
        case TriggerState.LAUNCHED:
            doing = "is delivered" if trigger.cause.action is Action.DELIVER else "is measured"
            run = f" by run {trigger.dagster_run_id[:8]}" if trigger.dagster_run_id else "; its run is queued"
            return f"{why}; {doing}{run}"
        case TriggerState.WAITING:
            return f"{why}; {_waits(trigger, now)}"
        case TriggerState.GIVEN_UP:
            subject = f" --subject '{trigger.subject}'" if trigger.subject else ""
            return f"{trigger.note}; bench retry {trigger.task}{subject} takes it up again"
        case TriggerState.OPEN:
            return f"{why}; needs a person"
        case _:
            return f"{trigger.state.value}" + (f": {trigger.note}" if trigger.note else "")


def _waits(trigger: Trigger, now: datetime) -> str:
    parts = []
    if trigger.due_at > now:
        parts.append(f"waits until {trigger.due_at:%Y-%m-%d %H:%M} UTC")
    if trigger.attempts:
        parts.append(f"{trigger.attempts} of {MAX_ATTEMPTS} attempts failed")
    if trigger.note:
        parts.append(trigger.note)
    return "; ".join(parts) or "waits for its turn"
