"""Who meets in a benchmark: the chosen candidates, every incumbent of the task, and the anchor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from bench_pipeline.benchmark.eligibility import named_candidates
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.ranking import reusable_runs
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.storage.benchmarks import ModelRun
from bench_pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part. `incumbents` are the names of the candidates that production uses for the task now."""

    candidates: tuple[Candidate, ...]
    incumbents: frozenset[str] = frozenset()
    anchor: Candidate | None = None

    def without(self, names: Collection[str]) -> Field:
        """Return the field without these candidates."""
        return replace(self, candidates=tuple(c for c in self.candidates if c.name not in names))


def field_of(bench: Workbench, chosen: Sequence[Candidate], prepared: PreparedTask) -> Field:
    """Complete the chosen candidates by the incumbents of the task and the protocol's anchor.

    A challenger is only ever compared with an incumbent of the same run; without any challenger nothing is added.
    Raises `InputError` when the anchor cannot be measured.
    """
    incumbents = incumbent_models(bench, prepared.task)
    if not any(candidate.eligible for candidate in chosen):
        return Field(tuple(chosen), frozenset(incumbents))
    missing = [name for name in incumbents if all(candidate.name != name for candidate in chosen)]
    added = named_candidates(bench, missing)
    anchor = None
    if prepared.protocol.anchor is not None:
        (anchor,) = named_candidates(bench, [prepared.protocol.anchor])
        if not anchor.eligible:
            raise InputError(f"BENCH_ANCHOR: {anchor.name} cannot be measured: {anchor.detail}")
    return Field((*chosen, *added), frozenset(incumbents), anchor)


def incumbent_models(bench: Workbench, task: Task) -> list[str]:
    """Return the names of the actors that carry out the task's conversations now, each once."""
    if bench.application is None:
        return []
    with bench.database.engine.connect() as connection:
        found = bench.application.conversations(connection, task.conversations)
    return list(dict.fromkeys(conversation.actor_name for conversation in found if conversation.actor_name))


def fresh_enough(database: Database, prepared: PreparedTask, field: Field, evidence_days: float) -> dict[str, ModelRun]:
    """Return the earlier runs that count as if they were made now, by candidate; none of an incumbent.

    See `rank_benchmark` for what must be equal.
    """
    candidates = [c for c in field.candidates if c.eligible and c.name not in field.incumbents]
    return reusable_runs(database, prepared, candidates, evidence_days)
