"""Holds the conversations of all task folders against production.

What is a fault is decided in domain/tasks/served.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from bench_pipeline.benchmark.task_folders import read_task, task_names, testcases_dir
from bench_pipeline.domain.errors import Fault, InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.tasks.served import served_faults
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production


def existing_conversations(database: Database, production: Production) -> list[ConversationId]:
    """Return the ids of all conversations, ordered."""
    column = production.table("conversations").c.conversation_id
    with database.engine.connect() as connection:
        return list(connection.scalars(select(column).order_by(column)))


def conversation_faults(settings: Settings, existing: Sequence[ConversationId] | None) -> list[Fault]:
    """Return the faults of the conversations that tasks name; tasks that cannot be read are left out.

    Where production is not known, `existing` is None, and the tasks are compared with each other only.
    """
    return list(served_faults(dict(_readable_tasks(settings)), None if existing is None else dict.fromkeys(existing)))


def _readable_tasks(settings: Settings) -> list[tuple[str, Task]]:
    readable = []
    for name in task_names(settings):
        try:
            task = read_task(settings, name)
        except (InputError, OSError):
            continue
        readable.append((str(testcases_dir(settings) / name / "task.yaml"), task))
    return readable
