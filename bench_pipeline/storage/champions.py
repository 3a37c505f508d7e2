"""The champion registry as rows. What belongs into it is decided elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select

from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.storage.tables import benchmark_history, benchmark_model_runs, champions


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


def measured_at(connection: Connection) -> dict[ConversationId, datetime]:
    """Return when the champion of each conversation was measured: the model run that its rank rests on."""
    c, h, r = champions.c, benchmark_history.c, benchmark_model_runs.c
    ranked = (h.benchmark_run_id == c.benchmark_id) & (h.actor_id == c.champion_actor_id)
    query = (
        select(c.conversation_id, func.max(r.started_at))
        .join_from(champions, benchmark_history, ranked)
        .join(benchmark_model_runs, r.model_run_id == h.model_run_id)
        .group_by(c.conversation_id)
    )
    return {number: at for number, at in connection.execute(query)}  # noqa: C416 - mypy does not take a row for a pair


def restore_champion(connection: Connection, conversation_id: ConversationId, row: Champion | None) -> None:
    """Set the registry's row of a conversation, or remove it."""
    connection.execute(delete(champions).where(champions.c.conversation_id == conversation_id))
    if row is not None:
        connection.execute(insert(champions).values({name: getattr(row, name) for name in Champion.__slots__}))
