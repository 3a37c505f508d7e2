"""From the stored samples of a benchmark to its scoreboard and history rows. Calls no model.

The formulae are in domain/measuring/scoreboard.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from statistics import fmean

from sqlalchemy import Connection

from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.results import model_results
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.benchmark import Role
from bench_pipeline.domain.measuring.ledger import ledger
from bench_pipeline.domain.measuring.pass_load import PassLoad
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing, rank, score_model
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.benchmarks import BenchmarkRow, ExcludedModel, ModelRun
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.history import (
    PastBenchmark,
    benchmarks_before,
    model_run_ids,
    replace_history,
    stored_scoreboard,
)
from bench_pipeline.storage.ledger import looked_at, record_ledger
from bench_pipeline.storage.pass_loads import pass_loads_of
from bench_pipeline.storage.samples import samples_of


@dataclass(frozen=True)
class RankedBenchmark:
    """A benchmark with everything that a report or a decision needs."""

    benchmark: BenchmarkRow
    scoreboard: Scoreboard
    runs: Mapping[str, ModelRun]
    samples: Mapping[str, Sequence[Sample]]
    excluded: Sequence[ExcludedModel]
    loads: Mapping[str, Sequence[PassLoad]] = field(default_factory=dict)
    before: Sequence[PastBenchmark] = ()

    @property
    def incumbents(self) -> frozenset[str]:
        """The models that production used for the task when this was measured."""
        return frozenset(self.benchmark.incumbents or ())

    @property
    def actor_ids(self) -> frozenset[ActorId]:
        """The actors on its scoreboard."""
        return frozenset(result.actor_id for result in self.scoreboard.results if result.actor_id is not None)

    @property
    def reused(self) -> dict[str, ModelRun]:
        """The model runs that were made in an earlier benchmark under the same evidence."""
        own = self.benchmark.benchmark_id
        return {model: run for model, run in self.runs.items() if run.benchmark_id != own}


def rank_benchmark(database: Database, benchmark_id: str) -> RankedBenchmark:
    """Rank a benchmark, store its history and ledger rows, and return it.

    A participant that was not run counts with the earlier run chosen for it when the benchmark began; without one it
    is inconclusive. Ranking again gives the same rows. Raises `InputError` for an unknown benchmark.
    """
    with database.writing() as connection:
        benchmark = _known(connection, benchmark_id)
        # A resumed benchmark may hold runs of models that no longer take part: disabled since, or not named again.
        participants = store.participants(connection, benchmark_id)
        runs = _counting_runs(connection, benchmark_id, participants)
        ranked = _ranked(connection, benchmark, runs, [one for one in participants if one.model not in runs])
        replace_history(
            connection, benchmark, ranked.scoreboard, {model: run.model_run_id for model, run in runs.items()}
        )
        store.record_evidence_hash(connection, benchmark_id, hash_of_evidence(benchmark, ranked.scoreboard))
        record_ledger(
            connection, benchmark_id, ledger(ranked.scoreboard, looked_at(connection, benchmark_id), runs.keys())
        )
    return ranked


def _counting_runs(
    connection: Connection, benchmark_id: str, participants: Sequence[store.Participant]
) -> dict[str, ModelRun]:
    own = {run.model: run for run in store.model_runs(connection, benchmark_id)}
    wanted = {one.reused_run_id: one.model for one in participants if one.model not in own and one.reused_run_id}
    reused = {wanted[run.model_run_id]: run for run in store.model_runs_by_id(connection, list(wanted))}
    return {one.model: run for one in participants if (run := own.get(one.model) or reused.get(one.model))}


def read_ranked(database: Database, benchmark_id: str) -> RankedBenchmark:
    """Return a benchmark as it was ranked. Raises `InputError` when it is unknown or was not ranked."""
    with database.engine.connect() as connection:
        benchmark, board = _stored(connection, benchmark_id)
        by_id = {number: model for model, number in model_run_ids(connection, benchmark_id).items()}
        runs = {by_id[run.model_run_id]: run for run in store.model_runs_by_id(connection, list(by_id))}
        samples = _samples_by_model(connection, runs)
        excluded = store.excluded_candidates(connection, benchmark_id)
        loads, before = _loads_by_model(connection, runs), benchmarks_before(connection, benchmark)
        return RankedBenchmark(benchmark, board, runs, samples, excluded, loads, before)


def read_scoreboard(database: Database, benchmark_id: str) -> tuple[BenchmarkRow, Scoreboard]:
    """Return a benchmark and its stored scoreboard, without the calls. Raises as `read_ranked` does."""
    with database.engine.connect() as connection:
        return _stored(connection, benchmark_id)


def latest_benchmark_id(database: Database, task: str) -> str:
    """Return the id of the task's latest benchmark that ended. Raises `InputError` when there is none."""
    with database.engine.connect() as connection:
        latest = store.latest_benchmark(connection, task)
    if latest is None:
        raise InputError(f"{task} was never benchmarked here; run `bench run --task {task}` first")
    return latest.benchmark_id


