"""Workflow documents and the champion registry as files, rendered from the database alone. Reads no clock.

When they are written is decided in promotion/reconciliation.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.actor import Actor, Exclusion
from bench_pipeline.domain.models.ids import ActorId, ConversationId, WorkflowId
from bench_pipeline.domain.models.model_ref import UnknownExecutionPath, parse_execution_path
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.reporting.document_guard import NO_CONVERSATIONS, NO_STEPS, check_not_emptied, check_visible
from bench_pipeline.reporting.files import path_in, slug, write_if_changed
from bench_pipeline.reporting.markdown import render
from bench_pipeline.storage import documents
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.documents import LastBenchmark, ModelCost
from bench_pipeline.storage.production import Conversation, Production, Workflow


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One step of a workflow: its actor, its champion, and what was measured.

    `model` is the canonical execution path, None for a step without a model. `avg_latency_ms` is the actor's mean in
    the last benchmark, None if it was not measured there.
    """

    number: int
    conversation_id: ConversationId
    conversation: str
    actor_id: ActorId | None
    actor: str | None
    model: str | None
    status: str
    champion: str | None
    runner_up: str | None
    benchmark: LastBenchmark | None
    avg_latency_ms: float | None
    issues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Steps that share one load of a model."""

    model: str
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorkflowFacts:
    """The content of a workflow's document.

    `loads` are the batches in the order of the steps, `models` the batches if all steps of a model run together.
    `saved_ms` is the time (ms) that this would save, None if a load was never measured.
    """

    workflow_id: WorkflowId
    name: str
    steps: tuple[StepFacts, ...]
    loads: tuple[Batch, ...]
    models: tuple[Batch, ...]
    saved_ms: float | None

    @property
    def issues(self) -> tuple[tuple[StepFacts, str], ...]:
        """Every issue with its step."""
        return tuple((step, issue) for step in self.steps for issue in step.issues)


@dataclass(frozen=True, slots=True)
class ProductionFacts:
    """All workflows by id, the conversations outside them by id, and the number of all conversations."""

    workflows: tuple[WorkflowFacts, ...]
    others: tuple[StepFacts, ...]
    conversations: int


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The content of the database, read once."""

    actors: Mapping[ActorId, Actor]
    champions: Mapping[ConversationId, Champion]
    benchmarks: Mapping[ConversationId, LastBenchmark]
    latencies: Mapping[tuple[str, ActorId], float]
    costs: Mapping[str, ModelCost]
    too_large: Mapping[ActorId, str]
    max_model_bytes: int

    def name_of(self, actor_id: ActorId | None) -> str | None:
        if actor_id is None:
            return None
        actor = self.actors.get(actor_id)
        return actor.name if actor else f"actor {actor_id} (deleted)"


def read_production(database: Database, production: Production, max_model_bytes: int) -> ProductionFacts:
    """Return the facts of all workflows and of the other conversations; a model above `max_model_bytes` is an issue.

    Raises `InputError` when row-level security may hide rows, or actors that conversations have.
    """
    with database.engine.connect() as connection:
        check_visible(connection, production)
        benchmarks = documents.last_benchmarks(connection)
        workflows, conversations = production.workflows(connection), production.conversations(connection)
        snapshot = _Snapshot(
            actors={actor.actor_id: actor for actor in production.actors(connection, (), ())},
            champions={row.conversation_id: row for row in all_champions(connection)},
            benchmarks=benchmarks,
            latencies=documents.latencies(connection, {last.benchmark_id for last in benchmarks.values()}),
            costs=documents.model_costs(connection),
            too_large=documents.too_large(connection),
            max_model_bytes=max_model_bytes,
        )
    if not snapshot.actors and any(one.actor_id is not None for one in conversations):
        raise InputError(
            f"{database.name}: conversations have actors, but table actors shows this login no row; no document is "
            "written; check this login's rights and policies on actors"
        )
    in_workflows = {step.conversation_id for workflow in workflows for step in workflow.steps}
    others = (one for one in conversations if one.conversation_id not in in_workflows)
    return ProductionFacts(
        tuple(_workflow(workflow, snapshot) for workflow in workflows),
        tuple(_step(number, one, snapshot) for number, one in enumerate(others, start=1)),
        len(conversations),
    )


