"""Rows of `benchmark_history`: the stored scoreboards, and the results of other programs.

Ranking itself is in domain/measuring/scoreboard.py. Rows of other programs are shown, and rank and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from sqlalchemy import Connection, DateTime, Row, RowMapping, Select, Text, cast, delete, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from bench_pipeline.domain.measuring.earlier_history import EarlierResult, earlier_benchmarks
from bench_pipeline.domain.measuring.scoreboard import (
    CaseFailure,
    ModelResult,
    Scoreboard,
    Standing,
    correctness_score,
    speed_score,
)
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.own_schema import own_schema
from bench_pipeline.storage.tables import MOST, benchmark_history, benchmark_model_runs, benchmark_runs

_KEY = ("benchmark_run_id", "model")
# A column without time zone holds the time of the server's zone, which is the session's. SQLite's may hold any text.
_MOMENT = DateTime(timezone=True).with_variant(Text(), "sqlite")
_WIDTHS = text(
    "SELECT a.attname, a.atttypmod - 4 FROM pg_catalog.pg_attribute a "
    "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relname = 'benchmark_history' AND n.nspname = :schema "
    "AND a.attname IN ('task_type', 'model_name') AND a.atttypmod > 4"
)


@dataclass(frozen=True, slots=True)
class PastBenchmark:
    """The leaders of one benchmark, for the trend over time.

    `benchmark_id` is None, and `measured_here` false, for a benchmark of another program, of which `qualified` counts
    the ranked models.
    """

    benchmark_id: str | None
    date: datetime
    champion: str | None
    champion_latency_ms: float | None
    runner_up: str | None
    qualified: int
    models: int
    measured_here: bool = True


def replace_history(
    connection: Connection,
    benchmark: BenchmarkRow,
    scoreboard: Scoreboard,
    model_run_ids: Mapping[str, int],
) -> None:
    """Store a scoreboard, one row per model, ranked or not. Storing it again gives the same rows."""
    h = benchmark_history.c
    rows = [
        _row(benchmark, result) | {"model_run_id": model_run_ids.get(result.model)} for result in scoreboard.results
    ]
    gone = h.benchmark_run_id == benchmark.benchmark_id, h.model.not_in([row["model"] for row in rows])
    connection.execute(delete(benchmark_history).where(*gone))
    if rows:
        widths = _widths(connection)
        fitting = [row | {name: row[name][:width] for name, width in widths.items()} for row in rows]
        of_dialect = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        new = of_dialect(benchmark_history)
        stored = {name: new.excluded[name] for name in rows[0]}
        connection.execute(new.on_conflict_do_update(index_elements=_KEY, set_=stored), fitting)


def _widths(connection: Connection) -> dict[str, int]:
    """Return the widths of the columns that an adopted table may have made too narrow; SQLite keeps to none."""
    if connection.dialect.name == "sqlite":
        return {}
    return {name: width for name, width in connection.execute(_WIDTHS, {"schema": own_schema(connection)})}  # noqa: C416 - mypy does not take a row for a pair


def _row(benchmark: BenchmarkRow, result: ModelResult) -> dict[str, Any]:
    return {
        "task_type": benchmark.task_type,
        "model_name": result.model,
        "correctness_score": result.correctness_score,
        "avg_latency_ms": _fitting(result.avg_latency_ms),
        "speed_score": _fitting(result.speed_score),
        "rank": result.rank,
        "benchmark_date": benchmark.started_at,
        "benchmark_run_id": benchmark.benchmark_id,
        "model": result.model,
        "latency_ms": result.avg_latency_ms,
        "standing": result.standing.value,
        "actor_id": result.actor_id,
        "digest": result.digest,
        "cases": result.cases,
        "cases_correct": result.cases_correct,
        "calls": result.calls,
        "failures": [{"case_id": f.case_id, "outcome": f.outcome.value, "reason": f.reason} for f in result.failures],
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


def _fitting(value: float | None) -> float | None:
    return None if value is None else min(value, MOST)


def stored_scoreboard(connection: Connection, benchmark_id: str) -> Scoreboard | None:
    """Return the stored scoreboard of a benchmark, or None when it was not ranked."""
    h = benchmark_history.c
    query = (
        select(benchmark_history)
        .where(h.benchmark_run_id == benchmark_id)
        .order_by(h.rank.is_(None), h.rank, h.standing, h.cases_correct.desc(), h.model)
    )
    rows = connection.execute(query).mappings().all()
    return Scoreboard(tuple(_result(row) for row in rows)) if rows else None


def model_run_ids(connection: Connection, benchmark_id: str) -> dict[str, int]:
    """Return the model run behind each result of a scoreboard."""
    h = benchmark_history.c
    query = select(h.model, h.model_run_id).where(h.benchmark_run_id == benchmark_id, h.model_run_id.is_not(None))
    return {name: number for name, number in connection.execute(query)}  # noqa: C416 - mypy does not take a row for a pair


def past_benchmarks(connection: Connection, task: str) -> list[PastBenchmark]:
    """Return the task's ranked benchmarks, oldest first, with those of other programs.

    Rows of other programs without a model's name or a readable date are left out.
    """
    h = benchmark_history.c
    columns = h.benchmark_run_id, h.model, h.model_name, h.rank, h.latency_ms, h.avg_latency_ms
    query = _of_task(connection, select(*columns, cast(_STARTED, _MOMENT).label("date")), task).order_by(h.benchmark_id)
    by_id: dict[str | None, list[EarlierResult]] = {}
    for row in connection.execute(query):
        if (result := _result_of(row)) is not None:
            by_id.setdefault(row.benchmark_run_id, []).append(result)
    of_others = sorted(by_id.pop(None, []), key=lambda result: result.date)
    past = [_past(benchmark_id, results) for benchmark_id, results in by_id.items()]
    past += [_past(None, results) for results in earlier_benchmarks(of_others)]
    return sorted(past, key=lambda one: (one.date, one.benchmark_id or ""))


def benchmarks_before(connection: Connection, benchmark: BenchmarkRow, limit: int = 10) -> list[PastBenchmark]:
    """Return the last ranked benchmarks of the task that began before this one, oldest first."""
    past = past_benchmarks(connection, benchmark.task_type)
    return [one for one in past if one.date < benchmark.started_at][-limit:]


def model_trend(connection: Connection, task: str, model: str) -> list[ModelResult]:
    """Return the results of `model` in this program's benchmarks of the task, oldest first."""
    h = benchmark_history.c
    query = _of_task(connection, select(benchmark_history), task).where(
        h.benchmark_run_id.is_not(None), h.model == model
    )
    rows = connection.execute(query.order_by(_STARTED, h.benchmark_run_id)).mappings()
    return [_result(row) for row in rows]


