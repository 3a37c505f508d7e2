"""A task with its ids as production's columns have them: a task.yaml may say 3336 or "3336".

Reading the files is in task_folders.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench_pipeline.benchmark.task_folders import read_task, testcases_dir
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.tasks.task import Task


def task_in_production(bench: Workbench, name: str) -> Task:
    """Read a task, with its ids as production has them. Raises as `read_task` and `with_production_keys` do."""
    return with_production_keys(bench, read_task(bench.settings, name))


def with_production_keys(bench: Workbench, task: Task) -> Task:
    """Return the task with its ids as production has them; unchanged without production.

    Raises `InputError` for an id that a conversation of production cannot have.
    """
    if bench.application is None:
        return task
    keys = _Keys(bench, task)
    source, rules = task.prompt, task.promotion
    conversation = None if source.conversation is None else keys.of("prompt.conversation", source.conversation)
    changes = {
        "conversations": keys.all_of("conversations", task.conversations),
        "promotion": rules.model_copy(update={"auto": keys.all_of("promotion.auto", rules.auto)}),
        "prompt": source.model_copy(update={"conversation": conversation}),
    }
    return task.model_copy(update=changes)


def served_by(bench: Workbench, names: Iterable[str], conversation_id: ConversationId) -> str | None:
    """Return the first of these tasks that serves a conversation; an id that production cannot have is another's."""
    for name in names:
        for typed in read_task(bench.settings, name).conversations:
            try:
                if bench.production.conversation_key(typed) == conversation_id:
                    return name
            except InputError:
                continue
    return None


class _Keys:
    def __init__(self, bench: Workbench, task: Task) -> None:
        self._production = bench.production
        self._file = testcases_dir(bench.settings) / task.task / "task.yaml"

    def of(self, field: str, typed: ConversationId) -> ConversationId:
        try:
            return self._production.conversation_key(typed)
        except InputError as error:
            raise InputError(f"{self._file}: {field}: {error}") from None

    def all_of(self, field: str, typed: Iterable[ConversationId]) -> tuple[ConversationId, ...]:
        return tuple(dict.fromkeys(self.of(field, one) for one in typed))
