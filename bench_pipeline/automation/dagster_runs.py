"""Dagster's runs as the triggers see them: found by tag, their ends told apart."""

from __future__ import annotations

import dagster as dg

from bench_pipeline.assets.trigger_tags import CLAIM, TRIGGER
from bench_pipeline.operation.runs import RunState, SeenRun

_PARENT = "dagster/parent_run_id"
_INTERRUPTED = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
_MOST_CHARS = 500


class DagsterRuns:
    """The runs of an instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def of_claim(self, trigger_id: int, claim: int) -> SeenRun | None:
        """Return the run that was requested for this claim; one that a person executed again is not it."""
        wanted = dg.RunsFilter(tags={TRIGGER: str(trigger_id), CLAIM: str(claim)})
        runs = [run for run in self._instance.get_runs(wanted) if _PARENT not in run.tags]
        return self._seen(runs[0]) if runs else None

    def active(self, run_id: str) -> bool:
        """Whether the run has not ended; one that was deleted has."""
        run = self._instance.get_run_by_id(run_id)
        return run is not None and not run.is_finished

    def _seen(self, run: dg.DagsterRun) -> SeenRun:
        if not run.is_finished:
            return SeenRun(run.run_id, RunState.ACTIVE)
        if run.status is dg.DagsterRunStatus.SUCCESS:
            return SeenRun(run.run_id, RunState.SUCCEEDED)
        if run.status is dg.DagsterRunStatus.CANCELED:
            return SeenRun(run.run_id, RunState.CANCELLED)
        return self._failure(run.run_id)

    def _failure(self, run_id: str) -> SeenRun:
        steps = self._instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
        for record in steps:
            event = record.event_log_entry.dagster_event
            data = event.step_failure_data if event is not None else None
            if data is None or (data.error is not None and _named(data.error.cls_name)):
                continue
            told = data.user_failure_data.description if data.user_failure_data else None
            return SeenRun(run_id, RunState.FAILED, _short(told or (data.error.message if data.error else "")))
        ends = self._instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE).records
        last = ends[-1].event_log_entry.dagster_event if ends else None
        return SeenRun(run_id, RunState.DIED, _short(last.message or "" if last is not None else ""))


def _named(cls_name: str | None) -> bool:
    return cls_name in _INTERRUPTED


def _short(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _MOST_CHARS else f"{line[:_MOST_CHARS]}…"
