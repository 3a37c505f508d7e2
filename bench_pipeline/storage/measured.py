"""What was measured of a task: its terms, its models, the versions of their servers. Compared in operation/causes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from bench_pipeline.domain.measuring.benchmark import Purpose, Role, RunStatus
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.storage.tables import benchmark_candidates, benchmark_history, benchmark_model_runs, benchmark_runs

_b, _r, _h = benchmark_runs.c, benchmark_model_runs.c, benchmark_history.c
_BENCHMARK = _b.purpose == Purpose.BENCHMARK
_FINISHED = and_(_BENCHMARK, _b.status == RunStatus.FINISHED)
_ENDED = and_(_r.finished_at.is_not(None), _r.failure.is_(None))


def measured_hardware(connection: Connection, task: str) -> dict[str, Mapping[str, Any]]:
    """Return the hardware of each evidence key under which a benchmark of the task ended, the latest one last."""
    query = select(_b.evidence_key, _b.hardware).where(_b.task_type == task, _FINISHED)
    found: dict[str, Mapping[str, Any]] = {}
    for key, hardware in connection.execute(query.order_by(_b.started_at)):
        found.pop(key, None)
        found[key] = hardware
    return found


def measured_actors(connection: Connection, task: str) -> dict[ActorId, str]:
    """Return the last name of every actor that a benchmark of the task ran."""
    query = (
        _candidate_runs(_r.actor_id, _r.model_name)
        .where(_b.task_type == task, _r.actor_id.is_not(None))
        .group_by(_r.actor_id, _r.model_name)
        .order_by(func.max(_r.model_run_id))
    )
    return {actor_id: name for actor_id, name in connection.execute(query)}  # noqa: C416 - mypy does not take a row for a pair


def measured_versions(connection: Connection, evidence_key: str) -> dict[str, str]:
    """Return, by model, the server's version in its last run under this evidence key, where it is known.

    Only runs that ended count, in benchmarks that ended: so the answer does not change while a benchmark runs.
    """
    last = (
        _candidate_runs(func.max(_r.model_run_id))
        .where(_b.evidence_key == evidence_key, _FINISHED, _ENDED)
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
    query = select(_b.benchmark_id).where(_b.task_type == task, _FINISHED, _b.started_at > since)
    return connection.scalar(query.limit(1)) is not None


def measured_whole(
    connection: Connection, task: str, since: datetime, suite_hash: str, protocol_hash: str
) -> str | None:
    """Return the latest finished, valid benchmark since then that ran every model which it ranked; None if none did."""
    p = benchmark_candidates.c
    own_run = exists().where(_r.benchmark_id == p.benchmark_id, _r.model_name == p.model_name)
    left_out = exists().where(p.benchmark_id == _b.benchmark_id, p.exclusion.is_(None), ~own_run)
    terms = _b.suite_hash == suite_hash, _b.protocol_hash == protocol_hash, _b.rescored_from.is_(None)
    query = select(_b.benchmark_id).where(
        _b.task_type == task, _FINISHED, *terms, _b.started_at >= since, _b.invalid.is_(None), ~left_out
    )
    return connection.scalar(query.order_by(_b.started_at.desc()).limit(1))


def first_benchmark_at(connection: Connection, task: str) -> datetime | None:
    """Return when the task was first benchmarked; None if it never was."""
    query = select(_b.started_at).where(_b.task_type == task, _FINISHED).order_by(_b.started_at).limit(1)
    begun: datetime | None = connection.scalar(query)
    return begun


def measured_models(connection: Connection, evidence_key: str) -> set[tuple[str, str]]:
    """Return the models with a run in a finished benchmark of this evidence key: name, and digest or else the name."""
    query = _candidate_runs(_r.model_name, func.coalesce(_r.digest, _r.model_name))
    query = query.where(_b.evidence_key == evidence_key, _FINISHED, _ENDED).distinct()
    return {(model, digest) for model, digest in connection.execute(query)}


def models_run_before(connection: Connection, task: str) -> set[tuple[str, str]]:
    """Return the models that were ever run on a task, as `measured_models` does, whatever the terms and the end."""
    query = _candidate_runs(_r.model_name, func.coalesce(_r.digest, _r.model_name)).where(_b.task_type == task)
    return {(model, digest) for model, digest in connection.execute(query)}


def _candidate_runs(*columns: ColumnElement[Any]) -> Select[Any]:
    joined = select(*columns).join(benchmark_runs, _b.benchmark_id == _r.benchmark_id)
    return joined.where(_BENCHMARK, _r.role == Role.CANDIDATE)
