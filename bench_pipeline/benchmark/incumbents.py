"""What production uses for a task now, and its result in a benchmark. Decides nothing: see domain/promoting."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from sqlalchemy import Connection

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.models.ids import ConversationId, short_name
from bench_pipeline.domain.promoting.decision import Incumbent
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.history import earlier_results
from bench_pipeline.storage.production import Conversation
from bench_pipeline.storage.production_texts import ConversationPrompt


def incumbents_of(
    bench: Workbench, task: Task, ranked: RankedBenchmark
) -> dict[ConversationId, tuple[Conversation, Incumbent] | None]:
    """Return each conversation of the task with its incumbent; None for one that production does not have."""
    numbers = task.conversations
    with bench.database.engine.connect() as connection:
        found = {row.conversation_id: row for row in bench.production.conversations(connection, numbers)}
        others = other_prompts(ranked.benchmark, bench.production.prompts_of(connection, numbers))
        incumbents = _Incumbents(connection, ranked)
        return {
            number: (found[number], incumbents.of(found[number], number in others)) if number in found else None
            for number in numbers
        }


def other_prompts(
    benchmark: BenchmarkRow, own: Mapping[ConversationId, ConversationPrompt]
) -> frozenset[ConversationId]:
    """Return which of these conversations are asked something else than was measured, by their prompts of their own.

    Options that no decoding can have are something else.
    """
    measured = Task.model_validate(benchmark.task)
    differs: dict[tuple[str, str | None, str], bool] = {}  # most conversations share their prompt with others
    found = set()
    for number, prompt in own.items():
        key = prompt.template, prompt.system, repr(prompt.options)
        if key not in differs:
            differs[key] = _differs(measured, benchmark.prompt_hash, prompt)
        if differs[key]:
            found.add(number)
    return frozenset(found)


def _differs(measured: Task, measured_hash: str, own: ConversationPrompt) -> bool:
    prompt = measured.prompt.prompt.with_production(own.template, own.system)
    try:
        decoding = measured.decoding.with_options(own.options)
    except ValidationError:
        return True
    return prompt.hash != measured_hash or decoding != measured.decoding


class _Incumbents:
    """The incumbents that a benchmark measured; conversations with the same actor and prompt share one."""

    def __init__(self, connection: Connection, ranked: RankedBenchmark) -> None:
        self._connection = connection
        self._ranked = ranked
        self._results = {result.actor_id: result for result in reversed(ranked.scoreboard.results)}
        self._exclusions = {one.model: one.exclusion for one in reversed(ranked.excluded)}
        self._made: dict[tuple[object, ...], Incumbent] = {}

    def of(self, conversation: Conversation, other_prompt: bool) -> Incumbent:
        key = conversation.actor_id, conversation.actor_name, conversation.actor_type, other_prompt
        if key not in self._made:
            self._made[key] = self._make(conversation, other_prompt)
        return self._made[key]

    def _make(self, conversation: Conversation, other_prompt: bool) -> Incumbent:
        number, name = conversation.actor_id, conversation.actor_name
        result = self._results.get(number) if number is not None else None
        unreadable = result is not None and result.only_unreadable
        return Incumbent(
            actor_id=number,
            name=name,
            actor_type=conversation.actor_type,
            is_model=conversation.is_model or conversation.actor_type is None,
            result=result,
            exclusion=self._exclusions.get(short_name(name)) if name else None,
            other_prompt=self._ranked.benchmark.prompt_source if other_prompt else "",
            was_right=_last_right(self._connection, result, self._ranked) if result and unreadable else "",
        )


def _last_right(connection: Connection, result: ModelResult, ranked: RankedBenchmark) -> str:
    """Return the benchmark in which the model was last right under the same terms; empty if it was wrong since."""
    if result.actor_id is None:
        return ""
    identity = ranked.runs[result.model].identity
    for benchmark_id, earlier in earlier_results(connection, ranked.benchmark, result.actor_id, identity):
        if earlier.qualified:
            return benchmark_id
        if earlier.standing is Standing.DISQUALIFIED and not earlier.only_unreadable:
            return ""
    return ""
