"""Ghost runs: Dagster believes that they are running, but their process is dead and nobody reported it.

The code server reports a run whose process died. When both died, because the machine did or each was killed, the run
would stay STARTED for a day and keep its pool. A run that waits to start is Dagster's own run monitoring's to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.storage.locks import Holder, this_process

PROCESS_TAG = "bench/process"
"""The process of a run, written by that process when it begins."""

_RUNNING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Ghost:
    """A run that was ended, or that cannot be judged from here, and why."""

    run_id: str
    job: str
    why: str


@dataclass(frozen=True, slots=True)
class Healing:
    """What was found among the runs in progress."""

    ended: Sequence[Ghost]
    unknown: Sequence[Ghost]
    freed: Sequence[str] = ()
    """Runs that are over and still held or awaited a slot of a pool."""


@dataclass(frozen=True, slots=True)
class _Process:
    """A run's process. A run that is started again inherits the tags of the old one, so the run is named too."""

    run_id: str
    boot: str
    holder: Holder

    @property
    def death(self) -> str | None:
        """Return how it is known that the process ended; None while it lives or cannot be seen."""
        here = this_process()
        if self.holder.host == here.host and "" != self.boot != _boot() != "":
            return f"{self.holder.host} was restarted"
        return f"process {self.holder.pid} on {self.holder.host} ended" if self.holder.is_dead else None

    @property
    def is_visible(self) -> bool:
        """Whether this process could see it end."""
        here = this_process()
        return (self.holder.host, self.holder.pid_namespace) == (here.host, here.pid_namespace)


_TAG = TypeAdapter(_Process)


def mark(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Write down that this process executes the run."""
    process = _Process(run.run_id, _boot(), this_process())
    instance.add_run_tags(run.run_id, {PROCESS_TAG: _TAG.dump_json(process).decode()})


def heal(instance: dg.DagsterInstance) -> Healing:
    """End the runs in progress whose process is dead. A run that lives, or cannot be judged from here, is left."""
    ended, unknown = [], []
    for run in instance.get_runs(dg.RunsFilter(statuses=_RUNNING)):
        process = _process_of(run)
        if process is None:
            unknown.append(Ghost(run.run_id, run.job_name, "it does not say which process executes it"))
        elif why := process.death:
            if _end(instance, run.run_id, why):
                ended.append(Ghost(run.run_id, run.job_name, why))
        elif not process.is_visible:
            where = f"process {process.holder.pid} on {process.holder.host}"
            unknown.append(Ghost(run.run_id, run.job_name, f"{where} cannot be seen from here"))
    return Healing(ended, unknown, _free_slots(instance))


def end_run(instance: dg.DagsterInstance, run_id: str) -> Ghost:
    """End a run that a person knows to be dead.

    Raises `InputError` when it is unknown or not in progress, and `GateFailed` when its process lives on this machine.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        raise InputError(f"{run_id}: {'is over' if run else 'is not a run of this instance'}; nothing is left to heal")
    process = _process_of(run)
    if process is not None and process.death is None and process.is_visible:
        raise GateFailed(f"{run_id}: process {process.holder.pid} executes it; terminate the run in the UI instead")
    why = "a person said that its process is dead"
    _end(instance, run_id, why)
    return Ghost(run.run_id, run.job_name, why)


def _free_slots(instance: dg.DagsterInstance) -> Sequence[str]:
    storage = instance.event_log_storage
    pools = [storage.get_concurrency_info(pool.name) for pool in storage.get_pool_limits()]
    holders = {slot.run_id for pool in pools for slot in pool.claimed_slots}
    holders |= {step.run_id for pool in pools for step in pool.pending_steps}
    over = [run_id for run_id in sorted(holders) if (run := instance.get_run_by_id(run_id)) is None or run.is_finished]
    for run_id in over:
        storage.free_concurrency_slots_for_run(run_id)
    return over


def _process_of(run: dg.DagsterRun) -> _Process | None:
    try:
        process = _TAG.validate_json(run.tags.get(PROCESS_TAG, ""))
    except ValidationError:
        return None
    return process if process.run_id == run.run_id and process.holder.pid > 0 else None


def _end(instance: dg.DagsterInstance, run_id: str, why: str) -> bool:
    run = instance.get_run_by_id(run_id)  # again: its last act may have been to report how it ended
    if run is None or run.is_finished:
        return False
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"{why}, so the run is over")
    else:
        text = f"{why}, so nothing continues this run. What it measured is stored: launch the job again."
        instance.report_run_failed(run, text)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return True


def _boot() -> str:
    """Return what tells one start of this machine from the next; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
