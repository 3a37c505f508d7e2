"""Queries that only the workflow documents need. Reads our own tables only; production's are in production.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from bench_pipeline.domain.measuring.benchmark import Purpose
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.storage.benchmarks import latest_benchmark, model_runs_by_id
from bench_pipeline.storage.tables import (
    benchmark_candidates,
    benchmark_history,
    benchmark_model_runs,
    benchmark_runs,
    promotions,
)


@dataclass(frozen=True, slots=True)
class LastBenchmark:
    """The latest benchmark of the task that serves a conversation."""

    benchmark_id: str
    task: str
    date: datetime


@dataclass(frozen=True, slots=True)
class ModelCost:
    """The cost of a model as its latest run reported it: size of the weights (bytes), time to load (nanoseconds)."""

    size_bytes: int | None
    load_ns: int | None


def last_benchmarks(connection: Connection) -> dict[ConversationId, LastBenchmark]:
    """Return the latest finished benchmark for every conversation that a task serves."""
    tasks = select(benchmark_runs.c.task_type).where(benchmark_runs.c.purpose == Purpose.BENCHMARK).distinct()
    found = (
        latest_benchmark(connection, task)
        for task in connection.scalars(tasks.order_by(benchmark_runs.c.task_type)).all()
    )
    oldest_first = sorted((row for row in found if row), key=lambda row: (row.started_at, row.benchmark_id))
    return {
        conversation: LastBenchmark(row.benchmark_id, row.task_type, row.started_at)
        for row in oldest_first
        for conversation in row.task["conversations"]
    }


def changes(connection: Connection) -> int:
    """Return how many changes of production are recorded."""
    return connection.execute(select(func.count()).select_from(promotions)).scalar_one()


def latencies(connection: Connection, benchmark_ids: Iterable[str]) -> dict[tuple[str, ActorId], float]:
    """Return the mean latency (ms) of every actor in these benchmarks, by benchmark and actor."""
    h = benchmark_history.c
    query = select(h.benchmark_run_id, h.actor_id, h.latency_ms).where(
        h.benchmark_run_id.in_(list(benchmark_ids)), h.actor_id.is_not(None), h.latency_ms.is_not(None)
    )
    return {(benchmark, actor): latency for benchmark, actor, latency in connection.execute(query)}


def model_costs(connection: Connection) -> dict[str, ModelCost]:
    """Return the costs from the latest run of every model, by execution path."""
    latest = select(func.max(benchmark_model_runs.c.model_run_id)).group_by(benchmark_model_runs.c.execution_path)
    runs = model_runs_by_id(connection, connection.scalars(latest).all())
    return {run.ref.execution_path: ModelCost(run.identity.size_bytes, run.load_ns) for run in runs}


def too_large(connection: Connection) -> dict[ActorId, str]:
    """Return the actors that were too large in the latest benchmark that looked at them, with the reason."""
    c, begun = benchmark_candidates.c, benchmark_runs.c.started_at
    looked_at = select(c.actor_id, begun, c.benchmark_id, c.detail).join(
        benchmark_runs, benchmark_runs.c.benchmark_id == c.benchmark_id
    )
    refused = looked_at.where(c.exclusion == Exclusion.TOO_LARGE.value, c.actor_id.is_not(None))
    latest = {row.actor_id: row for row in connection.execute(refused.order_by(begun, c.benchmark_id.desc()))}
    looks = (
        select(c.actor_id, func.max(begun))
        .join(benchmark_runs, benchmark_runs.c.benchmark_id == c.benchmark_id)
        .where(c.actor_id.in_(list(latest)))
        .group_by(c.actor_id)
    )
    last_look = {actor: at for actor, at in connection.execute(looks)}  # noqa: C416 - mypy does not take a row for a pair
    return {actor: row.detail for actor, row in latest.items() if row.started_at >= last_look[actor]}