def render_workflow(facts: WorkflowFacts) -> str:
    """Return the document of one workflow in Markdown."""
    return render("workflow.md.j2", workflow=facts, nothing=NO_STEPS)


def render_conversations(others: Sequence[StepFacts]) -> str:
    """Return the document of the conversations without a workflow in Markdown."""
    has_issues = any(step.issues for step in others)
    return render("conversations.md.j2", steps=others, has_issues=has_issues, nothing=NO_CONVERSATIONS)


def champion_registry(database: Database, production: Production) -> dict[str, Any]:
    """Return champion and runner-up of every conversation as a JSON-safe value; latency in ms, times in UTC.

    Raises `InputError` when row-level security may hide rows.
    """
    with database.engine.connect() as connection:
        check_visible(connection, production)
        actors = {actor.actor_id: actor for actor in production.actors(connection, (), ())}
        conversations = {row.conversation_id: row for row in production.conversations(connection)}
        rows = all_champions(connection)
    return {"champions": [_registered(row, conversations.get(row.conversation_id), actors) for row in rows]}


def render_registry(registry: Mapping[str, Any]) -> str:
    """Return the value of `champion_registry` in Markdown."""
    return render("champions.md.j2", champions=registry["champions"])


def write_documents(
    database: Database, production: Production, production_dir: Path, max_model_bytes: int
) -> list[Path]:
    """Write the documents of workflows and other conversations and the registry; return the files that changed.

    Raises `InputError` when a file cannot be written, and before any is written when the database does not show what
    the documents need.
    """
    registry = champion_registry(database, production)
    found = read_production(database, production, max_model_bytes)
    rows = {
        "workflows": len(found.workflows),
        "workflow_conversations": sum(len(one.steps) for one in found.workflows),
        "conversations": found.conversations,
        "benchmark_champions": len(registry["champions"]) or _changes(database),  # a rollback may remove the last one
    }
    check_not_emptied(production_dir, rows)
    texts = {path_in(production_dir, "workflows", _file_name(one)): render_workflow(one) for one in found.workflows}
    texts[path_in(production_dir, "conversations.md")] = render_conversations(found.others)
    texts[path_in(production_dir, "champions.json")] = json.dumps(registry, indent=2, ensure_ascii=False) + "\n"
    texts[path_in(production_dir, "champions.md")] = render_registry(registry)
    return [path for path, text in texts.items() if write_if_changed(path, text)]


def _changes(database: Database) -> int:
    with database.engine.connect() as connection:
        return documents.changes(connection)


def _file_name(facts: WorkflowFacts) -> str:
    """Return a name that no other workflow has: no slug contains the tilde."""
    number = facts.workflow_id
    return f"{number}-{slug(facts.name)}.md" if isinstance(number, int) else f"{slug(number)}~{slug(facts.name)}.md"


def _registered(row: Champion, conversation: Conversation | None, actors: Mapping[ActorId, Actor]) -> dict[str, Any]:
    return {
        "conversation_id": row.conversation_id,
        "conversation": conversation.name if conversation else None,
        "task": row.task_type,
        "champion": _actor(row.champion_actor_id, actors),
        "runner_up": _actor(row.runner_up_actor_id, actors),
        "in_production": conversation is not None and conversation.actor_id == row.champion_actor_id,
        "benchmark_id": row.benchmark_id,
        "avg_latency_ms": row.avg_latency_ms,
        "decided_at": _moment(row.decided_at),
    }


