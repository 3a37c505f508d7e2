"""The conversations that tasks serve, held against those that exist and against each other. Reads nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

from bench_pipeline.domain.errors import Fault
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.tasks.task import Task

_SHOWN = 5
_FIELD = "conversations"


def served_faults(tasks: Mapping[str, Task], existing: Collection[ConversationId] | None) -> Iterator[Fault]:
    """Return the faults of tasks, by the path of their task.yaml: conversations that two serve, or that do not exist.

    `existing` is None where production is not known; then only the tasks are compared.
    """
    for file, task in tasks.items():
        for number in task.conversations:
            others = [other.task for path, other in tasks.items() if path != file and number in other.conversations]
            if others:
                problem = f"conversation {number} is in the task {' and '.join(others)} too"
                yield Fault(file, _FIELD, problem, "remove it from all but one task.yaml")
        missing = [number for number in task.conversations if existing is not None and number not in existing]
        if existing is not None and missing:
            plural = len(missing) > 1
            problem = f"conversation{'s' * plural} {', '.join(map(str, missing))} do{'es' * (not plural)} not exist"
            yield Fault(file, _FIELD, f"{problem} in production", _remedy(task, existing))


def _remedy(task: Task, existing: Collection[ConversationId]) -> str:
    kept = [number for number in task.conversations if number in existing]
    if kept:
        return f"write `conversations: {json.dumps(kept, ensure_ascii=False)}`"
    shown = ", ".join(str(number) for number in list(existing)[:_SHOWN])
    more = ", …" if len(existing) > _SHOWN else ""
    return f"list conversations that exist ({shown}{more}), or write `conversations: []`"