_STARTED = func.coalesce(benchmark_runs.c.started_at, benchmark_history.c.benchmark_date)


def _of_task(connection: Connection, query: Select[Any], task: str) -> Select[Any]:
    """Only the task's rows; `task_type` may be cut where the benchmark is this program's."""
    h, b = benchmark_history.c, benchmark_runs.c
    joined = query.outerjoin_from(benchmark_history, benchmark_runs, b.benchmark_id == h.benchmark_run_id)
    cut = task[: _widths(connection).get("task_type")]
    return joined.where(h.task_type.in_({task, cut}), func.coalesce(b.task_type, h.task_type) == task)


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
        .join(benchmark_runs, b.benchmark_id == h.benchmark_run_id)
        .join(benchmark_model_runs, runs.model_run_id == h.model_run_id)
        .where(b.task_type == benchmark.task_type, h.actor_id == actor_id, b.started_at < benchmark.started_at, *same)
        .order_by(b.started_at.desc(), h.benchmark_run_id)
    )
    return [
        (row["benchmark_run_id"], _result(row))
        for row in connection.execute(query).mappings()
        if row["task"]["verdict"] == benchmark.task["verdict"]
        and row["protocol"]["decoding"] == benchmark.protocol["decoding"]
        and ModelIdentity.model_validate(row["identity"]) == identity
    ]


def _result_of(row: Row[Any]) -> EarlierResult | None:
    """Read a row with care: other programs write whatever their columns take."""
    date, model = _moment(row.date), row.model or (row.model_name or "").strip()
    if date is None or not model:
        return None
    rank = row.rank if isinstance(row.rank, int) else None
    return EarlierResult(date, model, rank, _number(row.latency_ms, row.avg_latency_ms))


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _number(*values: object) -> float | None:
    """Return the first of these values that is a number."""
    return next((float(one) for one in values if isinstance(one, int | float) and isfinite(one)), None)


def _past(benchmark_id: str | None, results: Iterable[EarlierResult]) -> PastBenchmark:
    found = list(results)
    leaders: dict[int, EarlierResult] = {}
    for result in found:
        if result.rank is not None:
            leaders.setdefault(result.rank, result)
    champion, runner_up = leaders.get(1), leaders.get(2)
    return PastBenchmark(
        benchmark_id=benchmark_id,
        date=found[0].date,
        champion=champion.model if champion else None,
        champion_latency_ms=champion.latency_ms if champion else None,
        runner_up=runner_up.model if runner_up else None,
        qualified=sum(result.rank is not None for result in found),
        models=len(found),
        measured_here=benchmark_id is not None,
    )


def _result(row: RowMapping) -> ModelResult:
    """Compute again what the cookbook's columns may have rounded."""
    standing, latency_ms = Standing(row["standing"]), row["latency_ms"]
    ranks = standing is Standing.QUALIFIED and latency_ms is not None
    return ModelResult(
        model=row["model"],
        standing=standing,
        cases=row["cases"],
        cases_correct=row["cases_correct"],
        correctness_score=correctness_score(row["cases_correct"], row["cases"]),
        calls=row["calls"],
        actor_id=row["actor_id"],
        avg_latency_ms=latency_ms,
        speed_score=speed_score(latency_ms) if ranks else None,
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