def counting_models(database: Database, benchmark_id: str) -> frozenset[str]:
    """Return the models of a benchmark that have a run that counts, its own or an earlier one."""
    with database.engine.connect() as connection:
        participants = store.participants(connection, _known(connection, benchmark_id).benchmark_id)
        return frozenset(_counting_runs(connection, benchmark_id, participants))


def unmeasured_models(database: Database, benchmark_id: str) -> dict[str, str]:
    """Return the models of a benchmark that an infrastructure failure stopped, with the reasons."""
    results = unranked_results(database, benchmark_id).values()
    return {result.model: result.why for result in results if result.standing is Standing.INCONCLUSIVE}


def unranked_results(database: Database, benchmark_id: str) -> dict[str, ModelResult]:
    """Return the result of every model that a benchmark or validation ran, by name. Ranks and stores nothing."""
    with database.engine.connect() as connection:
        benchmark = _known(connection, benchmark_id)
        runs = {run.model: run for run in store.model_runs(connection, benchmark_id)}
        results = _results(benchmark, runs, _samples_by_model(connection, runs))
    return {result.model: result for result in results}


def anchor_latency(database: Database, benchmark_id: str) -> tuple[ModelIdentity, float] | None:
    """Return the identity of a benchmark's anchor and its mean latency (ms) over both its passes; None without one."""
    with database.engine.connect() as connection:
        benchmark = _known(connection, benchmark_id)
        roles = (Role.ANCHOR_FIRST, Role.ANCHOR_LAST)
        runs = {run.model: run for role in roles for run in store.model_runs(connection, benchmark_id, role)}
        results = _results(benchmark, runs, _samples_by_model(connection, runs))
    latencies = [result.avg_latency_ms for result in results if result.avg_latency_ms is not None]
    identities = [run.identity for run in runs.values()]
    if len(latencies) < len(roles) or identities[0] != identities[-1]:
        return None
    return identities[0], fmean(latencies)


def up_to_date_benchmark(
    database: Database, task: str, evidence_key: str, candidates: Sequence[Candidate], reuse_days: float
) -> str | None:
    """Return the id of the latest benchmark if measuring again would show nothing new, else None.

    That is so when suite, prompt, protocol, reader and hardware are the same, every eligible model was run to its
    end with the same identity, and both the benchmark and its runs are younger than `reuse_days`. The runs are
    checked as well because a rescored benchmark is newer than its runs.
    """
    since = datetime.now(UTC) - timedelta(days=reuse_days)
    with database.engine.connect() as connection:
        latest = store.latest_benchmark(connection, task)
        if latest is None or latest.evidence_key != evidence_key:
            return None
        if latest.started_at < since:
            return None
        by_id = {number: model for model, number in model_run_ids(connection, latest.benchmark_id).items()}
        runs = {by_id[run.model_run_id]: run for run in store.model_runs_by_id(connection, list(by_id))}
    eligible = [candidate for candidate in candidates if candidate.eligible]
    same = all(
        candidate.name in runs
        and runs[candidate.name].identity == candidate.identity
        and runs[candidate.name].failure is None
        and runs[candidate.name].started_at >= since
        for candidate in eligible
    )
    return latest.benchmark_id if same and len(eligible) == len(runs) else None


