"""For how long replies are kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.retention import parse_keep

NOW = datetime(2028, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "before", "words"),
    [
        ("1d", datetime(2028, 3, 30, 12, tzinfo=UTC), "1 day"),
        ("90d", datetime(2028, 1, 1, 12, tzinfo=UTC), "90 days"),
        ("1m", datetime(2028, 2, 29, 12, tzinfo=UTC), "1 month"),
        ("13m", datetime(2027, 2, 28, 12, tzinfo=UTC), "13 months"),
        ("24m", datetime(2026, 3, 31, 12, tzinfo=UTC), "24 months"),
        ("2y", datetime(2026, 3, 31, 12, tzinfo=UTC), "2 years"),
    ],
)
def test_a_duration_is_read_and_counted_back_in_the_calendar(text: str, before: datetime, words: str) -> None:
    keep = parse_keep(text)

    assert (keep.before(NOW), str(keep)) == (before, words)


@pytest.mark.parametrize("text", ["", "0d", "-1d", "24", "m", "24 m", "24M", "1.5y", "2w", "24m\n", "٢m", "999999d"])
def test_a_text_that_is_not_a_duration_of_a_day_or_more_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InputError, match="write days, months or years as 90d, 24m or 2y"):
        parse_keep(text)


@pytest.mark.parametrize("text", ["3000y", "99999m"])
def test_a_duration_beyond_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is too long"):
        parse_keep(text).before(NOW)


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        keep = parse_keep(text)
    except InputError:
        return
    assert f"{keep.number}{keep.unit}" == text
