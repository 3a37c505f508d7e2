"""Whether Dagster's daemon is alive, read from the storage of its instance. Nothing of Dagster has to run for that.

The daemon's own page says healthy for half an hour after its death, so the age of each heartbeat counts here.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.scheduler.instigation import InstigatorState, TickStatus

from bench_pipeline.automation.alerts import SENSOR
from bench_pipeline.demo.home import dagster_home, open_instance
from bench_pipeline.domain.errors import InputError

SILENT_AFTER = timedelta(minutes=10)
"""A heartbeat comes every 30 s; a busy daemon was measured to leave out several."""
MOST_FAILED_TICKS = 5
"""As many ticks of one schedule or sensor may fail within an hour."""
_HOUR = timedelta(hours=1)
_FAILED = [TickStatus.FAILURE]


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of life: what was looked at, whether it is fresh, and the finding in words."""

    what: str
    ok: bool
    text: str


def existing_home() -> Path:
    """Return Dagster's home, which is not created here. Raises `InputError` when there is none."""
    if not os.environ.get("DAGSTER_HOME") and not Path(".dagster").is_dir():
        raise InputError("DAGSTER_HOME: is not set, and this folder has no .dagster; set it to the daemon's home")
    return dagster_home()


def signs_of_life(home: Path) -> list[Sign]:
    """Return what the instance of a home tells of daemon, sensors and schedules.

    Raises `InputError` when the instance cannot be read.
    """
    with open_instance(home) as instance:
        try:
            return [*_heartbeats(instance), *_ticks(instance)]
        except Exception as error:  # noqa: BLE001 - a database of any kind, which can fail in its own way
            cause = str(error).partition("\n")[0]
            raise InputError(f"{home}: the storage of Dagster's instance cannot be read: {cause}") from None


def _heartbeats(instance: DagsterInstance) -> list[Sign]:
    beats = instance.get_daemon_heartbeats()
    signs = []
    for kind in instance.get_required_daemon_types():
        beat = beats.get(kind)
        if beat is None:
            signs.append(Sign(f"daemon {kind}", False, "has never sent a heartbeat; start dagster-daemon"))
            continue
        age = timedelta(seconds=max(0.0, time.time() - beat.timestamp))
        fresh = age <= SILENT_AFTER
        text = f"last heartbeat {_words(age)} ago"
        signs.append(Sign(f"daemon {kind}", fresh, text if fresh else f"{text}; restart dagster-daemon"))
    return signs


def _ticks(instance: DagsterInstance) -> list[Sign]:
    signs = []
    for state in instance.all_instigator_state():
        if not state.is_running:
            continue
        after = (datetime.now(UTC) - _HOUR).timestamp()
        failed = len(
            instance.get_ticks(state.instigator_origin_id, state.selector_id, after=after, statuses=_FAILED, limit=60)
        )
        if failed > MOST_FAILED_TICKS:
            signs.append(Sign(f"ticks of {state.name}", False, f"{failed} failed in the last hour; see bench alerts"))
        elif state.name == SENSOR:
            signs.append(_alerts_sign(instance, state))
    return signs


def _alerts_sign(instance: DagsterInstance, state: InstigatorState) -> Sign:
    """Look whether the sensor that tells of everything else still runs."""
    done = [TickStatus.SUCCESS, TickStatus.SKIPPED]
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, statuses=done, limit=1)
    if not ticks:
        return Sign(f"sensor {SENSOR}", False, "is on and has never succeeded; look at its ticks")
    age = timedelta(seconds=max(0.0, time.time() - ticks[0].timestamp))
    fresh = age <= SILENT_AFTER
    text = f"last succeeded {_words(age)} ago"
    return Sign(f"sensor {SENSOR}", fresh, text if fresh else f"{text}; look at its ticks")


def _words(age: timedelta) -> str:
    seconds = age.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
