"""What production uses for a task now, and its result in a benchmark. Decides nothing: see domain/promoting."""

from __future__ import annotations

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
        prompts = {number: bench.production.prompt_of(connection, number) for number in numbers}
        return {
            number: (found[number], _incumbent(connection, found[number], prompts[number], ranked))
            if number in found
            else None
            for number in numbers
        }


def has_other_prompt(benchmark: BenchmarkRow, own: ConversationPrompt) -> bool:
    """Whether a conversation with this prompt of its own is asked something else than was measured.

    Options that no decoding can have are something else.
    """
    measured = Task.model_validate(benchmark.task)
    prompt = measured.prompt.prompt.with_production(own.template, own.system)
    try:
        decoding = measured.decoding.with_options(own.options)
    except ValidationError:
        return True
    return prompt.hash != benchmark.prompt_hash or decoding != measured.decoding


def _incumbent(
    connection: Connection, conversation: Conversation, own: ConversationPrompt | None, ranked: RankedBenchmark
) -> Incumbent:
    number, name = conversation.actor_id, conversation.actor_name
    other = own is not None and has_other_prompt(ranked.benchmark, own)
    result = next((r for r in ranked.scoreboard.results if r.actor_id is not None and r.actor_id == number), None)
    return Incumbent(
        actor_id=number,
        name=name,
        actor_type=conversation.actor_type,
        is_model=conversation.is_model or conversation.actor_type is None,
        result=result,
        exclusion=next((one.exclusion for one in ranked.excluded if name and one.model == short_name(name)), None),
        other_prompt=ranked.benchmark.prompt_source if other else "",
        was_right=_last_right(connection, result, ranked) if result is not None and result.only_unreadable else "",
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
