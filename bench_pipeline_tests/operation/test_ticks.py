"""When a schedule was last due, also where the clock is put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.operation.causes.ticks import latest_tick

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("cron", "zone", "now", "tick"),
    [
        ("0 3 1 * *", "UTC", "2026-12-01T03:00", "2026-12-01T03:00"),
        ("0 3 1 * *", "UTC", "2026-12-01T02:59", "2026-11-01T03:00"),
        ("0 3 1 * *", BERLIN, "2026-12-01T01:59", "2026-11-01T02:00"),
        ("0 3 1 * *", BERLIN, "2026-12-01T02:00", "2026-12-01T02:00"),
        ("0 3 1 * *", BERLIN, "2026-07-01T01:00", "2026-07-01T01:00"),
        # 2026-10-25: 03:00 summer time becomes 02:00; half past two comes twice, at 00:30 and 01:30 UTC.
        ("30 2 25 * *", BERLIN, "2026-10-25T00:30", "2026-10-25T00:30"),
        ("30 2 25 * *", BERLIN, "2026-10-25T01:10", "2026-10-25T00:30"),
        ("30 2 25 * *", BERLIN, "2026-10-25T01:45", "2026-10-25T00:30"),
        # 2026-03-29: 02:00 becomes 03:00, so half past two never comes; that February has no 29th either.
        ("30 2 29 * *", BERLIN, "2026-03-29T01:29", "2026-01-29T01:30"),
        ("30 2 29 * *", BERLIN, "2026-03-29T01:30", "2026-03-29T01:30"),
    ],
)
def test_the_latest_tick(cron: str, zone: str, now: str, tick: str) -> None:
    found = latest_tick(cron, zone, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(tick).replace(tzinfo=UTC)


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.sampled_from(["0 3 1 * *", "30 2 * * *", "0 0 * * 1", "*/15 * * * *"]),
)
def test_a_tick_stays_the_latest_until_the_next_one(moment: datetime, zone: str, cron: str) -> None:
    now = moment.replace(tzinfo=UTC)
    tick = latest_tick(cron, zone, now)

    assert tick <= now
    assert latest_tick(cron, zone, tick) == tick
    assert latest_tick(cron, zone, now + timedelta(hours=1)) >= tick
