"""The texts of stored replies by benchmark: how many there are, which benchmarks others rest on, and their removal.

Figures, verdicts, outcomes, reasons and the audit are never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, or_, select, update

from bench_pipeline.domain.measuring.benchmark import RunStatus
from bench_pipeline.storage.tables import (
    benchmark_candidates,
    benchmark_history,
    benchmark_model_runs,
    benchmark_runs,
    benchmark_samples,
)

_b, _r, _s = benchmark_runs.c, benchmark_model_runs.c, benchmark_samples.c


@dataclass(frozen=True, slots=True)
class Texts:
    """Replies with their thinking: how many calls have some, and their characters."""

    calls: int
    characters: int


def benchmarks_with_replies(connection: Connection, before: datetime, ended_before: datetime) -> list[str]:
    """Return the benchmarks that began before a moment and whose replies were not removed, oldest first.

    One that has not finished must have begun before `ended_before` too, after which it is not resumed.
    """
    query = select(_b.benchmark_id).where(
        _b.started_at < before,
        _b.pruned_at.is_(None),
        or_(_b.status == RunStatus.FINISHED, _b.started_at < ended_before),
    )
    return list(connection.scalars(query.order_by(_b.started_at, _b.benchmark_id)))


def lenders(connection: Connection) -> dict[str, set[str]]:
    """Return, by benchmark, the earlier benchmarks whose model runs count in it."""
    h, c = benchmark_history.c, benchmark_candidates.c
    found: dict[str, set[str]] = {}
    for borrower, run in ((h.benchmark_run_id, h.model_run_id), (c.benchmark_id, c.reused_run_id)):
        query = select(borrower, _r.benchmark_id).join(benchmark_model_runs, _r.model_run_id == run)
        for by, of in connection.execute(query.where(borrower != _r.benchmark_id).distinct()):
            found.setdefault(by, set()).add(of)
    return found


def texts_of(connection: Connection, benchmark_id: str) -> Texts:
    """Return how many texts a benchmark has."""
    length = func.coalesce(func.length(_s.reply), 0) + func.coalesce(func.length(_s.thinking), 0)
    query = (
        select(func.count(), func.coalesce(func.sum(length), 0))
        .join(benchmark_model_runs, _r.model_run_id == _s.model_run_id)
        .where(_r.benchmark_id == benchmark_id, or_(_s.reply.is_not(None), _s.thinking.is_not(None)))
    )
    calls, characters = connection.execute(query).one()
    return Texts(calls, int(characters))


def remove_replies(connection: Connection, benchmark_id: str, at: datetime) -> None:
    """Remove replies and thinking of a benchmark, and store when."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")  # otherwise the text stays in free pages of the file
    mine = select(_r.model_run_id).where(_r.benchmark_id == benchmark_id)
    texts = {_s.reply: None, _s.thinking: None}
    connection.execute(update(benchmark_samples).where(_s.model_run_id.in_(mine)).values(texts))
    connection.execute(update(benchmark_runs).where(_b.benchmark_id == benchmark_id).values(pruned_at=at))
