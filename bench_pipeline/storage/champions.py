"""The champion registry as rows. What belongs into it is decided elsewhere."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.storage.tables import champions


def champion(connection: Connection, conversation_id: ConversationId) -> Champion | None:
    """Return the registry's row of a conversation, or None."""
    row = connection.execute(_registry().where(champions.c.conversation_id == conversation_id)).first()
    return Champion(*row) if row else None


def all_champions(connection: Connection) -> list[Champion]:
    """Return the registry, by conversation."""
    return [Champion(*row) for row in connection.execute(_registry().order_by(champions.c.conversation_id))]


def champions_of(connection: Connection, task: str) -> list[Champion]:
    """Return the registry's rows of a task, by conversation."""
    query = _registry().where(champions.c.task_type == task).order_by(champions.c.conversation_id)
    return [Champion(*row) for row in connection.execute(query)]


def _registry() -> Select[Any]:
    return select(*(champions.c[name] for name in Champion.__slots__))


def restore_champion(connection: Connection, conversation_id: ConversationId, row: Champion | None) -> None:
    """Set the registry's row of a conversation, or remove it."""
    connection.execute(delete(champions).where(champions.c.conversation_id == conversation_id))
    if row is not None:
        connection.execute(insert(champions).values({name: getattr(row, name) for name in Champion.__slots__}))
