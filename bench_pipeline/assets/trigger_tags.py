"""The tags by which a run carries a trigger, and how a stage claims what its run carries. Sensors set the tags."""

from __future__ import annotations

import dagster as dg

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.triggers.trigger import Trigger
from bench_pipeline.storage import triggers as store

TRIGGER, CLAIM, CAUSE, MODEL = "bench/trigger", "bench/claim", "bench/cause", "bench/model"
BENCHMARK, PLAN = "bench/benchmark", "bench/plan"
_PARENT = "dagster/parent_run_id"


def carried(context: dg.AssetExecutionContext, bench: Workbench) -> Trigger | None:
    """Return the trigger that this run carries; None for a run that a person launched.

    A run that is executed again measures for the same trigger without carrying it: its evidence counts. Fails the step
    when the trigger was settled or another run carries it.
    """
    tags = context.run.tags
    if TRIGGER not in tags:
        return None
    trigger_id, claim = int(tags[TRIGGER]), int(tags.get(CLAIM, "0"))
    with bench.database.writing() as connection:
        mine = _PARENT in tags or store.carry(connection, trigger_id, claim, context.run.run_id)
        trigger = store.trigger_by_id(connection, trigger_id)
    if trigger is None or not mine:
        raise dg.Failure(
            f"trigger {trigger_id} does not wait for this run: it was settled, or another run carries it; "
            "bench triggers shows it",
            allow_retries=False,
        )
    return trigger


def link_benchmark(context: dg.AssetExecutionContext, bench: Workbench, benchmark_id: str) -> None:
    """Record that this benchmark is measured for the trigger that the run carries, if it carries one."""
    tags = context.run.tags
    if TRIGGER in tags and _PARENT not in tags:
        with bench.database.writing() as connection:
            store.link_benchmark(connection, int(tags[TRIGGER]), int(tags.get(CLAIM, "0")), benchmark_id)
