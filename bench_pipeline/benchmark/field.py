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
from bench_pipeline.benchmark.results import model_results
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.scoreboard import rank
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.ids import short_name
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.storage.benchmarks import ModelRun
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.samples import samples_of


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

    def among(self, others: Sequence[Candidate], runs: Mapping[str, ModelRun], again: str | None = None) -> Field:
        """Return the field with these candidates beside it, each with its earlier run; `again` is run once more."""
        if again is not None:
            repeated = tuple(other for other in others if other.name == again)
            others_runs = {model: run for model, run in runs.items() if model != again}
            return replace(self, candidates=(*self.candidates, *repeated)).among(others, others_runs)
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


def waiting_challenger(
    database: Database, prepared: PreparedTask, field: Field, runs: Mapping[str, ModelRun], policy: PromotionPolicy
) -> str | None:
    """Return the model whose earlier run leads those of all incumbents by the policy's margin; None without one.

    Production does not use it yet, and only a final decides between the two. A benchmark of another model would rank it
    first by its earlier run, hold no final, and so contradict the benchmark that decided for it.
    """
    with database.engine.connect() as connection:
        samples = samples_of(connection, [run.model_run_id for run in runs.values()])
    by_model = {model: samples[run.model_run_id] for model, run in runs.items()}
    ranked = rank(model_results(prepared.case_ids, prepared.protocol, runs, by_model), field.incumbents).ranked
    used = [result.avg_latency_ms for result in ranked if result.model in field.incumbents and result.avg_latency_ms]
    leader = next((result for result in ranked if result.avg_latency_ms is not None), None)
    run = field.incumbents | {candidate.name for candidate in field.candidates}
    if leader is None or leader.avg_latency_ms is None or not used or leader.model in run:
        return None
    return leader.model if leader.avg_latency_ms <= (1 - policy.min_gain) * min(used) else None


def fresh_enough(database: Database, evidence_key: str, field: Field, reuse_days: float) -> dict[str, ModelRun]:
    """Return the reusable runs of the candidates by name, except for incumbents, which are always run again.

    `reusable_runs` says what must be equal.
    """
    candidates = [c for c in field.candidates if c.eligible and c.name not in field.incumbents]
    return reusable_runs(database, evidence_key, candidates, reuse_days)
