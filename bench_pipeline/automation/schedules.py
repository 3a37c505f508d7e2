"""The schedules, as Dagster shows them. A tick only notices a trigger; the sensor `triggers` launches the run.

So a tick that was missed, failed or came twice changes nothing: the sensor looks for what is due as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg

from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.automation.jobs import AssetJob
from bench_pipeline.automation.switch import runs_by_default
from bench_pipeline.domain.errors import BenchError, InputError
from bench_pipeline.domain.triggers.quiet_hours import zone_named
from bench_pipeline.operation.causes import Find
from bench_pipeline.operation.causes.monthly import find_monthly
from bench_pipeline.operation.causes.quarterly import find_quarterly
from bench_pipeline.operation.triggers import notice
from bench_pipeline.settings import Settings


def schedules(tasks: Sequence[str], job: AssetJob, settings: Settings) -> list[dg.ScheduleDefinition]:
    """Return the monthly benchmark and the quarterly review.

    Raises `InputError` for a cron expression or a time zone that Dagster refuses.
    """
    zone_named(settings.schedule_timezone)  # Dagster takes an empty one for UTC
    monthly = _Cron("monthly_benchmark", "BENCH_SCHEDULE", settings.schedule, "All tasks and all eligible models.")
    review = _Cron(
        "quarterly_review",
        "BENCH_REVIEW_SCHEDULE",
        settings.review_schedule,
        "All tasks and all eligible models, five passes, once as production runs and once cold. Its reports are marked "
        "as a review; only a part under the task's own terms can lead to a promotion.",
    )
    return [
        _schedule(monthly, tasks, job, settings, find_monthly),
        _schedule(review, tasks, job, settings, find_quarterly),
    ]


class _Cron(NamedTuple):
    """A schedule's name, the setting that has its expression, and what it measures."""

    name: str
    variable: str
    expression: str
    what: str


def _schedule(
    cron: _Cron, tasks: Sequence[str], job: AssetJob, settings: Settings, find: Find
) -> dg.ScheduleDefinition:
    running = dg.DefaultScheduleStatus.RUNNING if runs_by_default(settings) else dg.DefaultScheduleStatus.STOPPED
    try:
        return dg.ScheduleDefinition(
            name=cron.name,
            job=job,
            cron_schedule=cron.expression,
            execution_timezone=settings.schedule_timezone,
            default_status=running,
            execution_fn=_noticing(tasks, find),
            required_resource_keys={"workbench"},
            description=f"{cron.what} A tick notices what is due; the sensor `triggers` launches it.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise InputError(
            f"{cron.variable}: {cron.expression!r} is not a cron expression; write five fields such as 0 3 1 * *"
        ) from error


def _noticing(tasks: Sequence[str], find: Find) -> Callable[[dg.ScheduleEvaluationContext], dg.SkipReason]:
    def tick(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        workbench: WorkbenchResource = context.resources.workbench
        lines = []
        with workbench.look() as bench:
            now = datetime.now(UTC)
            for task in tasks:
                try:
                    found = find(bench, task, (), now)
                    notice(bench, task, found, now, looked_for=())
                    lines.append(f"{task}: {'; '.join(one.why for one in found) or 'nothing is due'}")
                except BenchError as error:  # this task's own fault: the others continue
                    lines.append(f"{task}: {error}")
        return dg.SkipReason("\n".join(["the sensor triggers launches what is due", *lines]))

    return tick
