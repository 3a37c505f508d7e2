"""Holds the conversations of all task folders against production.

What is a fault is decided in domain/tasks/served.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from bench_pipeline.benchmark.task_folders import read_task, task_names, testcases_dir
from bench_pipeline.domain.errors import Fault, InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.tasks.served import served_faults
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production


@dataclass(frozen=True, slots=True)
class Existing:
    """The conversations of production: their `ids`, ordered, and the `production` that tells a typed id's type."""

    ids: tuple[ConversationId, ...]
    production: Production

    def of(self, task: Task) -> Task:
        """Return the task with its ids as production has them; one that it cannot have stays as it was typed."""
        return task.model_copy(update={"conversations": tuple(dict.fromkeys(map(self._key, task.conversations)))})

    def _key(self, typed: ConversationId) -> ConversationId:
        try:
            return self.production.conversation_key(typed)
        except InputError:
            return typed


def existing_conversations(database: Database, production: Production) -> Existing:
    """Read the ids of all conversations."""
    column = production.table("conversations").c.conversation_id
    with database.engine.connect() as connection:
        return Existing(tuple(connection.scalars(select(column).order_by(column))), production)


def conversation_faults(settings: Settings, existing: Existing | None) -> list[Fault]:
    """Return the faults of the conversations that tasks name; tasks that cannot be read are left out.

    Where production is not known, `existing` is None, and the tasks are compared with each other only.
    """
    tasks = dict(_readable_tasks(settings))
    if existing is None:
        return list(served_faults(tasks, None))
    return list(served_faults({file: existing.of(task) for file, task in tasks.items()}, dict.fromkeys(existing.ids)))


def _readable_tasks(settings: Settings) -> list[tuple[str, Task]]:
    readable = []
    for name in task_names(settings):
        try:
            task = read_task(settings, name)
        except (InputError, OSError):
            continue
        readable.append((str(testcases_dir(settings) / name / "task.yaml"), task))
    return readable
