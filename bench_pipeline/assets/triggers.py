"""What waits for a run, runs, was given up or needs a person: the rows of triggers as a page. They are in storage/."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from bench_pipeline.assets.metadata import CODE_VERSION, MODELS, OWNERS, TRIGGERS, first_rows, text, words
from bench_pipeline.assets.production_tables import ACTORS, CONVERSATIONS, MODEL_SERVERS
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.text import shortened
from bench_pipeline.domain.triggers.trigger import Trigger, TriggerState
from bench_pipeline.operation.trigger_texts import state_of
from bench_pipeline.storage.triggers import triggers_of

_COLUMNS = {
    "state": "string",
    "task": "string",
    "cause": "string",
    "about": "string",
    "failed": "int",
    "what": "string",
}
_WHAT_CHARS = 80  # a longer text makes a line of the table many lines high
_WORDS = {
    TriggerState.GIVEN_UP: "given up",
    TriggerState.OPEN: "need a person",
    TriggerState.WAITING: "waiting",
    TriggerState.LAUNCHED: "running",
}
"""The states that a page shows, what needs a person first."""
_CONTENT = "content"


@dg.asset(
    key=TRIGGERS,
    group_name=MODELS,
    owners=OWNERS,
    kinds={"sql"},
    deps=[ACTORS, CONVERSATIONS, MODEL_SERVERS],
    code_version=CODE_VERSION,
    description=(
        "What waits for a benchmark or a delivery and why, what was given up, and what needs a person. The sensor "
        "`triggers` brings it up to date whenever something changes; `bench triggers` shows all of it."
    ),
)
def triggers(workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
    """Show the triggers as they are now."""
    with workbench.open() as bench:
        return dg.MaterializeResult(metadata=triggers_page(unsettled(bench), datetime.now(UTC)))


def report_triggers(instance: dg.DagsterInstance, bench: Workbench, now: datetime) -> None:
    """Bring the page up to date, from outside a run, if a trigger changed since it was shown."""
    page = triggers_page(unsettled(bench), now)
    shown = instance.fetch_materializations(TRIGGERS, limit=1).records
    last = shown[0].asset_materialization if shown else None
    if last is None or _CONTENT not in last.metadata or last.metadata[_CONTENT].value != page[_CONTENT]:
        instance.report_runless_asset_event(dg.AssetMaterialization(TRIGGERS, metadata=page))


def unsettled(bench: Workbench, tasks: Sequence[str] | None = None) -> list[Trigger]:
    """Return the triggers of these tasks, by default all, that are neither done nor withdrawn."""
    with bench.database.engine.connect() as connection:
        return triggers_of(connection, tasks, tuple(_WORDS))


def triggers_page(found: Sequence[Trigger], now: datetime) -> dict[str, Any]:
    """Return the metadata: how many are in each state, and what they wait for."""
    places = list(_WORDS)
    ordered = sorted(found, key=lambda one: (places.index(one.state), one.due_at, one.trigger_id))
    counts = Counter(one.state for one in found)
    rows = [
        {
            "state": _WORDS[one.state],
            "task": one.task,
            "cause": one.cause.value,
            "about": one.about,
            "failed": one.attempts,
            "what": shortened(state_of(one, now), _WHAT_CHARS),
        }
        for one in ordered
    ]
    return {
        "result": "; ".join(f"{counts[state]} {name}" for state, name in _WORDS.items() if counts[state])
        or "nothing waits",
        "first": waiting_text(ordered, now),
        **{state.value: counts[state] for state in _WORDS},
        **first_rows("table", rows, _COLUMNS, "bench triggers"),
        _CONTENT: content_hash([_content(one) for one in ordered]),
    }


def _content(one: Trigger) -> list[object]:
    """Return what a person would see change; not the time that passes."""
    return [one.trigger_id, one.state, one.attempts, one.note, one.due_at.isoformat()]


def waiting_text(found: Sequence[Trigger], now: datetime) -> str:
    """Return the first triggers in words."""
    return words(text([f"{one.about}: {state_of(one, now)}" for one in found], 3, "bench triggers"))
