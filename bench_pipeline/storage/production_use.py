"""What production keeps of its own use of models: how often they were called, and how long the calls took.

Texts of calls are in production_texts.py. Values come from production and may hold anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite

from sqlalchemy import Connection, DateTime, Table, func, select

from bench_pipeline.domain.models.ids import Key


def as_kept(moment: datetime, column: DateTime) -> datetime:
    """Convert a moment for a column; one without a time zone is taken to hold UTC."""
    return moment if column.timezone else moment.astimezone(UTC).replace(tzinfo=None)


def count_calls(
    connection: Connection, interactions: Table, actor_ids: Sequence[Key], since: datetime, until: datetime
) -> int:
    """Return how many calls these actors answered from `since` to `until`; 0 without timestamps."""
    i = interactions.c
    kept_as = i.created_at.type
    if not isinstance(kept_as, DateTime):
        return 0
    query = select(func.count()).where(
        i.created_at >= as_kept(since, kept_as), i.created_at <= as_kept(until, kept_as), i.actor_id.in_(actor_ids)
    )
    return connection.scalar(query) or 0


def read_latencies(
    connection: Connection,
    interactions: Table,
    actor_id: Key,
    conversation_ids: Sequence[Key],
    since: datetime,
    limit: int,
) -> list[float]:
    """Return the latencies (ms) of an actor's last calls in these conversations since a moment, newest first.

    At most `limit` calls are read; a latency that is not a number above 0 is left out. Empty without timestamps.
    """
    i = interactions.c
    kept_as = i.created_at.type
    if not isinstance(kept_as, DateTime):
        return []
    query = (
        select(i.latency_ms)
        .where(i.actor_id == actor_id, i.conversation_id.in_(conversation_ids), i.created_at >= as_kept(since, kept_as))
        .order_by(i.created_at.desc(), i.interaction_id.desc())
        .limit(limit)
    )
    found = (_milliseconds(value) for value in connection.scalars(query))
    return [value for value in found if value is not None]


def _milliseconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = float(value)
    return number if isfinite(number) and number > 0 else None
