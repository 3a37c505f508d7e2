"""Which benchmark decides about production when none is named. The rules are in domain/promoting/fitness.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from bench_pipeline.benchmark.incumbents import incumbents_of
from bench_pipeline.benchmark.preparation import PreparedTask, prepare
from bench_pipeline.benchmark.ranking import RankedBenchmark, read_ranked
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.fitness import MeasuredTerms, foreign_terms, unmeasured_incumbent
from bench_pipeline.domain.tasks.readers.contracts import Contract
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.history import stored_scoreboard

_MOST_NAMED = 3
_CONTRACT: TypeAdapter[Contract] = TypeAdapter(Contract)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A benchmark that is not fit for production, with the reason."""

    benchmark_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FitBenchmark:
    """The latest benchmark that is fit for production, and the newer ones that are not."""

    ranked: RankedBenchmark
    passed_over: tuple[PassedOver, ...]


def fit_benchmark(bench: Workbench, task: str) -> FitBenchmark:
    """Return the task's latest benchmark that is fit for production.

    Raises `InputError` when the task was never benchmarked, `GateFailed` when none of its benchmarks is fit.
    """
    prepared = prepare(bench, task)
    passed_over: list[PassedOver] = []
    for row in _finished(bench, task):
        found = _fit(bench, prepared, row)
        if isinstance(found, RankedBenchmark):
            return FitBenchmark(found, tuple(passed_over))
        passed_over.append(PassedOver(row.benchmark_id, found))
    if not passed_over:
        raise InputError(f"{task} was never benchmarked here; run `bench run --task {task}` first")
    raise GateFailed(
        f"no benchmark of {task} is fit for production: {passed_over_text(passed_over)}; "
        f"run `bench run --task {task}`, or name one with --benchmark"
    )


def newer_fit_benchmark(bench: Workbench, task: str, benchmark_id: str) -> RankedBenchmark | None:
    """Return the latest benchmark that is fit for production and newer than this one, or None."""
    rows = _finished(bench, task)
    newer = rows[: next((place for place, row in enumerate(rows) if row.benchmark_id == benchmark_id), 0)]
    if not newer:
        return None
    prepared = prepare(bench, task)
    fit = (_fit(bench, prepared, row) for row in newer)
    return next((found for found in fit if isinstance(found, RankedBenchmark)), None)


def measured_terms(row: BenchmarkRow) -> MeasuredTerms:
    """Return what a benchmark measured."""
    return MeasuredTerms(row.suite_hash, row.prompt_hash, row.protocol, _contract(row))


def present_terms(prepared: PreparedTask) -> MeasuredTerms:
    """Return what a benchmark of the task would measure now."""
    protocol = prepared.protocol.model_dump(mode="json")
    return MeasuredTerms(prepared.suite.hash, prepared.prompt_hash, protocol, prepared.task.verdict)


def passed_over_text(passed_over: Sequence[PassedOver]) -> str:
    """Return the first of these benchmarks with their reasons, and the number of the others."""
    named = "; ".join(f"{one.benchmark_id}: {one.reason}" for one in passed_over[:_MOST_NAMED])
    more = len(passed_over) - _MOST_NAMED
    return f"{named}; and {more} more" if more > 0 else named


def _finished(bench: Workbench, task: str) -> list[BenchmarkRow]:
    with bench.database.engine.connect() as connection:
        return store.finished_benchmarks(connection, task)


def _fit(bench: Workbench, prepared: PreparedTask, row: BenchmarkRow) -> RankedBenchmark | str:
    """Return the benchmark, or why it is not fit. Checks the terms first, because reading a benchmark is slow."""
    if foreign := foreign_terms(measured_terms(row), present_terms(prepared)):
        return foreign
    if row.invalid:
        return f"it is invalid: {row.invalid}"
    with bench.database.engine.connect() as connection:
        if stored_scoreboard(connection, row.benchmark_id) is None:
            return "it was not ranked"
    ranked = read_ranked(bench.database, row.benchmark_id)
    incumbents = [pair[1] for pair in incumbents_of(bench, prepared.task, ranked).values() if pair is not None]
    return unmeasured_incumbent(incumbents) or ranked


def _contract(row: BenchmarkRow) -> Contract | None:
    try:
        return _CONTRACT.validate_python(row.task.get("verdict"))
    except ValidationError:
        return None
