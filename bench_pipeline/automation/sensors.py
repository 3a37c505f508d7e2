"""The sensors that launch runs: `triggers` measures what is due, `deliveries` promotes by what was measured.

What is due, and why, is decided in operation/rounds.py; what a run does is in assets/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from bench_pipeline.assets.partitions import models
from bench_pipeline.assets.trigger_tags import BENCHMARK, CAUSE, CLAIM, MODEL, PLAN, TRIGGER
from bench_pipeline.assets.triggers import SHOWN_STATES, fingerprint, triggers_event
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.automation.dagster_runs import DagsterRuns
from bench_pipeline.automation.jobs import DELIVERY, AssetJob, Jobs, job_name, promotion_job_name
from bench_pipeline.automation.schedules import schedules
from bench_pipeline.automation.switch import runs_by_default
from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.models.partition import partition_key
from bench_pipeline.domain.triggers.trigger import Cause, Trigger
from bench_pipeline.operation.causes.approved import promotion_in
from bench_pipeline.operation.rounds import Round, delivering_round, measuring_round
from bench_pipeline.settings import Settings
from bench_pipeline.storage.triggers import triggers_of

DESCRIBING_LIMIT_S = 6.0
"""How long a tick waits for servers to tell of their models."""
_INTERVAL_S = 30
_DOCUMENTS = (dg.AssetKey("workflow_docs"), dg.AssetKey("champion_registry"))
_MEASURING_STAGES = ("test_cases", "model_runs", "scoreboard", "report")


@dataclass(frozen=True, slots=True)
class Automation:
    """What starts runs in a code location."""

    schedules: tuple[dg.ScheduleDefinition, ...]
    sensors: tuple[dg.SensorDefinition, ...]


def measuring_automation(tasks: Sequence[str], jobs: Jobs, settings: Settings, delivers: bool = True) -> Automation:
    """Return what starts benchmarks; `delivers` says whether their runs go on into production.

    Raises `InputError` for a schedule that Dagster refuses.
    """
    return Automation(
        tuple(schedules(tasks, jobs.all_tasks, settings)), (_triggers_sensor(tasks, jobs, settings, delivers),)
    )


def delivering_automation(tasks: Sequence[str], jobs: Sequence[AssetJob], settings: Settings) -> Automation:
    """Return what starts promotions; `jobs` are those of `promotion_jobs`. Without tasks there is nothing to start."""
    return Automation((), (_deliveries_sensor(tasks, jobs, settings),) if tasks else ())


def _triggers_sensor(tasks: Sequence[str], jobs: Jobs, settings: Settings, delivers: bool) -> dg.SensorDefinition:
    then = f"A run ranks, decides and promotes where the approval allows it: {_approvals(tasks, settings)}."
    if not delivers:
        then = (
            "A run ranks and promotes nothing; the sensor `deliveries` of the other code location goes on from there."
        )

    @dg.sensor(
        name="triggers",
        jobs=list(jobs.of_tasks) or [jobs.all_tasks],
        minimum_interval_seconds=_INTERVAL_S,
        default_status=_status(settings),
        description=(
            f"Measures what is due: the schedules' benchmarks, new models and weights, and what changed. {then} "
            "bench triggers lists what waits and why."
        ),
    )
    def triggers(context: dg.SensorEvaluationContext, workbench: WorkbenchResource) -> dg.SensorResult:
        with workbench.look() as bench:
            roster = candidates(bench, limit_s=DESCRIBING_LIMIT_S)
            now = datetime.now(UTC)
            found = measuring_round(bench, tasks, roster, DagsterRuns(context.instance), now)
            with bench.database.engine.connect() as connection:
                shown = triggers_of(connection, tasks, SHOWN_STATES)
        requests = [_measuring(trigger) for trigger in found.claimed]
        known = set(context.instance.get_dynamic_partitions(str(models.name)))
        new = sorted({str(one.partition_key) for one in requests if one.partition_key is not None} - known)
        changed = (seen := fingerprint(shown)) != context.cursor
        return dg.SensorResult(
            **_outcome(context, found, requests),
            dynamic_partitions_requests=[models.build_add_request(new)] if new else [],
            asset_events=[triggers_event(shown, now)] if changed else [],
            cursor=seen,
        )

    return triggers


def _deliveries_sensor(tasks: Sequence[str], jobs: Sequence[AssetJob], settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name="deliveries",
        jobs=list(jobs),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=_status(settings),
        description=(
            "Decides from benchmarks that were measured elsewhere, and applies plans that nothing keeps back any more. "
            f"It changes production where the approval allows it: {_approvals(tasks, settings)}."
        ),
    )
    def deliveries(context: dg.SensorEvaluationContext, workbench: WorkbenchResource) -> dg.SensorResult:
        with workbench.look() as bench:
            found = delivering_round(bench, tasks, DagsterRuns(context.instance), datetime.now(UTC))
        return dg.SensorResult(**_outcome(context, found, [_delivering(trigger) for trigger in found.claimed]))

    return deliveries


def _outcome(context: dg.SensorEvaluationContext, found: Round, requests: list[dg.RunRequest]) -> dict[str, Any]:
    """Return the runs that a tick requests, else why there are none; with runs the texts go to the tick's log."""
    if not requests:
        return {"skip_reason": "\n".join(found.lines) or "testcases/ holds no task"}
    for line in found.lines:
        context.log.info(line)
    return {"run_requests": requests}


