"""Rows of `benchmark_history`: the stored scoreboards. Ranking itself is in domain/measuring/scoreboard.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select

from bench_pipeline.domain.measuring.scoreboard import CaseFailure, ModelResult, Scoreboard, Standing
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.tables import benchmark_history, benchmark_model_runs, benchmark_runs


@dataclass(frozen=True, slots=True)
class PastBenchmark:
    """The leaders of one benchmark, for the trend over time."""

    benchmark_id: str
    date: datetime
    champion: str | None
    champion_latency_ms: float | None
    runner_up: str | None
    qualified: int
    models: int


def replace_history(
    connection: Connection,
    benchmark: BenchmarkRow,
    scoreboard: Scoreboard,
    model_run_ids: Mapping[str, int],
) -> None:
    """Store a scoreboard, one row per model, ranked or not. Storing it again gives the same rows."""
    connection.execute(delete(benchmark_history).where(benchmark_history.c.benchmark_id == benchmark.benchmark_id))
    rows = [
        {
            "benchmark_id": benchmark.benchmark_id,
            "task_type": benchmark.task_type,
            "model_name": result.model,
            "correctness_score": result.correctness_score,
            "avg_latency_ms": result.avg_latency_ms,
            "speed_score": result.speed_score,
            "rank": result.rank,
            "benchmark_date": benchmark.started_at,
            "standing": result.standing.value,
            "actor_id": result.actor_id,
            "digest": result.digest,
            "model_run_id": model_run_ids.get(result.model),
            "cases": result.cases,
            "cases_correct": result.cases_correct,
            "calls": result.calls,
            "failures": [
                {"case_id": f.case_id, "outcome": f.outcome.value, "reason": f.reason} for f in result.failures
            ],
            "reason": result.reason,
            "tied_with": list(result.tied_with),
            "size_bytes": result.size_bytes,
            "family": result.family,
            "cases_seen": result.cases_seen,
            "valid_calls": result.valid_calls,
            "median_ms": result.median_ms,
            "p90_ms": result.p90_ms,
            "cv": result.cv,
            "case_medians_ms": dict(result.case_medians_ms),
            "final_case_medians_ms": dict(result.final_case_medians_ms),
            "final_passes": result.final_passes,
            "pass_means_ms": list(result.pass_means_ms),
            "final_latencies_ms": [dict(one) for one in result.final_latencies_ms],
            "flaky": list(result.flaky),
            "memory_bytes": result.memory_bytes,
        }
        for result in scoreboard.results
    ]
    if rows:
        connection.execute(insert(benchmark_history), rows)


def stored_scoreboard(connection: Connection, benchmark_id: str) -> Scoreboard | None:
    """Return the stored scoreboard of a benchmark, or None when it was not ranked."""
    h = benchmark_history.c
    query = (
        select(benchmark_history)
        .where(h.benchmark_id == benchmark_id)
        .order_by(h.rank.is_(None), h.rank, h.standing, h.cases_correct.desc(), h.model_name)
    )
    rows = connection.execute(query).mappings().all()
    return Scoreboard(tuple(_result(row) for row in rows)) if rows else None


def model_run_ids(connection: Connection, benchmark_id: str) -> dict[str, int]:
    """Return the model run behind each result of a scoreboard."""
    h = benchmark_history.c
    query = select(h.model_name, h.model_run_id).where(h.benchmark_id == benchmark_id, h.model_run_id.is_not(None))
    return {name: number for name, number in connection.execute(query)}  # noqa: C416 - mypy does not take a row for a pair


def past_benchmarks(connection: Connection, task: str) -> list[PastBenchmark]:
    """Return the task's ranked benchmarks, oldest first."""
    h = benchmark_history.c
    shown = h.benchmark_id, h.benchmark_date, h.rank, h.model_name, h.avg_latency_ms
    query = select(*shown).where(h.task_type == task).order_by(h.benchmark_date, h.benchmark_id)
    by_id: dict[str, list[RowMapping]] = {}
    for row in connection.execute(query).mappings():
        by_id.setdefault(row["benchmark_id"], []).append(row)
    return [_past(rows) for rows in by_id.values()]