def _actor(actor_id: ActorId | None, actors: Mapping[ActorId, Actor]) -> dict[str, Any] | None:
    if actor_id is None:
        return None
    actor = actors.get(actor_id)
    return {
        "actor_id": actor_id,
        "name": actor.name if actor else None,
        "execution_path": actor.execution_path if actor else None,
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _workflow(workflow: Workflow, snapshot: _Snapshot) -> WorkflowFacts:
    steps = tuple(_step(number, step, snapshot) for number, step in enumerate(workflow.steps, start=1))
    loads, models = _batches(steps), _batches(sorted(steps, key=lambda step: step.model or ""))
    return WorkflowFacts(workflow.workflow_id, workflow.name, steps, loads, models, _saved_ms(loads, snapshot.costs))


def _step(number: int, conversation: Conversation, snapshot: _Snapshot) -> StepFacts:
    registered = snapshot.champions.get(conversation.conversation_id)
    benchmark = snapshot.benchmarks.get(conversation.conversation_id)
    actor = snapshot.actors.get(conversation.actor_id) if conversation.actor_id is not None else None
    latency = snapshot.latencies.get((benchmark.benchmark_id, actor.actor_id)) if benchmark and actor else None
    model = _model(actor)
    return StepFacts(
        number=number,
        conversation_id=conversation.conversation_id,
        conversation=conversation.name,
        actor_id=conversation.actor_id,
        actor=snapshot.name_of(conversation.actor_id),
        model=model,
        status=_status(actor, registered, benchmark),
        champion=snapshot.name_of(registered.champion_actor_id) if registered else None,
        runner_up=snapshot.name_of(registered.runner_up_actor_id) if registered else None,
        benchmark=benchmark,
        avg_latency_ms=latency,
        issues=_issues(conversation, actor, model, snapshot),
    )


def _model(actor: Actor | None) -> str | None:
    if actor is None or actor.exclusion is Exclusion.TYPE:
        return None
    try:
        return parse_execution_path(actor.execution_path).execution_path
    except UnknownExecutionPath:
        return actor.execution_path


def _status(actor: Actor | None, registered: Champion | None, benchmark: LastBenchmark | None) -> str:
    if actor is None:
        return "no actor"
    if not actor.enabled:
        return "actor disabled"
    if actor.exclusion is Exclusion.TYPE:
        return actor.actor_type or "no model"
    if registered is None:
        return "benchmarked, no champion" if benchmark else "not benchmarked"
    return "in production" if registered.champion_actor_id == actor.actor_id else "differs from the champion"


def _issues(conversation: Conversation, actor: Actor | None, model: str | None, snapshot: _Snapshot) -> tuple[str, ...]:
    if actor is None:
        gone = f"actor {conversation.actor_id} was deleted" if conversation.actor_id is not None else "no actor"
        return (f"{gone}; this step cannot run",)
    issues = [] if actor.enabled else [f"{actor.name} is disabled"]
    if model is not None:
        issues += _size_issues(actor, snapshot.costs.get(model), snapshot)
        issues += _champion_issues(conversation, actor, snapshot)
    return tuple(issues)


def _size_issues(actor: Actor, cost: ModelCost | None, snapshot: _Snapshot) -> list[str]:
    limit = snapshot.max_model_bytes
    if cost is None or cost.size_bytes is None:
        found = snapshot.too_large.get(actor.actor_id)
        return [f"{actor.name} exceeds the GPU limit: {found}"] if found is not None else []
    if cost.size_bytes <= limit:
        return []
    return [f"{actor.name} exceeds the GPU limit: {cost.size_bytes / 1e9:.1f} GB, the limit is {limit / 1e9:.1f} GB"]


def _champion_issues(conversation: Conversation, actor: Actor, snapshot: _Snapshot) -> list[str]:
    registered = snapshot.champions.get(conversation.conversation_id)
    issues = []
    if conversation.conversation_id not in snapshot.benchmarks:
        issues.append("no benchmark has measured this step")
    if registered is None:
        return issues
    if registered.champion_actor_id != actor.actor_id:
        issues.append(f"{actor.name} is not the champion, {snapshot.name_of(registered.champion_actor_id)}")
    if registered.runner_up_actor_id is None:
        issues.append("no runner-up: no model can replace the champion")
    return issues


def _batches(steps: Sequence[StepFacts]) -> tuple[Batch, ...]:
    """Group adjacent steps that share a model; a step without a model keeps the loaded one."""
    modelled = ((step.model, step.number) for step in steps if step.model is not None)
    return tuple(
        Batch(model, tuple(number for _, number in group))
        for model, group in groupby(modelled, key=lambda pair: pair[0])
    )


def _saved_ms(loads: Sequence[Batch], costs: Mapping[str, ModelCost]) -> float | None:
    """Return the time of all loads except each model's first."""
    again = [batch.model for index, batch in enumerate(loads) if batch.model in {b.model for b in loads[:index]}]
    times = [costs[model].load_ns if model in costs else None for model in again]
    known = [time for time in times if time is not None]
    return sum(known) / 1e6 if len(known) == len(times) else None
