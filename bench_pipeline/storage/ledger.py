"""The elimination ledger: the fate of every model in every benchmark, in the rows of `benchmark_candidates`.

The reason codes are decided in domain/measuring/ledger.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, bindparam, or_, select, update

from bench_pipeline.domain.measuring.benchmark import Purpose
from bench_pipeline.domain.measuring.ledger import LedgerLine, LookedAt, ReasonCode
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.models.model_ref import UnknownExecutionPath, ollama_ref, parse_execution_path
from bench_pipeline.storage.tables import benchmark_candidates, benchmark_runs

_b, _c = benchmark_runs.c, benchmark_candidates.c
_ENTRY = (_b.started_at, _b.task_type, _b.benchmark_id, _c.model_name, _c.reason_code, _c.reason, _c.exclusion,
          _c.detail)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The fate of a model in one benchmark; `model` is None when the benchmark did not look at it."""

    date: datetime
    task: str
    benchmark_id: str
    model: str | None
    code: str
    reason: str


def looked_at(connection: Connection, benchmark_id: str) -> list[LookedAt]:
    """Return every model that a benchmark knew of, by name."""
    query = select(_c.model_name, _c.exclusion, _c.detail).where(_c.benchmark_id == benchmark_id)
    return [
        LookedAt(name, Exclusion(exclusion) if exclusion else None, detail)
        for name, exclusion, detail in connection.execute(query.order_by(_c.model_name))
    ]


def record_ledger(connection: Connection, benchmark_id: str, lines: Sequence[LedgerLine]) -> None:
    """Store the ledger of a benchmark."""
    if lines:
        connection.execute(
            update(benchmark_candidates)
            .where(_c.benchmark_id == benchmark_id, _c.model_name == bindparam("of"))
            .values(reason_code=bindparam("code"), reason=bindparam("why")),
            [{"of": line.model, "code": line.code.value, "why": line.reason} for line in lines],
        )


def benchmark_ledger(connection: Connection, benchmark_id: str) -> list[LedgerEntry]:
    """Return the ledger of a benchmark, by model name."""
    query = (
        select(*_ENTRY)
        .join(benchmark_candidates, _c.benchmark_id == _b.benchmark_id)
        .where(_b.benchmark_id == benchmark_id)
        .order_by(_c.model_name)
    )
    return [_entry(row) for row in connection.execute(query).mappings()]


def model_ledger(connection: Connection, model: str, task: str | None = None) -> list[LedgerEntry]:
    """Return a model's entries in every benchmark since the first that looked at it, newest first.

    `model` is the name of an actor, an execution path, or the runtime's name of the model. Empty when no
    benchmark (of `task`) ever looked at it.
    """
    query = (
        select(*_ENTRY)
        .join_from(
            benchmark_runs,
            benchmark_candidates,
            and_(_c.benchmark_id == _b.benchmark_id, _is(model)),
            isouter=True,
        )
        .where(_b.purpose == Purpose.BENCHMARK)
        .order_by(_b.started_at.desc(), _b.benchmark_id, _c.model_name)
    )
    if task is not None:
        query = query.where(_b.task_type == task)
    entries = [_entry(row) for row in connection.execute(query).mappings()]
    known = [number for number, entry in enumerate(entries, start=1) if entry.model is not None]
    return entries[: known[-1]] if known else []


def _is(model: str) -> ColumnElement[bool]:
    paths = {model, f"llama_cpp:{model}", *_paths(model)}
    return or_(
        _c.model_name == model,
        _c.model_name.startswith(f"{model} (actor ", autoescape=True),  # the second of two actors with one name
        _c.execution_path.in_(paths),
        _c.execution_path.endswith(f"#{model}", autoescape=True),
    )


def _paths(model: str) -> Iterator[str]:
    for read in (parse_execution_path, ollama_ref):
        with suppress(UnknownExecutionPath):
            yield read(model).execution_path


def _entry(row: RowMapping) -> LedgerEntry:
    code, reason = row["reason_code"], row["reason"]
    if row["model_name"] is None:
        code, reason = ReasonCode.NOT_MEASURED.value, "it was not among the models of this benchmark"
    elif code is None and row["exclusion"] is not None:
        code, reason = row["exclusion"], row["detail"]
    elif code is None:
        code, reason = ReasonCode.UNRANKED.value, "this benchmark was not ranked yet"
    return LedgerEntry(row["started_at"], row["task_type"], row["benchmark_id"], row["model_name"], code, reason)
