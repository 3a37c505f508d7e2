"""The field of one benchmark: the chosen candidates, every incumbent of the task, and the anchor.

Whether a model is eligible at all is in eligibility.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field

from bench_pipeline.benchmark.eligibility import named_candidates
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.ranking import reusable_runs
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.ids import short_name
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.storage.benchmarks import ModelRun
from bench_pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class Field:
    """The models of a benchmark.

    `candidates` are run. `incumbents` names the models that production uses for the task now. `beside` are ranked
    without being run: with their earlier run in `reused`, else as not measured yet.
    """

    candidates: tuple[Candidate, ...]
    incumbents: frozenset[str] = frozenset()
    anchor: Candidate | None = None
    beside: tuple[Candidate, ...] = ()
    reused: Mapping[str, ModelRun] = dataclass_field(default_factory=dict)

    @property
    def runs_any(self) -> bool:
        """Whether at least one candidate is eligible to be run."""
        return any(candidate.eligible for candidate in self.candidates)

    def reusing(self, runs: Mapping[str, ModelRun]) -> Field:
        """Return the field with these earlier runs: their candidates are not run again."""
        skipped = tuple(candidate for candidate in self.candidates if candidate.name in runs)
        return replace(
            self,
            candidates=tuple(candidate for candidate in self.candidates if candidate.name not in runs),
            beside=(*self.beside, *skipped),
            reused={**self.reused, **runs},
        )

    def among(self, others: Sequence[Candidate], runs: Mapping[str, ModelRun]) -> Field:
        """Return the field with these candidates added beside it, each with its earlier run if it has one."""
        known = {candidate.name for candidate in (*self.candidates, *self.beside)}
        beside = tuple(other for other in others if other.name not in known)
        return replace(self, beside=(*self.beside, *beside), reused={**self.reused, **runs})


def field_of(
    bench: Workbench, chosen: Sequence[Candidate], prepared: PreparedTask, known: Sequence[Candidate] = ()
) -> Field:
    """Add the task's incumbents and the protocol's anchor to the chosen candidates.

    A challenger is only compared with an incumbent of the same run; without an eligible challenger nothing is added.
    `known` are candidates already described by their runtimes. Raises `InputError` when the anchor cannot be measured.
    """
    incumbents = incumbent_models(bench, prepared.task)
    if not any(candidate.eligible for candidate in chosen):
        return Field(tuple(chosen), frozenset(incumbents))
    missing = [name for name in incumbents if all(candidate.name != name for candidate in chosen)]
    added = _named(bench, missing, known)
    anchor = None
    if prepared.protocol.anchor is not None:
        (anchor,) = _named(bench, [prepared.protocol.anchor], (*chosen, *known))
        if not anchor.eligible:
            raise InputError(f"BENCH_ANCHOR: {anchor.name} cannot be measured: {anchor.detail}")
    return Field((*chosen, *added), frozenset(incumbents), anchor)


def _named(bench: Workbench, names: Sequence[str], known: Sequence[Candidate]) -> list[Candidate]:
    by_name = {candidate.name: candidate for candidate in known}
    if all(name in by_name for name in names):
        return [by_name[name] for name in names]
    return named_candidates(bench, names, bench.settings.load_time_limit_s)


def incumbent_models(bench: Workbench, task: Task) -> list[str]:
    """Return the names of the actors that serve the task's conversations now, each once."""
    if bench.application is None:
        return []
    with bench.database.engine.connect() as connection:
        found = bench.application.conversations(connection, task.conversations)
    return list(dict.fromkeys(short_name(one.actor_name) for one in found if one.actor_name))


def fresh_enough(database: Database, evidence_key: str, field: Field, reuse_days: float) -> dict[str, ModelRun]:
    """Return the reusable runs of the candidates by name, except for incumbents, which are always run again.

    `reusable_runs` says what must be equal.
    """
    candidates = [c for c in field.candidates if c.eligible and c.name not in field.incumbents]
    return reusable_runs(database, evidence_key, candidates, reuse_days)
