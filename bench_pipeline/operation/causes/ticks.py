"""When a cron expression was last due, in a time zone whose clock may be put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter


def latest_tick(cron: str, zone: str, now: datetime) -> datetime:
    """Return the last moment, in UTC, at which `cron` was due by the clock in `zone`.

    An hour that the clock shows twice counts once, the first time. A moment that the clock skips is due at once after.
    """
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    found = croniter(cron, local + timedelta(hours=3))  # a clock that was put back has shown a later hour before
    while True:
        tick: datetime = found.get_prev(datetime)
        moment = tick.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
        if moment <= now:
            return moment
