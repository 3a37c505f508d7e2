"""A model that production counts on is gone: its row, its permission, or its installation. Nothing is measured for it.

A model that was measured and is not counted on any more stays in the history and needs nobody.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bench_pipeline.benchmark.task_keys import task_in_production
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.storage.champions import champions_of
from bench_pipeline.storage.measured import measured_actors
from bench_pipeline.storage.visibility import hidden_rows

_GONE = (Exclusion.DISABLED, Exclusion.NOT_INSTALLED, Exclusion.TYPE, Exclusion.UNKNOWN_EXECUTION_PATH)
_MOST_NAMED = 3


@dataclass(slots=True)
class _Places:
    """The conversations of the task in which an actor counts."""

    champion: list[ConversationId] = field(default_factory=list)
    runner_up: list[ConversationId] = field(default_factory=list)
    serves: list[ConversationId] = field(default_factory=list)

    def words(self) -> str:
        return " and ".join(
            f"{role} {_named(numbers)}"
            for role, numbers in (
                ("serves", self.serves),
                ("is the champion of", self.champion),
                ("is the runner-up of", self.runner_up),
            )
            if numbers
        )


def find_model_gone(bench: Workbench, task: str, roster: Sequence[Candidate], now: datetime) -> list[Finding]:  # noqa: ARG001
    """Return one finding per model that is gone while it is champion or runner-up, or serves a conversation.

    A server that does not answer makes its models unknown, not gone. So does a table of actors that shows no row, or
    of which a policy may hide the model's.
    """
    if bench.application is None or not roster:
        return []
    numbers = task_in_production(bench, task).conversations
    with bench.database.engine.connect() as connection:
        measured = measured_actors(connection, task)
        registry = {line.conversation_id: line for line in champions_of(connection, task)}
        now_serving = {
            one.conversation_id: one.actor_id for one in bench.application.conversations(connection, numbers)
        }
    registry = {number: line for number, line in registry.items() if number in now_serving}
    by_id = {one.actor_id: one for one in roster if one.actor_id is not None}
    counted = _counted(registry.values(), now_serving)
    unseen = counted.keys() - by_id.keys()
    known = measured.keys() - unseen if unseen and _may_be_hidden(bench) else measured.keys()
    found = {actor_id: _why_gone(by_id.get(actor_id)) for actor_id in counted if actor_id in known}
    gone = {actor_id: why for actor_id, why in found.items() if why is not None}
    findings = []
    for actor_id, (state, reason) in gone.items():
        places = counted[actor_id]
        name = by_id[actor_id].name if actor_id in by_id else measured[actor_id]
        ready = [
            number
            for number in places.champion
            if now_serving[number] == actor_id and registry[number].runner_up_actor_id not in {None, *gone}
        ]
        findings.append(
            Finding(
                task=task,
                cause=Cause.MODEL_GONE,
                subject=name,
                why=f"{name} {places.words()}, but {reason}; {_remedy(task, places, ready)}",
                wanted={
                    "actor": actor_id,
                    "state": state,
                    "champion": places.champion,
                    "runner_up": places.runner_up,
                    "serves": places.serves,
                },
            )
        )
    return findings


def _counted(
    registry: Iterable[Champion], now_serving: Mapping[ConversationId, ActorId | None]
) -> dict[ActorId, _Places]:
    found: dict[ActorId, _Places] = {}
    for number, actor_id in now_serving.items():
        if actor_id is not None:
            found.setdefault(actor_id, _Places()).serves.append(number)
    for line in registry:
        found.setdefault(line.champion_actor_id, _Places()).champion.append(line.conversation_id)
        if line.runner_up_actor_id is not None:
            found.setdefault(line.runner_up_actor_id, _Places()).runner_up.append(line.conversation_id)
    return found


def _may_be_hidden(bench: Workbench) -> bool:
    """Whether a policy may hide rows of the table of actors from this login."""
    with bench.database.engine.connect() as connection:
        return bool(hidden_rows(connection, [bench.production.table("actors")]))


def _why_gone(candidate: Candidate | None) -> tuple[str, str] | None:
    """Return the state and why it is one of a model that is gone, in words; None for any other."""
    if candidate is None:
        return "missing", "its row is gone from the table of actors"
    if candidate.exclusion in _GONE:
        return candidate.exclusion.value, candidate.detail
    return None


def _remedy(task: str, places: _Places, ready: Sequence[ConversationId]) -> str:
    if ready:
        commands = ", ".join(f"`bench failover {_typed(number)}`" for number in ready[:_MOST_NAMED])
        more = f" and {len(ready) - _MOST_NAMED} more conversations" if len(ready) > _MOST_NAMED else ""
        return f"switch to the runner-up: {commands}{more}"
    if places.champion or places.serves:
        return (
            f"these conversations have no runner-up to switch to; restore the model, or measure the others "
            f"with `bench run --task {task}` and then `bench promote --task {task}`"
        )
    return f"a failover would be refused until `bench run --task {task}` and a promotion name another one"


def _typed(number: ConversationId) -> str:
    """Return an id as an argument that a shell and the command read as it is."""
    text = shlex.quote(str(number))
    return f"-- {text}" if text.startswith("-") else text


def _named(numbers: Sequence[ConversationId]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_MOST_NAMED])
    more = len(numbers) - _MOST_NAMED
    return f"conversation{'s' if len(numbers) > 1 else ''} {shown}{f' and {more} more' if more > 0 else ''}"