def _measuring(trigger: Trigger) -> dg.RunRequest:
    """Return the request of a run that measures, and promotes unless it is a review under other terms."""
    single = trigger.models[0] if trigger.models is not None and len(trigger.models) == 1 else None
    stages = [dg.AssetKey("eligible_models"), *(dg.AssetKey([trigger.task, stage]) for stage in _MEASURING_STAGES)]
    return dg.RunRequest(
        run_key=_run_key(trigger),
        job_name=job_name(trigger.task),
        partition_key=partition_key(single) if single is not None else None,
        asset_selection=stages if trigger.terms else None,
        tags=_tags(trigger) | ({MODEL: _tag(single)} if single is not None else {}),
    )


def _delivering(trigger: Trigger) -> dg.RunRequest:
    """Return the request of a run that decides and promotes, applies a stored plan, or only validates."""
    tags = _tags(trigger)
    stages: tuple[str, ...] = DELIVERY
    if trigger.cause is Cause.DECISION_DUE:
        tags[BENCHMARK] = trigger.subject
    elif promotion_in(trigger.subject) is None:
        tags[PLAN], stages = trigger.subject, DELIVERY[1:]
    else:
        stages = DELIVERY[2:]
    return dg.RunRequest(
        run_key=_run_key(trigger),
        job_name=promotion_job_name(trigger.task),
        asset_selection=[*(dg.AssetKey([trigger.task, stage]) for stage in stages), *_DOCUMENTS],
        tags=tags,
    )


def _run_key(trigger: Trigger) -> str:
    return f"trigger {trigger.trigger_id}, run {trigger.claims}"


def _tags(trigger: Trigger) -> dict[str, str]:
    return {TRIGGER: str(trigger.trigger_id), CLAIM: str(trigger.claims), CAUSE: trigger.cause.value}


def _tag(model: str) -> str:
    """Return a model's name as Dagster accepts it in a tag."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in model)[:63].strip("._-") or "model"


def _status(settings: Settings) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if runs_by_default(settings) else dg.DefaultSensorStatus.STOPPED


def _approvals(tasks: Sequence[str], settings: Settings) -> str:
    """Return in words which tasks are promoted without a person's approval."""
    if settings.approval == "required":
        return "every plan needs a person's approval (BENCH_APPROVAL=required)"
    automatic = [task for task in tasks if _has_automatic(task, settings)]
    if not automatic:
        return "every plan needs a person's approval"
    return f"conversations under promotion.auto of {', '.join(automatic)} need none, all others do"


def _has_automatic(task: str, settings: Settings) -> bool:
    try:
        return bool(read_task(settings, task).promotion.auto)
    except BenchError:
        return False
