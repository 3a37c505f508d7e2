"""Removal of old replies: which benchmarks lose theirs. The queries are in storage/old_replies.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from bench_pipeline.domain.measuring.retention import Keep
from bench_pipeline.domain.promoting.plan import PlanKind
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.locks import BENCHMARK
from bench_pipeline.storage.old_replies import benchmarks_with_replies, lenders, remove_replies, texts_of
from bench_pipeline.storage.promotions import all_promotions


@dataclass(frozen=True, slots=True)
class Prunable:
    """What would be removed: the replies of benchmarks that began before a moment, in calls and characters.

    `kept` are older benchmarks whose replies stay, because production or a younger benchmark rests on them.
    """

    before: datetime
    benchmark_ids: tuple[str, ...]
    kept: tuple[str, ...]
    calls: int
    characters: int


def prunable(database: Database, keep: Keep, now: datetime, resume_hours: float) -> Prunable:
    """Return which replies are older than `keep` and not needed. Removes nothing.

    Needed are the replies of the benchmarks on which the actors of production rest, and of model runs that count in a
    benchmark whose replies stay. Raises `InputError` when `keep` is too long.
    """
    before = keep.before(now)
    with database.engine.connect() as connection:
        old = benchmarks_with_replies(connection, before, now - timedelta(hours=resume_hours))
        in_production = _in_production(connection)
        borrowed = (of for by, of in lenders(connection).items() if by not in old or by in in_production)
        needed = in_production.union(*borrowed)
        removed = tuple(one for one in old if one not in needed)
        texts = [texts_of(connection, one) for one in removed]
    return Prunable(
        before,
        removed,
        tuple(one for one in old if one in needed),
        sum(one.calls for one in texts),
        sum(one.characters for one in texts),
    )


def prune(database: Database, found: Prunable, now: datetime) -> None:
    """Remove these replies, one benchmark per transaction. Raises `LockTaken` while a benchmark runs."""
    with database.exclusive(BENCHMARK):
        for benchmark_id in found.benchmark_ids:
            with database.writing() as connection:
                remove_replies(connection, benchmark_id, now)


def _in_production(connection: Connection) -> frozenset[str]:
    """Return the benchmarks of the registry, and of the last change in force of each conversation."""
    last = {
        row.conversation_id: row.benchmark_id
        for change in all_promotions(connection)
        if change.in_force and change.kind is not PlanKind.ROLLBACK
        for row in change.changed
    }
    registered = (row.benchmark_id for row in all_champions(connection))
    return frozenset(one for one in (*last.values(), *registered) if one is not None)
