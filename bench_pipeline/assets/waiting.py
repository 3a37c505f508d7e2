"""Production uses the accelerator: a run that automation started waits and logs for what; a person is told."""

from __future__ import annotations

from datetime import UTC, datetime
from time import sleep

import dagster as dg

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.operation.quiet_hours import must_wait

LOOK_AGAIN_S = 30.0


def wait_for_production(context: dg.AssetExecutionContext, bench: Workbench) -> None:
    """Return once a benchmark may begin. The time in the queue may have led into quiet hours."""
    told = ""
    while why := must_wait(bench, datetime.now(UTC)):
        if why != told:
            context.log.info(f"waiting: {why}")
            told = why
        sleep(LOOK_AGAIN_S)


def tell_of_production(context: dg.AssetExecutionContext, bench: Workbench) -> None:
    """Tell a person who launched a run what automation would wait for."""
    if why := must_wait(bench, datetime.now(UTC)):
        context.log.warning(f"{why}; a person launched this run, so it starts all the same")
