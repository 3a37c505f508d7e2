"""Quiet hours: how they are written, what they cover, and when they end."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.triggers.quiet_hours import DAYS, QuietHours, parse_quiet_hours, zone_named

MONDAY = datetime(2026, 11, 30)
DAY, WEEK = 24 * 60, 7 * 24 * 60


def at(day: str, time: str) -> datetime:
    """A moment of the week that begins on 2026-11-30."""
    hour, minute = map(int, time.split(":"))
    return MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)


COVERED = [
    ("mon-fri 08:00-18:00; sat 10:00-12:00", ("mon", "08:00"), ("mon", "18:00")),
    ("mon-fri 08:00-18:00; sat 10:00-12:00", ("sat", "11:59"), ("sat", "12:00")),
    ("08:00-18:00", ("sun", "9:30"), ("sun", "18:00")),
    ("mon,wed 8:00-12:00, 13:00-18:00", ("wed", "13:00"), ("wed", "18:00")),
    ("fri 22:00-06:00", ("sat", "05:59"), ("sat", "06:00")),
    ("mon 08:00-12:00; mon 12:00-14:00; mon 13:00-15:00", ("mon", "09:00"), ("mon", "15:00")),
    ("sat-mon 00:00-24:00", ("mon", "23:59"), ("tue", "00:00")),
    ("MON - FRI  08:00 - 18:00 ;", ("tue", "08:00"), ("tue", "18:00")),
]


@pytest.mark.parametrize(("text", "moment", "end"), COVERED)
def test_a_covered_moment_is_quiet_until_the_last_of_the_ranges_that_meet_ends(
    text: str, moment: tuple[str, str], end: tuple[str, str]
) -> None:
    assert parse_quiet_hours(text).end(at(*moment)) == at(*end)


def test_hours_over_the_end_of_the_week_end_in_the_next_one() -> None:
    hours = parse_quiet_hours("sun 22:00-06:00; mon 06:00-07:00")
    assert hours.end(at("sun", "23:00")) == at("mon", "07:00") + timedelta(days=7)
    assert hours.end(at("mon", "03:00")) == at("mon", "07:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", ("mon", "12:00")),
        (" ; ", ("mon", "12:00")),
        ("mon-fri 08:00-18:00", ("mon", "18:00")),
        ("mon-fri 08:00-18:00", ("mon", "07:59")),
        ("mon-fri 08:00-18:00", ("sat", "12:00")),
        ("fri 22:00-06:00", ("fri", "05:00")),
    ],
)
def test_a_moment_outside_of_every_range_is_not_quiet(text: str, moment: tuple[str, str]) -> None:
    assert parse_quiet_hours(text).end(at(*moment)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("always", "'always' has no times; write days and times, such as mon-fri 08:00-18:00; sat 10:00-12:00"),
        ("montag 08:00-18:00", "'montag' is not a day; write mon, tue, wed, thu, fri, sat or sun"),
        ("mon- 08:00-18:00", "'' is not a day; write"),
        ("mon 8-18", "'8-18' is not a range of times; write one such as 08:00-18:00"),
        ("mon 08:00-18:00 UTC", "'08:00-18:00 UTC' is not a range of times"),
        ("mon 08:00-25:00", "'08:00-25:00' is not a range of times; hours are 00:00 to 24:00"),
        ("mon 24:00-06:00", "no range begins at 24:00"),
        ("mon 08:60-09:00", "'08:60-09:00' is not a range of times"),
        ("mon 08:00-08:00", "'08:00-08:00' is empty; write 00:00-24:00 for a whole day"),
        ("00:00-24:00", "the quiet hours cover the whole week, so no benchmark would start"),
        ("mon-sun 06:00-00:00; 23:00-06:00", "the quiet hours cover the whole week"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_quiet_hours(text)


# The clock is put forward on 2027-03-28 at 02:00, and back on 2026-10-25 at 03:00.
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (datetime(2027, 3, 28, 0, 59, tzinfo=UTC), "2027-03-28T05:00:00+02:00"),
        (datetime(2027, 3, 28, 1, 0, tzinfo=UTC), "2027-03-28T05:00:00+02:00"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25T05:00:00+01:00"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25T05:00:00+01:00"),
    ],
)
def test_quiet_hours_follow_the_clock_on_the_wall_when_it_is_changed(now: datetime, end: str) -> None:
    found = parse_quiet_hours("01:00-05:00").end(now.astimezone(BERLIN))
    assert found is not None
    assert found.isoformat() == end


RANGES = st.tuples(st.sets(st.sampled_from(DAYS)), st.integers(0, DAY - 1), st.integers(1, DAY)).filter(
    lambda one: one[1] != one[2]
)


def written(ranges: list[tuple[set[str], int, int]]) -> str:
    def time(minute: int) -> str:
        return f"{minute // 60:02}:{minute % 60:02}"

    return "; ".join(f"{','.join(sorted(days))} {time(begin)}-{time(end)}" for days, begin, end in ranges)


def minutes_of(ranges: list[tuple[set[str], int, int]]) -> set[int]:
    """Every quiet minute of the week, counted one by one."""
    return {
        (DAYS.index(day) * DAY + minute) % WEEK
        for days, begin, end in ranges
        for day in days or DAYS
        for minute in range(begin, end if end > begin else end + DAY)
    }


@given(st.lists(RANGES, max_size=3), st.integers(0, WEEK - 1))
def test_a_minute_is_quiet_if_a_range_contains_it_and_ends_at_the_first_that_is_not(
    ranges: list[tuple[set[str], int, int]], minute: int
) -> None:
    quiet = minutes_of(ranges)
    if len(quiet) == WEEK:
        with pytest.raises(ValueError, match="the whole week"):
            parse_quiet_hours(written(ranges))
        return

    end = parse_quiet_hours(written(ranges)).end(MONDAY + timedelta(minutes=minute))

    first_loud = next(later for later in range(minute, minute + WEEK) if later % WEEK not in quiet)
    assert end == (MONDAY + timedelta(minutes=first_loud) if first_loud > minute else None)


@given(st.text(alphabet="monfri0123456789:-,; \t\n²é", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_quiet_hours(text), QuietHours)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe", "/etc/localtime", "a\0b"])
def test_what_is_no_time_zone_is_refused_with_the_name_of_its_variable(name: str) -> None:
    with pytest.raises(InputError, match=r"BENCH_SCHEDULE_TIMEZONE: .* is not a time zone; write one such as"):
        zone_named(name)
