"""Rows of benchmarks, their candidates and model runs. Single calls are in samples.py, scoreboards in history.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    delete,
    insert,
    select,
    update,
)

from bench_pipeline.domain.measuring.benchmark import Purpose, Role, RunStatus
from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline.domain.models.actor import Candidate, Entrant, Exclusion
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.models.model_ref import ModelRef, parse_execution_path
from bench_pipeline.storage.tables import (
    benchmark_candidates,
    benchmark_model_runs,
    benchmark_pass_loads,
    benchmark_runs,
    benchmark_samples,
)


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A benchmark as stored."""

    benchmark_id: str
    task_type: str
    purpose: Purpose
    status: RunStatus
    evidence_key: str
    suite_version: str
    suite_hash: str
    suite: Mapping[str, Any]
    prompt_hash: str
    task: Mapping[str, Any]
    prompt_source: str
    reader_version: str
    protocol: Mapping[str, Any]
    protocol_hash: str
    hardware: Mapping[str, Any]
    tool_version: str
    dagster_run_id: str | None
    started_at: datetime
    finished_at: datetime | None
    incumbents: Sequence[str] | None = None
    invalid: str | None = None
    rescored_from: str | None = None
    pruned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Participant:
    """A model that is ranked in a benchmark. `reused_run_id` is the earlier run that counts if it was not run."""

    model: str
    actor_id: ActorId | None
    reused_run_id: int | None


class ExcludedModel(NamedTuple):
    """A model that did not take part, with the reason."""

    model: str
    exclusion: Exclusion
    detail: str


@dataclass(frozen=True, slots=True)
class ModelRun:
    """All calls of one model in one benchmark. Memory (bytes) and context (tokens) are as its load reported them.

    `host` is the named host of its main passes, `final_host` that of its passes in the final; None for another server.
    """

    model_run_id: int
    benchmark_id: str
    model: str
    actor_id: ActorId | None
    ref: ModelRef
    identity: ModelIdentity
    failure: str | None
    memory_bytes: int | None
    started_at: datetime
    finished_at: datetime | None
    load_ns: int | None
    role: Role = Role.CANDIDATE
    stopped: str | None = None
    final_passes: int = 0
    vram_bytes: int | None = None
    context_length: int | None = None
    host: str | None = None
    final_host: str | None = None

    @property
    def place(self) -> ModelRef:
        """The model on the server that measured it."""
        return self.ref.at(self.host) if self.host else self.ref


def insert_benchmark(connection: Connection, row: BenchmarkRow) -> None:
    """Store a new benchmark."""
    connection.execute(insert(benchmark_runs).values({name: getattr(row, name) for name in BenchmarkRow.__slots__}))


def benchmark(connection: Connection, benchmark_id: str) -> BenchmarkRow | None:
    """Return the benchmark with this id, or None."""
    return _first_benchmark(connection, benchmark_runs.c.benchmark_id == benchmark_id)


def latest_benchmark(connection: Connection, task: str) -> BenchmarkRow | None:
    """Return the task's latest finished benchmark."""
    return _first_benchmark(connection, *_finished(task))


def finished_benchmarks(connection: Connection, task: str) -> list[BenchmarkRow]:
    """Return the task's finished benchmarks, newest first."""
    return [_benchmark_row(row) for row in connection.execute(_newest_first(*_finished(task))).mappings()]


def last_benchmarks(connection: Connection, task: str, limit: int) -> list[BenchmarkRow]:
    """Return at most `limit` of the task's finished benchmarks, newest first."""
    query = _newest_first(*_finished(task)).limit(limit)
    return [_benchmark_row(row) for row in connection.execute(query).mappings()]


def unfinished_benchmarks(
    connection: Connection, purpose: Purpose, evidence_key: str, since: datetime
) -> list[BenchmarkRow]:
    """Return the unfinished runs of `purpose` under this evidence key that began after `since`, latest first.

    They are locked until the transaction ends, so that two processes do not choose the same one.
    """
    c = benchmark_runs.c
    query = _newest_first(
        c.purpose == purpose, c.evidence_key == evidence_key, c.status == RunStatus.RUNNING, c.started_at >= since
    )
    return [_benchmark_row(row) for row in connection.execute(query.with_for_update()).mappings()]


def _first_benchmark(connection: Connection, *conditions: ColumnElement[bool]) -> BenchmarkRow | None:
    row = connection.execute(_newest_first(*conditions).limit(1)).mappings().first()
    return _benchmark_row(row) if row else None


def _newest_first(*conditions: ColumnElement[bool]) -> Select[Any]:
    columns = [benchmark_runs.c[name] for name in BenchmarkRow.__slots__]
    return select(*columns).where(*conditions).order_by(benchmark_runs.c.started_at.desc())


def _finished(task: str) -> tuple[ColumnElement[bool], ...]:
    c = benchmark_runs.c
    return c.task_type == task, c.purpose == Purpose.BENCHMARK, c.status == RunStatus.FINISHED


