"""Beside all stages: what waits for a run, and why. The sensor `triggers` reports it whenever it changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from bench_pipeline.assets.metadata import MODELS, OWNERS, TRIGGERS, table
from bench_pipeline.assets.production_tables import ACTORS, INTERACTIONS
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.triggers.trigger import Trigger, TriggerState
from bench_pipeline.operation.trigger_texts import state_of

SHOWN_STATES = (TriggerState.GIVEN_UP, TriggerState.OPEN, TriggerState.LAUNCHED, TriggerState.WAITING)
"""The states that are shown, those first that need a person."""
_MOST_ROWS = 20
_COLUMNS = {"task": "string", "about": "string", "cause": "string", "attempts": "int", "state": "string"}


def triggers_asset() -> dg.AssetSpec:
    """Return `triggers`, an external asset: its rows are written by sensors and runs."""
    return dg.AssetSpec(
        TRIGGERS,
        group_name=MODELS,
        owners=OWNERS,
        kinds={"sql"},
        deps=[ACTORS, INTERACTIONS],
        description=(
            "What waits for a run, runs, was given up or needs a person, and why. bench triggers prints all of it; "
            "bench retry takes up again what was given up."
        ),
    )


def fingerprint(triggers: Sequence[Trigger]) -> str:
    """Return a hash that changes with what is shown of these triggers."""
    return content_hash([[one.trigger_id, one.state, one.attempts, one.note, one.dagster_run_id] for one in triggers])


def triggers_event(triggers: Sequence[Trigger], now: datetime) -> dg.AssetMaterialization:
    """Return the asset's materialization with these triggers: their numbers, and a table of the first."""
    ordered = sorted(triggers, key=lambda one: (SHOWN_STATES.index(one.state), one.due_at))
    rows = [
        {
            "task": one.task,
            "about": one.about,
            "cause": one.cause.value,
            "attempts": one.attempts,
            "state": state_of(one, now),
        }
        for one in ordered[:_MOST_ROWS]
    ]
    numbers = {state.value: sum(one.state is state for one in triggers) for state in SHOWN_STATES}
    more = {"not_shown": len(ordered) - _MOST_ROWS} if len(ordered) > _MOST_ROWS else {}
    return dg.AssetMaterialization(TRIGGERS, metadata={**numbers, **more, "table": table(rows, _COLUMNS)})