def model_trend(connection: Connection, task: str, model: str) -> list[ModelResult]:
    """Return the results of `model` in the task's benchmarks, oldest first."""
    h = benchmark_history.c
    query = (
        select(benchmark_history)
        .where(h.task_type == task, h.model_name == model)
        .order_by(h.benchmark_date, h.benchmark_id)
    )
    return [_result(row) for row in connection.execute(query).mappings()]


def earlier_results(
    connection: Connection, benchmark: BenchmarkRow, actor_id: ActorId, identity: ModelIdentity
) -> list[tuple[str, ModelResult]]:
    """Return the results of an actor's model in the benchmarks before this one, newest first, with their ids.

    Suite, prompt, reader, verdict contract, decoding and the model's identity are those of this benchmark.
    """
    h, b, runs = benchmark_history.c, benchmark_runs.c, benchmark_model_runs.c
    terms = b.suite_hash, b.prompt_hash, b.reader_version
    same = [column == getattr(benchmark, column.name) for column in terms]
    query = (
        select(benchmark_history, b.task, b.protocol, runs.identity)
        .join(benchmark_runs, b.benchmark_id == h.benchmark_id)
        .join(benchmark_model_runs, runs.model_run_id == h.model_run_id)
        .where(h.task_type == benchmark.task_type, h.actor_id == actor_id, b.started_at < benchmark.started_at, *same)
        .order_by(b.started_at.desc(), h.benchmark_id)
    )
    return [
        (row["benchmark_id"], _result(row))
        for row in connection.execute(query).mappings()
        if row["task"]["verdict"] == benchmark.task["verdict"]
        and row["protocol"]["decoding"] == benchmark.protocol["decoding"]
        and ModelIdentity.model_validate(row["identity"]) == identity
    ]


def _past(rows: list[RowMapping]) -> PastBenchmark:
    ranked = {row["rank"]: row for row in rows if row["rank"] is not None}
    champion, runner_up = ranked.get(1), ranked.get(2)
    return PastBenchmark(
        benchmark_id=rows[0]["benchmark_id"],
        date=rows[0]["benchmark_date"],
        champion=champion["model_name"] if champion else None,
        champion_latency_ms=champion["avg_latency_ms"] if champion else None,
        runner_up=runner_up["model_name"] if runner_up else None,
        qualified=len(ranked),
        models=len(rows),
    )


def _result(row: RowMapping) -> ModelResult:
    return ModelResult(
        model=row["model_name"],
        standing=Standing(row["standing"]),
        cases=row["cases"],
        cases_correct=row["cases_correct"],
        correctness_score=row["correctness_score"],
        calls=row["calls"],
        actor_id=row["actor_id"],
        avg_latency_ms=row["avg_latency_ms"],
        speed_score=row["speed_score"],
        rank=row["rank"],
        tied_with=tuple(row["tied_with"]),
        failures=tuple(CaseFailure(f["case_id"], Outcome(f["outcome"]), f["reason"]) for f in row["failures"]),
        reason=row["reason"],
        size_bytes=row["size_bytes"],
        family=row["family"],
        digest=row["digest"],
        cases_seen=row["cases_seen"],
        valid_calls=row["valid_calls"],
        median_ms=row["median_ms"],
        p90_ms=row["p90_ms"],
        cv=row["cv"],
        case_medians_ms=row["case_medians_ms"] or {},
        final_case_medians_ms=row["final_case_medians_ms"] or {},
        final_passes=row["final_passes"],
        pass_means_ms=tuple(row["pass_means_ms"] or ()),
        final_latencies_ms=tuple(row["final_latencies_ms"] or ()),
        flaky=tuple(row["flaky"] or ()),
        memory_bytes=row["memory_bytes"],
    )
