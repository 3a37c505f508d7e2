"""`bench why`: prints a model's ledger. Codes and reasons come from storage/ledger.py."""

from __future__ import annotations

import click

from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.output import json_option, print_json, safe, table
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.ledger import LedgerEntry, model_ledger


@click.command()
@click.argument("model")
@click.option("--task", shell_complete=task_names, help="Only the benchmarks of this task.")
@json_option
def why(model: str, task: str | None, as_json: bool) -> int:
    """Show the outcome of a model in every benchmark, newest first.

    MODEL is the name of an actor, an execution path, or the model's name on its runtime.

    \b
    Examples:
      bench why qwen2.5:7b
      bench why qwen2.5:7b --task grading

    Exit status: 0 found, 1 no benchmark considered it.
    """
    with open_workbench(load_settings()) as bench:
        with bench.database.engine.connect() as connection:
            found = model_ledger(connection, model, task)
        if not found and task is not None:
            read_task(bench.settings, task)  # a misspelt task is invalid input, not a task without benchmarks
    if as_json:
        print_json(found)
    elif found:
        click.echo(table(("date (UTC)", "task", "benchmark", "model", "code", "reason"), [_row(e) for e in found]))
    else:
        of = f" of {task}" if task else ""
        click.echo(f"no benchmark{safe(of)} considered {safe(model)}; `bench models` lists the actors")
    return 0 if found else 1


def _row(entry: LedgerEntry) -> tuple[object, ...]:
    date = f"{entry.date:%Y-%m-%d %H:%M}"
    return date, entry.task, entry.benchmark_id, entry.model or "–", entry.code, entry.reason
