"""What production uses for a task now, and its result in a benchmark. Decides nothing: see domain/promoting."""

from __future__ import annotations

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.decision import Incumbent
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.storage.production import Conversation


def incumbents_of(
    bench: Workbench, task: Task, ranked: RankedBenchmark
) -> dict[ConversationId, tuple[Conversation, Incumbent] | None]:
    """Return each conversation of the task with its incumbent; None for one that production does not have."""
    numbers = task.conversations
    with bench.database.engine.connect() as connection:
        found = {row.conversation_id: row for row in bench.production.conversations(connection, numbers)}
        templates = bench.production.templates(connection, numbers)
    return {
        number: (found[number], _incumbent(found[number], templates.get(number), ranked)) if number in found else None
        for number in numbers
    }


def _incumbent(conversation: Conversation, template: str | None, ranked: RankedBenchmark) -> Incumbent:
    number, name = conversation.actor_id, conversation.actor_name
    other = template is not None and content_hash(template) != ranked.benchmark.prompt_hash
    return Incumbent(
        actor_id=number,
        name=name,
        actor_type=conversation.actor_type,
        result=next((r for r in ranked.scoreboard.results if r.actor_id is not None and r.actor_id == number), None),
        exclusion=next((one.exclusion for one in ranked.excluded if one.model == name), None),
        other_prompt=ranked.benchmark.prompt_source if other else "",
    )