def _benchmark_row(row: RowMapping) -> BenchmarkRow:
    kinds = {"purpose": Purpose(row["purpose"]), "status": RunStatus(row["status"])}
    return BenchmarkRow(**{**row, **kinds})


def finish_benchmark(connection: Connection, benchmark_id: str, at: datetime) -> None:
    """Mark a benchmark as finished."""
    connection.execute(
        update(benchmark_runs)
        .where(benchmark_runs.c.benchmark_id == benchmark_id)
        .values(status=RunStatus.FINISHED, finished_at=at)
    )


def record_evidence_hash(connection: Connection, benchmark_id: str, evidence_hash: str) -> None:
    """Store the hash of the current ranking; a plan that rests on another one is stale."""
    c = benchmark_runs.c
    connection.execute(update(benchmark_runs).where(c.benchmark_id == benchmark_id).values(evidence_hash=evidence_hash))


def record_incumbents(connection: Connection, benchmark_id: str, names: Iterable[str]) -> None:
    """Store the models that production uses for the task during the benchmark."""
    connection.execute(
        update(benchmark_runs).where(benchmark_runs.c.benchmark_id == benchmark_id).values(incumbents=sorted(names))
    )


def replace_candidates(connection: Connection, benchmark_id: str, candidates: Iterable[Candidate]) -> None:
    """Store which models take part, and why the others do not."""
    connection.execute(delete(benchmark_candidates).where(benchmark_candidates.c.benchmark_id == benchmark_id))
    _insert_candidates(connection, benchmark_id, candidates)


def add_candidates(
    connection: Connection, benchmark_id: str, candidates: Sequence[Candidate], reused: Mapping[str, ModelRun]
) -> None:
    """Store models that are ranked without being run, each with its earlier run in `reused`, if any."""
    _insert_candidates(connection, benchmark_id, candidates, reused)


def _insert_candidates(
    connection: Connection,
    benchmark_id: str,
    candidates: Iterable[Candidate],
    reused: Mapping[str, ModelRun] | None = None,
) -> None:
    run_of = reused or {}
    rows = [
        {
            "benchmark_id": benchmark_id,
            "model_name": candidate.name,
            "actor_id": candidate.actor_id,
            "execution_path": candidate.ref.execution_path if candidate.ref else None,
            "exclusion": candidate.exclusion.value if candidate.exclusion else None,
            "detail": candidate.detail,
            "reused_run_id": run_of[candidate.name].model_run_id if candidate.name in run_of else None,
        }
        for candidate in candidates
    ]
    if rows:
        connection.execute(insert(benchmark_candidates), rows)


def excluded_candidates(connection: Connection, benchmark_id: str) -> list[ExcludedModel]:
    """Return the models that did not take part, by name."""
    c = benchmark_candidates.c
    query = select(c.model_name, c.exclusion, c.detail).where(
        c.benchmark_id == benchmark_id, c.exclusion.is_not(None)
    ).order_by(c.model_name)  # fmt: skip
    return [ExcludedModel(name, Exclusion(reason), detail) for name, reason, detail in connection.execute(query)]


def participants(connection: Connection, benchmark_id: str) -> list[Participant]:
    """Return the models that are ranked in a benchmark, by name."""
    c = benchmark_candidates.c
    query = select(c.model_name, c.actor_id, c.reused_run_id).where(
        c.benchmark_id == benchmark_id, c.exclusion.is_(None)
    )
    return [Participant(*row) for row in connection.execute(query.order_by(c.model_name))]


def insert_model_run(
    connection: Connection, benchmark_id: str, entrant: Entrant, at: datetime, role: Role = Role.CANDIDATE
) -> int:
    """Store a new model run; return its id."""
    row = insert(benchmark_model_runs).values(
        benchmark_id=benchmark_id,
        model_name=entrant.name,
        actor_id=entrant.actor_id,
        execution_path=entrant.ref.execution_path,
        digest=entrant.identity.digest,
        identity=entrant.identity.model_dump(mode="json"),
        role=role,
        started_at=at,
    )
    return int(connection.execute(row.returning(benchmark_model_runs.c.model_run_id)).scalar_one())


def model_runs(connection: Connection, benchmark_id: str, role: Role = Role.CANDIDATE) -> list[ModelRun]:
    """Return the model runs of a benchmark in this role, in the order in which they began."""
    query = (
        select(benchmark_model_runs)
        .where(benchmark_model_runs.c.benchmark_id == benchmark_id, benchmark_model_runs.c.role == role)
        .order_by(benchmark_model_runs.c.model_run_id)
    )
    return [_model_run(row) for row in connection.execute(query).mappings()]


