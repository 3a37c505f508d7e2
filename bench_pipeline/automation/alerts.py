"""The sensor `alerts`, and what it reads from Dagster: failed runs, ticks and checks. What our tables hold is in
operation/alerting.

One sensor reads all of it from the instance since its cursor. Dagster's own run-failure sensors handle one event per
tick, know no ticks and no checks, and forget a failure whose handler failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.scheduler.instigation import InstigatorState, InstigatorType, TickStatus

from bench_pipeline.assets.workbench_resource import WorkbenchResource, readable_failures
from bench_pipeline.automation.switch import runs_by_default
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.domain.alerts.alert import Alert
from bench_pipeline.domain.alerts.messages import FailedCheck, Messages
from bench_pipeline.domain.text import first_line
from bench_pipeline.operation.alerting.gathering import gather
from bench_pipeline.operation.alerting.known_secrets import known_secrets
from bench_pipeline.operation.alerting.receivers import receivers
from bench_pipeline.operation.alerting.sending import keep, send, waiting
from bench_pipeline.settings import Settings

SENSOR = "alerts"
_BACK = timedelta(days=1)  # how far the first look goes back
_OVERLAP = timedelta(minutes=5)  # an event may be stored after a later one; an alert is stored once anyway
_RUNS = 200
_TICKS = 5
_CLASS = re.compile(r"^[\w.]*\.(?=\w+: )")


def alerting_automation(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor that finds alerts and sends them."""
    on = runs_by_default(settings)

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        description="Tells the receivers of BENCH_ALERT_URLS what happened to production, to benchmarks, to triggers "
        "and to Dagster itself: each cause at most once a day and subject. Starts no run. `bench alerts` lists it.",
    )
    def alerts(context: dg.SensorEvaluationContext, workbench: WorkbenchResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        messages = Messages(known_secrets(workbench.settings))
        since = _since(context.cursor, now)
        with readable_failures(), open_workbench(workbench.settings) as bench:
            gathered = gather(bench, messages, now)
            of_dagster, following = from_dagster(context.instance, messages, since, now)
            new = keep(bench.database, [*gathered.alerts, *of_dagster], bench.settings.ui_url, now)
            to = receivers(bench.settings)
            sent = send(bench.database, to, now)
            left = len(waiting(bench.database, now))
        for text in (*gathered.faults, *sent.failures):
            context.log.error(messages.plain(text))
        text = f"{new} new, {len(sent.accepted)} sent, {left} waiting"
        reason = text if to else f"{text}; BENCH_ALERT_URLS is not set, so nobody is told"
        return dg.SensorResult(skip_reason=reason, cursor=json.dumps({"since": following.isoformat()}))

    return [alerts]


def _since(cursor: str | None, now: datetime) -> datetime:
    try:
        since = datetime.fromisoformat(json.loads(cursor or "")["since"])
    except (ValueError, KeyError, TypeError):  # none yet, or a person's
        return now - _BACK
    return max(since, now - _BACK)


def from_dagster(
    instance: dg.DagsterInstance, messages: Messages, since: datetime, now: datetime
) -> tuple[list[Alert], datetime]:
    """Return the alerts about runs, checks and ticks since a moment, and the moment from which to look next time."""
    ended = instance.get_run_records(
        dg.RunsFilter(updated_after=since), limit=_RUNS, order_by="update_timestamp", ascending=True
    )
    begun = instance.get_run_records(dg.RunsFilter(statuses=[DagsterRunStatus.STARTED]), limit=_RUNS)
    following = ended[-1].update_timestamp if len(ended) == _RUNS else now - _OVERLAP
    records = {record.dagster_run.run_id: record for record in (*ended, *begun)}
    found: list[Alert] = []
    for record in records.values():
        found += _failed_checks(instance, record.dagster_run, messages, now - _BACK)
        if record.dagster_run.status is DagsterRunStatus.FAILURE:
            found.append(_failed_run(instance, record, messages))
    found += _failed_ticks(instance, messages, since)
    return found, following.replace(tzinfo=UTC) if following.tzinfo is None else following


def _failed_run(instance: dg.DagsterInstance, record: dg.RunRecord, messages: Messages) -> Alert:
    run = record.dagster_run
    kinds = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}
    events = instance.get_records_for_run(run.run_id, of_type=kinds, limit=1).records
    at = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
    reasons = (_reason_of_event(one.event_log_entry) for one in events)
    return messages.run_failed(run.job_name, run.run_id, next(reasons, "it gives no reason"), at)


def _reason_of_event(entry: dg.EventLogEntry) -> str:
    event = entry.get_dagster_event()
    data = event.event_specific_data
    said = getattr(getattr(data, "user_failure_data", None), "description", None)
    error = getattr(data, "error", None)
    where = f"{event.step_key}: " if event.step_key else ""
    return f"{where}{said or (_reason_of(error) if error else first_line(event.message))}"


def _reason_of(error: object) -> str:
    """Return the first line of the innermost cause of an error as Dagster keeps it."""
    while (cause := getattr(error, "cause", None)) is not None:
        error = cause
    return _CLASS.sub("", first_line(getattr(error, "message", error)))


def _failed_checks(
    instance: dg.DagsterInstance, run: dg.DagsterRun, messages: Messages, not_before: datetime
) -> Iterator[Alert]:
    """Yield one alert per failed check, and one per task for its warnings, which are complete when the run ended."""
    warnings: dict[str, list[tuple[FailedCheck, datetime]]] = {}
    for record in instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION).records:
        at = datetime.fromtimestamp(record.timestamp, UTC)
        found = record.event_log_entry.get_dagster_event().asset_check_evaluation_data
        if found.passed or at < not_before:
            continue
        check = FailedCheck(found.asset_key.path, found.check_name, _why(found))
        if found.severity is dg.AssetCheckSeverity.ERROR:
            yield messages.check_failed(check, at)
        else:
            warnings.setdefault(check.group, []).append((check, at))
    if run.is_finished:
        for group in warnings.values():
            yield messages.checks_warn([check for check, _ in group], run.run_id, max(at for _, at in group))


def _why(found: dg.AssetCheckEvaluation) -> str:
    """Return the description of an evaluation, or else its metadata."""
    facts = "; ".join(f"{name}: {value.value}" for name, value in found.metadata.items())
    return found.description or facts or "the check gives no reason"


def _failed_ticks(instance: dg.DagsterInstance, messages: Messages, since: datetime) -> Iterator[Alert]:
    states = instance.all_instigator_state() if instance.schedule_storage is not None else ()
    for state in states:
        if not state.is_running:
            continue
        ticks = instance.get_ticks(
            state.instigator_origin_id,
            state.selector_id,
            after=since.timestamp(),
            limit=_TICKS,
            statuses=[TickStatus.FAILURE],
        )
        for tick in ticks:
            at = datetime.fromtimestamp(tick.timestamp, UTC)
            yield messages.tick_failed(state.name, _page_of(state), _reason_of(tick.error), at)


def _page_of(state: InstigatorState) -> str:
    kind = {InstigatorType.SCHEDULE: "schedules", InstigatorType.SENSOR: "sensors"}.get(state.instigator_type)
    repository = state.repository_selector
    location = quote(repository.location_name, safe="")
    if repository.repository_name != "__repository__":
        location = f"{repository.repository_name}@{location}"
    return f"/locations/{location}/{kind}/{quote(state.name)}" if kind else "/automation"
