"""What was measured of a task: its terms, its models, the versions of their servers. Compared in operation/causes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from bench_pipeline.domain.measuring.benchmark import Purpose, Role, RunStatus
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.storage.tables import benchmark_history, benchmark_model_runs, benchmark_runs

_b, _r, _h = benchmark_runs.c, benchmark_model_runs.c, benchmark_history.c
_BENCHMARK = _b.purpose == Purpose.BENCHMARK


def measured_hardware(connection: Connection, task: str) -> dict[str, Mapping[str, Any]]:
    """Return the hardware of each evidence key under which a benchmark of the task ended, the latest one last."""
    query = select(_b.evidence_key, _b.hardware).where(
        _b.task_type == task, _BENCHMARK, _b.status == RunStatus.FINISHED
    )  # fmt: skip
    found: dict[str, Mapping[str, Any]] = {}
    for key, hardware in connection.execute(query.order_by(_b.started_at)):
        found.pop(key, None)
        found[key] = hardware
    return found


def measured_actors(connection: Connection, task: str) -> dict[ActorId, str]:
    """Return the last name of every actor that a benchmark of the task ran."""
    query = (
        select(_r.actor_id, _r.model_name)
        .join(benchmark_runs, _b.benchmark_id == _r.benchmark_id)
        .where(_b.task_type == task, _BENCHMARK, _r.actor_id.is_not(None), _r.role == Role.CANDIDATE)
        .group_by(_r.actor_id, _r.model_name)
        .order_by(func.max(_r.model_run_id))
    )
    return {actor_id: name for actor_id, name in connection.execute(query)}  # noqa: C416 - mypy does not take a row for a pair


def measured_versions(connection: Connection, evidence_key: str) -> dict[str, str]:
    """Return, by model, the server's version in its last run under this evidence key, where it is known.

    Only runs that ended count, in benchmarks that ended: so the answer does not change while a benchmark runs.
    """
    last = (
        select(func.max(_r.model_run_id))
        .join(benchmark_runs, _b.benchmark_id == _r.benchmark_id)
        .where(_b.evidence_key == evidence_key, _BENCHMARK, _b.status == RunStatus.FINISHED)
        .where(_r.role == Role.CANDIDATE)
        .where(_r.finished_at.is_not(None), _r.failure.is_(None))
        .group_by(_r.model_name)
    )
    query = select(_r.model_name, _r.identity).where(_r.model_run_id.in_(last))
    found = {name: identity.get("runtime_version") for name, identity in connection.execute(query)}
    return {name: version for name, version in found.items() if version is not None}


def measured_median(connection: Connection, benchmark_id: str, actor_id: ActorId) -> tuple[str, float] | None:
    """Return the last median latency (ms) of an actor under the evidence of this benchmark, with its benchmark's id.

    None when it was never ranked under that evidence, or only without a median.
    """
    key = select(_b.evidence_key).where(_b.benchmark_id == benchmark_id).scalar_subquery()
    query = (
        select(_h.benchmark_run_id, _h.median_ms)
        .join(benchmark_runs, _b.benchmark_id == _h.benchmark_run_id)
        .where(_b.evidence_key == key, _BENCHMARK, _b.invalid.is_(None), _h.actor_id == actor_id)
        .where(_h.standing == Standing.QUALIFIED.value, _h.median_ms.is_not(None))
        .order_by(_b.started_at.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return (row[0], float(row[1])) if row else None


def measured_since(connection: Connection, task: str, since: datetime) -> bool:
    """Whether a benchmark of the task that began after this moment ended."""
    query = select(_b.benchmark_id).where(
        _b.task_type == task, _BENCHMARK, _b.status == RunStatus.FINISHED, _b.started_at > since
    )
    return connection.scalar(query.limit(1)) is not None