def reusable_runs(
    database: Database, evidence_key: str, candidates: Sequence[Candidate], reuse_days: float
) -> dict[str, ModelRun]:
    """Return the earlier runs that count for these candidates in a benchmark that begins now.

    Suite, prompt, protocol, reader, hardware and the model's identity must be the same, and the run younger than
    `reuse_days`.
    """
    with database.engine.connect() as connection:
        return _reusable(connection, evidence_key, candidates, reuse_days)


def _stored(connection: Connection, benchmark_id: str) -> tuple[BenchmarkRow, Scoreboard]:
    benchmark = _known(connection, benchmark_id)
    scoreboard = stored_scoreboard(connection, benchmark_id)
    if scoreboard is None:
        raise InputError(
            f"benchmark {benchmark_id} was not ranked; run `bench run --task {benchmark.task_type}` to finish it"
        )
    return benchmark, replace(scoreboard, invalid=benchmark.invalid or "")


def _known(connection: Connection, benchmark_id: str) -> BenchmarkRow:
    found = store.benchmark(connection, benchmark_id)
    if found is None:
        raise InputError(
            f"there is no benchmark {benchmark_id!r} in this database; `bench history --task TASK` lists them"
        )
    return found


def _reusable(
    connection: Connection, evidence_key: str, candidates: Sequence[Candidate], reuse_days: float
) -> dict[str, ModelRun]:
    if not candidates or reuse_days <= 0:
        return {}
    since = datetime.now(UTC) - timedelta(days=reuse_days)
    earlier = store.earlier_model_runs(connection, evidence_key, since)
    found: dict[str, ModelRun] = {}
    for candidate in candidates:
        for run in earlier:
            if run.model == candidate.name and run.identity == candidate.identity:
                found[candidate.name] = run
                break
    return found


def _ranked(
    connection: Connection,
    benchmark: BenchmarkRow,
    runs: Mapping[str, ModelRun],
    unmeasured: Sequence[store.Participant],
) -> RankedBenchmark:
    samples = _samples_by_model(connection, runs)
    results = _results(benchmark, runs, samples)
    results += [_unmeasured(one, benchmark) for one in unmeasured]
    return RankedBenchmark(
        benchmark,
        replace(rank(results, frozenset(benchmark.incumbents or ())), invalid=benchmark.invalid or ""),
        runs,
        samples,
        store.excluded_candidates(connection, benchmark.benchmark_id),
        _loads_by_model(connection, runs),
        benchmarks_before(connection, benchmark),
    )


def _samples_by_model(connection: Connection, runs: Mapping[str, ModelRun]) -> dict[str, Sequence[Sample]]:
    by_id = samples_of(connection, [run.model_run_id for run in runs.values()])
    return {model: by_id[run.model_run_id] for model, run in runs.items()}


def _loads_by_model(connection: Connection, runs: Mapping[str, ModelRun]) -> dict[str, Sequence[PassLoad]]:
    by_id = pass_loads_of(connection, [run.model_run_id for run in runs.values()])
    return {model: by_id[run.model_run_id] for model, run in runs.items()}


def _case_ids(benchmark: BenchmarkRow) -> list[str]:
    return [case["id"] for case in benchmark.suite["test_cases"]]


def _results(
    benchmark: BenchmarkRow, runs: Mapping[str, ModelRun], samples: Mapping[str, Sequence[Sample]]
) -> list[ModelResult]:
    return model_results(_case_ids(benchmark), Protocol.model_validate(benchmark.protocol), runs, samples)


def _unmeasured(participant: store.Participant, benchmark: BenchmarkRow) -> ModelResult:
    reason = "not measured yet under this suite and protocol"
    result = score_model(participant.model, _case_ids(benchmark), [], int(benchmark.protocol["repeats"]))
    return replace(result, actor_id=participant.actor_id, reason=reason)
