"""`bench triggers` and `bench retry`: what waits for a run and why, and taking it up again."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.task_folders import task_names as known_tasks
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.output import json_option, print_json, safe, table
from bench_pipeline.domain.triggers.attempts import MAX_ATTEMPTS
from bench_pipeline.domain.triggers.trigger import Trigger, TriggerState
from bench_pipeline.operation import triggers as front
from bench_pipeline.operation.trigger_texts import state_of
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.triggers import triggers_of

_UNSETTLED = (TriggerState.WAITING, TriggerState.LAUNCHED, TriggerState.GIVEN_UP, TriggerState.OPEN)


@click.command()
@click.option("--task", shell_complete=task_names, help="Only the triggers of this task.")
@click.option("--all", "with_ended", is_flag=True, help="Also those that are done or withdrawn.")
@json_option
def triggers(task: str | None, with_ended: bool, as_json: bool) -> int:
    """Show what waits for a run, why, how often it failed, and when it is tried again.

    \b
    Examples:
      bench triggers
      bench triggers --task grading --all

    Exit status: 0 listed, 1 something was given up.
    """
    with open_workbench(load_settings()) as bench:
        if task is not None:
            read_task(bench.settings, task)
        with bench.database.engine.connect() as connection:
            states = None if with_ended else _UNSETTLED
            found = triggers_of(connection, [task] if task is not None else None, states)
    if as_json:
        print_json(found)
    elif found:
        now = datetime.now(UTC)
        click.echo(table(("task", "cause", "about", "attempts", "state"), [_row(one, now) for one in found]))
    else:
        click.echo("nothing waits")
    return 1 if any(one.state is TriggerState.GIVEN_UP for one in found) else 0


@click.command()
@click.argument("task", required=False, shell_complete=task_names)
@click.option("--subject", metavar="MODEL", help="Only what is about this model, benchmark or plan.")
@json_option
def retry(task: str | None, subject: str | None, as_json: bool) -> int:
    """Take up again what was given up, and try now what waits for a later moment.

    Without TASK it is done for every task. A trigger that is taken up again has all its attempts again.

    \b
    Examples:
      bench retry
      bench retry grading --subject qwen2.5:7b

    Exit status: 0 taken up, 1 nothing waited.
    """
    settings = load_settings()
    if task is not None:
        read_task(settings, task)
    tasks = [task] if task is not None else known_tasks(settings)
    with open_workbench(settings) as bench:
        changed = front.retry(bench, tasks, subject, datetime.now(UTC))
    if as_json:
        print_json(changed)
    elif changed:
        click.echo("\n".join(f"{one.task}: {safe(one.about)} ({one.cause.value}) is due now" for one in changed))
    else:
        click.echo("nothing waits and nothing was given up; `bench triggers --all` lists every trigger")
    return 0 if changed else 1


def _row(one: Trigger, now: datetime) -> tuple[object, ...]:
    return one.task, one.cause.value, one.about, f"{one.attempts} of {MAX_ATTEMPTS}", state_of(one, now)
