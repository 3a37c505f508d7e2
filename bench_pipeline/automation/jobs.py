"""Jobs for one task and for all, and the monthly schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

Job = Any  # Dagster does not export the type that define_asset_job returns
# The longest benchmark that is believed; a run that hangs longer is ended by the daemon.
MAX_RUNTIME = {"dagster/max_runtime": str(24 * 3600)}
FOR_ALL_TASKS = dg.AssetSelection.assets("reconciliation", "eligible_models", "workflow_docs", "champion_registry")


def job_name(task: str) -> str:
    """Return the name of a task's job."""
    return f"benchmark_{task}"


def task_job(task: str) -> Job:
    """Return the job of one task, from its cases to the documents. Without a partition it runs all models."""
    return dg.define_asset_job(
        job_name(task),
        selection=FOR_ALL_TASKS | dg.AssetSelection.key_prefixes(task),
        description=f"Measure all eligible models on {task}, rank them, and promote when the measurement says so.",
        tags=MAX_RUNTIME,
    )


def all_tasks_job() -> Job:
    """Return the job of all tasks in one run, a model after the other."""
    return dg.define_asset_job(
        "benchmark_all",
        selection=dg.AssetSelection.all(),
        description="Measure all eligible models on every task, rank them, and promote where a measurement says so.",
        tags=MAX_RUNTIME,
    )


def monthly_schedule(job: Job, cron: str, timezone: str) -> dg.ScheduleDefinition:
    """Return the monthly schedule; it is switched on by a person."""
    return dg.ScheduleDefinition(
        name="monthly_benchmark",
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="All tasks, all eligible models, once a month.",
    )


def jobs(tasks: Sequence[str]) -> list[Job]:
    """Return every job."""
    return [all_tasks_job(), *(task_job(task) for task in tasks)]
