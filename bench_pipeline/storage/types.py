"""Column types for values that SQLite and PostgreSQL would store differently or refuse. Tables are in tables.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator

from bench_pipeline.domain.models.ids import Key, key_of, key_text
from bench_pipeline.domain.text import storable


class UtcDateTime(TypeDecorator[datetime]):
    """A timestamp with time zone. SQLite drops the zone, so every value is stored and returned in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC. Raises `ValueError` for a naive timestamp."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a timestamp must have a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401, ARG002
        """Return the timestamp in UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class ForeignText(TypeDecorator[str]):
    """Text from a model or a server, which may contain NUL (refused by PostgreSQL) or lone surrogates (by UTF-8)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Replace characters that the database would refuse with U+FFFD."""
        return None if value is None else storable(value)


class KeyText(TypeDecorator[Key]):
    """A key of production, of whatever type its column there has, stored as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Key | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the text from which the key is read back with its type."""
        return None if value is None else storable(key_text(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Key | None:  # noqa: ARG002
        """Return the key with its type."""
        return None if value is None else key_of(value)
