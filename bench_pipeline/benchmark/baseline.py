"""The earlier benchmark that a new one is compared with. The comparison is in domain/measuring/regression.py."""

from __future__ import annotations

from dataclasses import dataclass

from bench_pipeline.benchmark.ranking import RankedBenchmark, read_ranked
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.regression import BenchmarkChange, Measured, benchmark_change
from bench_pipeline.storage.benchmarks import finished_benchmarks
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.history import stored_scoreboard

CHAMPION = "champion"
"""The word that stands for the benchmark of the present champion instead of an id."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A ranked benchmark, and its model that counts as the champion; None if no model qualified."""

    ranked: RankedBenchmark
    champion: str | None


def baseline(bench: Workbench, task: str, against: str) -> Baseline:
    """Return the benchmark with the id `against`, or for `CHAMPION` the one that the task's champion rests on.

    That is the benchmark in the champion registry, the latest if conversations have different champions. Without a
    line in the registry it is the task's latest valid benchmark with a champion. Raises `InputError` when there is
    none, and for a benchmark of another task.
    """
    if against != CHAMPION:
        ranked = read_ranked(bench.database, against)
        if ranked.benchmark.task_type != task:
            raise InputError(f"benchmark {against} belongs to {ranked.benchmark.task_type}, not to {task}")
        return Baseline(ranked, _rank_1(ranked))
    return _registered(bench, task) or _latest(bench, task)


def change_since(before: Baseline, now: RankedBenchmark, tolerated: float) -> BenchmarkChange:
    """Compare a benchmark with an earlier one; `tolerated` is the share by which the champion may be slower."""
    return benchmark_change(_measured(before.ranked), _measured(now), before.champion, tolerated)


def _registered(bench: Workbench, task: str) -> Baseline | None:
    with bench.database.engine.connect() as connection:
        rows = [row for row in all_champions(connection) if row.task_type == task]
    if not rows:
        return None
    row = max(rows, key=lambda one: one.decided_at)
    ranked = read_ranked(bench.database, row.benchmark_id)
    named = (one.model for one in ranked.scoreboard.results if one.actor_id == row.champion_actor_id)
    return Baseline(ranked, next(named, _rank_1(ranked)))


def _latest(bench: Workbench, task: str) -> Baseline:
    with bench.database.engine.connect() as connection:
        for row in finished_benchmarks(connection, task):
            board = stored_scoreboard(connection, row.benchmark_id)
            if board is not None and board.champion is not None and not row.invalid:
                return Baseline(read_ranked(bench.database, row.benchmark_id), board.champion.model)
    raise InputError(
        f"{task} has no champion in this database; measure what the change is compared with first: "
        f"`bench run --task {task}` before the change"
    )


def _rank_1(ranked: RankedBenchmark) -> str | None:
    champion = ranked.scoreboard.champion
    return champion.model if champion else None


def _measured(ranked: RankedBenchmark) -> Measured:
    row = ranked.benchmark
    return Measured(
        benchmark_id=row.benchmark_id,
        scoreboard=ranked.scoreboard,
        samples=ranked.samples,
        case_ids=tuple(case["id"] for case in row.suite["test_cases"]),
        main_passes=int(row.protocol["repeats"]),
        hardware=row.hardware,
    )
