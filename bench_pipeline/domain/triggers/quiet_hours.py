"""Quiet hours: the times of a week in which automation starts no benchmark. What else it waits for is in operation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bench_pipeline.domain.errors import InputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_EXAMPLE = "mon-fri 08:00-18:00; sat 10:00-12:00"
_ENTRY = re.compile(r"(?P<days>\D*)(?P<times>\d.*)", re.ASCII | re.DOTALL)
_TIMES = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Ranges in minutes since Monday 00:00 by the clock on the wall; an end may lie in the following week."""

    ranges: tuple[tuple[int, int], ...] = ()

    def end(self, local: datetime) -> datetime | None:
        """Return when the quiet hours that cover this moment end, in its own time zone; None when none do.

        Ranges that overlap or meet count as one.
        """
        minute = end = local.weekday() * _DAY + local.hour * 60 + local.minute
        while end - minute < _WEEK and (later := max(self._ends_of(end), default=end)) > end:
            end = later
        if end == minute:
            return None
        return local.replace(second=0, microsecond=0) + timedelta(minutes=end - minute)

    def _ends_of(self, minute: int) -> Iterator[int]:
        """Yield the ends of the ranges that cover this minute, counted from the same Monday as the minute."""
        place = minute % _WEEK
        for begin, end in self.ranges:
            for seen in (place, place + _WEEK):
                if begin <= seen < end:
                    yield minute + end - seen


def parse_quiet_hours(text: str) -> QuietHours:
    """Read `mon-fri 08:00-18:00; sat,sun 10:00-12:00, 22:00-06:00`.

    Days are optional; without them a range is for every day. A range that ends at or before its beginning ends on the
    next day. Raises `ValueError` with what is wrong and what to write, also for hours that cover the whole week.
    """
    entries = [entry.strip() for entry in text.split(";") if entry.strip()]
    found = QuietHours(tuple(sorted({one for entry in entries for one in _ranges_of(entry)})))
    if found.ranges and _covers_the_week(found):
        raise ValueError("the quiet hours cover the whole week, so no benchmark would start; leave hours for it")
    return found


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone by its name. Raises `InputError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, such as Europe, is an OSError
        raise InputError(
            f"BENCH_SCHEDULE_TIMEZONE: {name!r} is not a time zone; write one such as Europe/Berlin"
        ) from None


def _ranges_of(entry: str) -> Iterator[tuple[int, int]]:
    parts = _ENTRY.fullmatch(entry)
    if parts is None:
        raise ValueError(f"{entry!r} has no times; write days and times, such as {_EXAMPLE}")
    days = _days_of(parts["days"]) if parts["days"].strip() else set(range(len(DAYS)))
    for times in parts["times"].split(","):
        begin, end = _times_of(times.strip())
        for day in days:
            yield day * _DAY + begin, day * _DAY + (end if end > begin else end + _DAY)


def _days_of(text: str) -> set[int]:
    found: set[int] = set()
    for one in "".join(text.lower().split()).split(","):
        first, ranged, last = one.partition("-")
        for name in (first, last) if ranged else (first,):
            if name not in DAYS:
                raise ValueError(f"{name!r} is not a day; write {', '.join(DAYS[:-1])} or {DAYS[-1]}")
        begin = DAYS.index(first)
        length = (DAYS.index(last) - begin) % len(DAYS) if ranged else 0
        found |= {(begin + step) % len(DAYS) for step in range(length + 1)}
    return found


def _times_of(text: str) -> tuple[int, int]:
    parts = _TIMES.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text!r} is not a range of times; write one such as 08:00-18:00")
    hours_minutes = [int(part) for part in parts.groups()]
    begin, end = (60 * hour + minute for hour, minute in (hours_minutes[:2], hours_minutes[2:]))
    if hours_minutes[1] > 59 or hours_minutes[3] > 59 or begin >= _DAY or end > _DAY:
        raise ValueError(f"{text!r} is not a range of times; hours are 00:00 to 24:00, and no range begins at 24:00")
    if begin == end:
        raise ValueError(f"{text!r} is empty; write 00:00-24:00 for a whole day")
    return begin, end


def _covers_the_week(hours: QuietHours) -> bool:
    monday = datetime(2026, 1, 5)
    end = hours.end(monday)
    return end is not None and end - monday >= timedelta(days=7)