def model_runs_by_id(connection: Connection, model_run_ids: Sequence[int]) -> list[ModelRun]:
    """Return these model runs in the order in which they began."""
    query = (
        select(benchmark_model_runs)
        .where(benchmark_model_runs.c.model_run_id.in_(model_run_ids))
        .order_by(benchmark_model_runs.c.model_run_id)
    )
    return [_model_run(row) for row in connection.execute(query).mappings()]


def model_run(connection: Connection, benchmark_id: str, model: str) -> ModelRun | None:
    """Return the run of `model` in a benchmark, or None."""
    query = select(benchmark_model_runs).where(
        benchmark_model_runs.c.benchmark_id == benchmark_id, benchmark_model_runs.c.model_name == model
    )
    row = connection.execute(query).mappings().first()
    return _model_run(row) if row else None


def earlier_model_runs(connection: Connection, evidence_key: str, since: datetime) -> list[ModelRun]:
    """Return the finished model runs under this evidence key that began after `since`, latest first."""
    query = (
        select(benchmark_model_runs)
        .join(benchmark_runs, benchmark_runs.c.benchmark_id == benchmark_model_runs.c.benchmark_id)
        .where(
            benchmark_runs.c.purpose == Purpose.BENCHMARK,
            benchmark_runs.c.evidence_key == evidence_key,
            benchmark_model_runs.c.started_at >= since,
            benchmark_model_runs.c.role == Role.CANDIDATE,
            benchmark_model_runs.c.stopped.is_distinct_from(StopReason.OUTPACED.value),
            benchmark_model_runs.c.finished_at.is_not(None),
            benchmark_model_runs.c.failure.is_(None),
        )
        .order_by(benchmark_model_runs.c.model_run_id.desc())
    )
    return [_model_run(row) for row in connection.execute(query).mappings()]


def _model_run(row: RowMapping) -> ModelRun:
    return ModelRun(
        model_run_id=row["model_run_id"],
        benchmark_id=row["benchmark_id"],
        model=row["model_name"],
        actor_id=row["actor_id"],
        ref=parse_execution_path(row["execution_path"]),
        identity=ModelIdentity.model_validate(row["identity"]),
        failure=row["failure"],
        memory_bytes=row["memory_bytes"],
        vram_bytes=row["vram_bytes"],
        context_length=row["context_length"],
        load_ns=row["load_ns"],
        role=Role(row["role"]),
        stopped=row["stopped"],
        host=row["host"],
        final_host=row["final_host"],
        final_passes=row["final_passes"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def benchmarks_of_dagster(connection: Connection, task: str, limit: int) -> list[BenchmarkRow]:
    """Return the task's last finished benchmarks that Dagster measured, newest first."""
    query = _newest_first(*_finished(task), benchmark_runs.c.dagster_run_id.is_not(None)).limit(limit)
    return [_benchmark_row(row) for row in connection.execute(query).mappings()]


def record_dagster_run(connection: Connection, benchmark_id: str, dagster_run_id: str) -> None:
    """Store which Dagster run continues a benchmark."""
    c = benchmark_runs.c
    connection.execute(
        update(benchmark_runs).where(c.benchmark_id == benchmark_id).values(dagster_run_id=dagster_run_id)
    )


def delete_model_run(connection: Connection, model_run_id: int) -> None:
    """Delete a model run with its samples, because its model changed before it ended."""
    for table in (benchmark_samples, benchmark_pass_loads, benchmark_model_runs):
        connection.execute(delete(table).where(table.c.model_run_id == model_run_id))


def record_load(connection: Connection, model_run_id: int, report: LoadReport) -> None:
    """Store the load report of a model run."""
    _update_model_run(connection, model_run_id, report.model_dump(exclude={"others", "accelerated"}))


def finish_model_run(
    connection: Connection, model_run_id: int, at: datetime, failure: str | None, stopped: str | None = None
) -> None:
    """Mark a model run as ended, by an infrastructure failure in `failure` or by a race for the reason in `stopped`."""
    _update_model_run(connection, model_run_id, {"finished_at": at, "failure": failure, "stopped": stopped})


def reopen_model_run(connection: Connection, model_run_id: int) -> None:
    """Mark a model run as not ended: the model has another turn."""
    _update_model_run(connection, model_run_id, {"finished_at": None})


def set_final_passes(connection: Connection, model_run_id: int, passes: int, host: str | None = None) -> None:
    """Store how many passes of the final the model has started, and on which named host."""
    _update_model_run(connection, model_run_id, {"final_passes": passes, "final_host": host})


def invalidate_benchmark(connection: Connection, benchmark_id: str, why: str) -> None:
    """Mark a benchmark as invalid, so that nothing is decided from it."""
    connection.execute(update(benchmark_runs).where(benchmark_runs.c.benchmark_id == benchmark_id).values(invalid=why))


def _update_model_run(connection: Connection, model_run_id: int, values: Mapping[str, object]) -> None:
    connection.execute(
        update(benchmark_model_runs).where(benchmark_model_runs.c.model_run_id == model_run_id).values(**values)
    )
