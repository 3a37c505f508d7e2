"""The use case of measuring, from candidates to a ranked benchmark: the entry point of this package.

`bench run` and Dagster's `model_runs` and `scoreboard` both call it. Running the models is in `runner.py`, ranking in
`ranking.py`, and what a ranking changes in production in `promotion/delivery.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path

from bench_pipeline.benchmark.eligibility import candidates, named_candidates
from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.benchmark.field import field_of, fresh_enough, waiting_challenger
from bench_pipeline.benchmark.hardware import common_fingerprint, comparable
from bench_pipeline.benchmark.model_patterns import expanded
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark, reusable_runs, up_to_date_benchmark
from bench_pipeline.benchmark.runner import RunTerms, run_benchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.actor import Candidate


@dataclass(frozen=True, slots=True)
class MeasurementRequest:
    """What is to be measured.

    `models` are names of actors, execution paths, models of the Ollama server or patterns of their names, such as
    `ollama:*`; None means every actor. Named
    models are ranked with the incumbents only, or, with `among_all`, with the earlier runs of every eligible actor.
    `terms` change the protocol for this benchmark; a value of None keeps the term. `reuse` skips models with an
    earlier run under the same evidence, except incumbents. `only_if_changed` measures nothing when nothing changed
    since the last benchmark. `resume` continues an interrupted benchmark. `roster` holds all actors if they were
    described by their runtimes before.
    """

    task: str
    models: Sequence[str] | None = None
    among_all: bool = False
    suite_file: Path | None = None
    terms: Mapping[str, object] = dataclass_field(default_factory=dict)
    reuse: bool = False
    only_if_changed: bool = False
    resume: bool = True
    dagster_run_id: str | None = None
    roster: Sequence[Candidate] | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The benchmark that answers a request. `new` is False when it was measured earlier."""

    benchmark_id: str
    new: bool


def measure(bench: Workbench, request: MeasurementRequest, on_event: OnEvent) -> RankedBenchmark:
    """Run the requested models and rank them. Raises as `run_models` does."""
    return rank_benchmark(bench.database, run_models(bench, request, on_event).benchmark_id)


def run_models(bench: Workbench, request: MeasurementRequest, on_event: OnEvent) -> Measurement:
    """Run the requested models without ranking them; each runtime describes each model once.

    Raises `InputError` when the request names something that does not exist, `FileRefused` for a faulty suite,
    `GateFailed` when no model is eligible, `LockTaken` while another benchmark uses one of the servers.
    """
    prepared = prepare(bench, request.task, request.suite_file).with_terms(**request.terms)
    everyone = request.roster or (_everyone(bench) if request.models is None or request.among_all else [])
    chosen = _chosen(bench, request.models, everyone)
    field = field_of(bench, chosen, prepared, everyone)
    fingerprint = common_fingerprint(bench, field.candidates, field.incumbents)
    field = replace(field, candidates=tuple(comparable(bench, field.candidates, fingerprint)))
    key = prepared.evidence_key(fingerprint.hardware)
    if request.only_if_changed:
        current = up_to_date_benchmark(bench.database, request.task, key, field.candidates, bench.settings.reuse_days)
        if current is not None:
            return Measurement(current, new=False)
    if request.reuse:
        field = field.reusing(fresh_enough(bench.database, key, field, bench.settings.reuse_days))
    if request.among_all:
        others = comparable(bench, everyone, fingerprint)
        eligible = [candidate for candidate in others if candidate.eligible]
        runs = reusable_runs(bench.database, key, eligible, bench.settings.reuse_days)
        again = waiting_challenger(bench.database, prepared, field, runs, bench.settings.promotion_policy)
        field = field.among(others, runs, again)
    terms = RunTerms(
        dagster_run_id=request.dagster_run_id, resume_hours=bench.settings.resume_hours if request.resume else 0.0
    )
    return Measurement(run_benchmark(bench, prepared, field, on_event, terms), new=True)


def _everyone(bench: Workbench) -> list[Candidate]:
    if bench.application is None:
        raise InputError(
            f"{bench.database.name} has no table of actors; name models with --models, "
            "set BENCH_DATABASE_URL to your production database, or run `bench demo`"
        )
    return candidates(bench, patience_s=bench.settings.load_time_limit_s)


def _chosen(bench: Workbench, names: Sequence[str] | None, everyone: Sequence[Candidate]) -> list[Candidate]:
    if names is None:
        return list(everyone)
    names = expanded(bench, names)
    by_name = {candidate.name: candidate for candidate in everyone}
    if all(name in by_name for name in names):
        return [by_name[name] for name in dict.fromkeys(names)]
    return named_candidates(bench, names, bench.settings.load_time_limit_s)
