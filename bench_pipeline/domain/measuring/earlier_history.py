"""Which rows that other programs wrote to the history belong to one benchmark. Reads no table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

_ONE_BENCHMARK = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """One row of another program: when it was stored, with its zone, the model, its rank and its mean latency (ms)."""

    date: datetime
    model: str
    rank: int | None = None
    latency_ms: float | None = None


def earlier_benchmarks(results: Iterable[EarlierResult]) -> list[list[EarlierResult]]:
    """Group results, which come in the order in which they were stored, into benchmarks.

    A benchmark has one result per model. A rank comes twice only in results of the same moment, which are ties. All
    results of a benchmark are stored within 12 hours.
    """
    found: list[list[EarlierResult]] = []
    for result in results:
        if not found or not _belongs(result, found[-1]):
            found.append([])
        found[-1].append(result)
    return found


def _belongs(result: EarlierResult, benchmark: list[EarlierResult]) -> bool:
    if result.date - benchmark[0].date > _ONE_BENCHMARK or any(one.model == result.model for one in benchmark):
        return False
    same_rank = [one for one in benchmark if one.rank == result.rank and result.rank is not None]
    return all(one.date == result.date for one in same_rank)
