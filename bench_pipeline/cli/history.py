"""`bench history`: champions, one model's results or one benchmark's results as tables. Computes no ranking."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bench_pipeline.benchmark.ranking import read_ranked
from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.output import duration, json_option, print_json, safe, table
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.scoreboard import ModelResult
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.history import PastBenchmark, model_trend, past_benchmarks

_BARS = "▁▂▃▄▅▆▇█"
_OF_OTHERS = "rows of another program are shown as it stored them; no decision rests on them"
_MODEL_COLUMNS = ("standing", "correct", "latency", "median", "valid calls", "rank", "digest")


@click.command()
@click.option("--task", required=True, shell_complete=task_names, help="The task.")
@click.option("--model", help="Show the results of this model instead of the champions.")
@click.option("--benchmark", "benchmark_id", metavar="ID", help="Show the results of this benchmark instead.")
@json_option
def history(task: str, model: str | None, benchmark_id: str | None, as_json: bool) -> int:
    """Show a task's champions over time.

    With --model, the results of one model over time; with --benchmark, all results of one benchmark. Champions that
    another program stored in benchmark_history are shown with the others.
    Exit status: 0 found, 1 the task was never benchmarked.
    """
    with open_workbench(load_settings()) as bench:
        found = _found(bench.database, task, model, benchmark_id)
        if not found:
            read_task(bench.settings, task)  # a misspelt task is invalid input, not a task without history
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"there are no results for {safe(model or task)} yet; `bench run --task {task}` measures it")
    else:
        click.echo(_one_benchmark(found) if benchmark_id else _text(found))
    return 0 if found else 1


def _found(
    database: Database, task: str, model: str | None, benchmark_id: str | None
) -> Sequence[PastBenchmark | ModelResult]:
    if benchmark_id is not None:
        ranked = read_ranked(database, benchmark_id)
        if ranked.benchmark.task_type != task:
            raise InputError(f"benchmark {benchmark_id} belongs to {ranked.benchmark.task_type}, not to {task}")
        return [result for result in ranked.scoreboard.results if model in (None, result.model)]
    with database.engine.connect() as connection:
        return model_trend(connection, task, model) if model else past_benchmarks(connection, task)


def _one_benchmark(found: Sequence[PastBenchmark | ModelResult]) -> str:
    results = [line for line in found if isinstance(line, ModelResult)]
    return table(("model", *_MODEL_COLUMNS), [(result.model, *_model_row(result)) for result in results])


def _text(found: Sequence[PastBenchmark | ModelResult]) -> str:
    champions = [line for line in found if isinstance(line, PastBenchmark)]
    if champions:
        rows = [_champion_row(line, before) for line, before in zip(champions, [None, *champions], strict=False)]
        header = ("date (UTC)", "champion", "latency", "", "runner-up", "qualified", "benchmark")
        trend = _trend([line.champion_latency_ms for line in champions])
        shown = f"{table(header, rows)}\n\nchampion's latency, oldest first (n={len(champions)}): {trend}"
        return shown if all(line.measured_here for line in champions) else f"{shown}\n{_OF_OTHERS}"
    results = [line for line in found if isinstance(line, ModelResult)]
    trend = _trend([result.avg_latency_ms for result in results])
    rows = [_model_row(result) for result in results]
    return f"{table(_MODEL_COLUMNS, rows)}\n\nlatency, oldest first (n={len(results)}): {trend}"


def _model_row(result: ModelResult) -> tuple[object, ...]:
    return (
        result.standing.value,
        f"{result.cases_correct}/{result.cases}",
        duration(result.avg_latency_ms),
        duration(result.median_ms),
        f"n={result.valid_calls} of {result.calls}",
        result.rank or "–",
        (result.digest or "–")[:12],
    )


def _champion_row(line: PastBenchmark, before: PastBenchmark | None) -> tuple[object, ...]:
    change = "" if before is None or before.champion == line.champion else "changed"
    return (
        f"{line.date:%Y-%m-%d %H:%M}",
        line.champion or "none",
        duration(line.champion_latency_ms),
        change,
        line.runner_up or "none",
        f"{line.qualified}/{line.models}",
        line.benchmark_id or "another program's",
    )


def _trend(values_ms: Sequence[float | None]) -> str:
    """Return one bar per value, scaled to the largest, and a gap for a missing value."""
    largest = max((value for value in values_ms if value is not None), default=0)
    if not largest:
        return "–"
    bars = [" " if value is None else _BARS[round(value / largest * (len(_BARS) - 1))] for value in values_ms]
    return f"{''.join(bars)}  (highest bar {duration(largest)})"
