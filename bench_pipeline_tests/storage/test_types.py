"""Moments and foreign texts come back from the database as they were meant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError

from bench_pipeline.storage.database import Database
from bench_pipeline.storage.types import ForeignText, UtcDateTime

TABLE = Table(
    "kept_values",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime),
    Column("text", ForeignText),
)
NEW_YORK = timezone(timedelta(hours=-5))
NOON = datetime(2026, 11, 24, 12, 0, 0, 123456, UTC)


@pytest.fixture
def kept(database: Database) -> Iterator[Database]:
    with database.writing() as connection:
        TABLE.create(connection)
    yield database
    with database.writing() as connection:
        TABLE.drop(connection)


def read_back(database: Database, **values: object) -> tuple[Any, Any]:
    with database.writing() as connection:
        connection.execute(insert(TABLE).values(id=1, **values))
    with database.engine.connect() as connection:
        row = connection.execute(select(TABLE.c.at, TABLE.c.text)).one()
    return row[0], row[1]


def test_nothing_is_read_back_as_nothing(kept: Database) -> None:
    assert read_back(kept, at=None, text=None) == (None, None)


@pytest.mark.parametrize(
    "moment", [NOON, NOON.astimezone(NEW_YORK), NOON.astimezone(timezone(timedelta(hours=14)))], ids=str
)
def test_a_moment_is_read_back_in_utc_to_the_microsecond(kept: Database, moment: datetime) -> None:
    at, _ = read_back(kept, at=moment)
    assert (at, at.tzinfo) == (NOON, UTC)


def test_a_moment_without_its_time_zone_is_refused(kept: Database) -> None:
    with pytest.raises((StatementError, ValueError), match="must have a time zone"):
        read_back(kept, at=NOON.replace(tzinfo=None))


def test_moments_of_different_zones_are_sorted_by_time(kept: Database) -> None:
    moments = {1: NOON.astimezone(NEW_YORK), 2: NOON - timedelta(minutes=1), 3: NOON + timedelta(minutes=1)}
    with kept.writing() as connection:
        connection.execute(insert(TABLE), [{"id": number, "at": at} for number, at in moments.items()])
        assert connection.scalars(select(TABLE.c.id).order_by(TABLE.c.at)).all() == [2, 1, 3]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        pytest.param("Gärtner 🌹 \\ %s {x}", "Gärtner 🌹 \\ %s {x}", id="every letter"),
        pytest.param("a\x00b\x00", "a\ufffdb\ufffd", id="NUL"),
        pytest.param("a\ud800b\udfff", "a\ufffdb\ufffd", id="lone surrogates"),
        pytest.param("'; DROP TABLE actors; --", "'; DROP TABLE actors; --", id="SQL"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_foreign_text_is_kept_and_what_no_database_takes_is_marked(kept: Database, text: str, stored: str) -> None:
    assert read_back(kept, text=text)[1] == stored


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
@given(text=st.text(st.characters(codec=None)))
def test_every_foreign_text_becomes_one_that_utf8_and_postgresql_take(dialect: Any, text: str) -> None:  # noqa: ANN401
    bound = ForeignText().process_bind_param(text, dialect)
    assert bound is not None
    assert "\x00" not in bound.encode("utf-8").decode("utf-8")
    assert [a for a, b in zip(bound, text, strict=True) if a != b] == ["\ufffd"] * sum(
        c == "\x00" or "\ud800" <= c <= "\udfff" for c in text
    )
