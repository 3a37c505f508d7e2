"""`bench run`: options, progress and result. The measurement itself is in benchmark/measurement.py."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

import click

from bench_pipeline.benchmark.events import Event
from bench_pipeline.benchmark.measurement import MeasurementRequest, measure
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.live_tree import LiveTree, summary
from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.cli.run_outputs import RunOutputs, Wanted, change_facts, change_lines, output_options
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.protocol import Strategy
from bench_pipeline.operation.quiet_hours import must_wait
from bench_pipeline.reporting.files import write_if_changed, write_new
from bench_pipeline.reporting.report import render_report, render_report_json, report_path
from bench_pipeline.settings import load_settings

_NO_LIMIT_S = 10**9


class _Given(Wanted):
    """The options that determine what is measured, how, and what is written for a CI server."""

    task: str
    suite_file: Path | None
    models: str | None
    models_file: Path | None
    batch_size: int | None
    repeats: int | None
    strategy: Strategy | None
    among_all: bool
    reuse: bool


@click.command()
@click.option("--task", required=True, shell_complete=task_names, help="A directory below testcases/, such as grading.")
@click.option(
    "--test-cases",
    "suite_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A suite.json to use instead of the task's own.",
)
@click.option(
    "--models",
    help="Comma-separated names of actors or of models of the Ollama server; 'ollama:*' stands for all of its models.  "
    "[default: all eligible]",
)
@click.option(
    "--models-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with one name per line; # starts a comment.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1000),
    help="Cases per batch.  [default: BENCH_BATCH_SIZE, 5]",
)
@click.option("--repeats", type=click.IntRange(1, 100), help="Passes over the suite.  [default: BENCH_REPEATS, 1]")
@click.option(
    "--strategy",
    type=click.Choice(["full", "race"]),
    help="full: every model makes all calls. race: a model stops when its place is decided.  "
    "[default: BENCH_STRATEGY, full]",
)
@click.option("--among-all", is_flag=True, help="Also rank all other eligible actors, by their earlier runs.")
@click.option("--reuse", is_flag=True, help="Reuse earlier runs under the same evidence instead of repeating them.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write the report to this file.")
@click.option("--fresh", is_flag=True, help="Start a new benchmark instead of continuing an interrupted one.")
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(min=0),
    is_flag=False,
    flag_value=_NO_LIMIT_S,
    default=0,
    metavar="[SECONDS]",
    help="Wait while another benchmark uses one of the servers, for SECONDS or until it ends.  [default: refuse]",
)
@output_options
@json_option
def run(as_json: bool, output: Path | None, fresh: bool, wait_s: int, **given: Unpack[_Given]) -> int:
    """Measure models on a task, rank them and write the report.

    Every eligible actor runs through all test cases, one model after another. Models that are correct in every
    case are ranked by latency. The models that production uses for the task are always measured too, and the
    fastest challenger meets them in a final. Production does not change; `bench plan` shows what would change.

    \b
    Examples:
      bench run --task grading
      bench run --task grading --models qwen2.5:7b,llama3.2:3b --repeats 3
      bench run --task grading --models 'ollama:*'
      bench run --task grading --models qwen2.5:7b --among-all
      bench run --task grading --strategy race --repeats 3
      bench run --task grading --models-file models.txt --output report.md
      bench run --task grading --wait 3600
      bench run --task grading --repeats 3 --fail-on regression --junit out.xml --comment comment.md

    Run the same command again to continue an interrupted run. In CI, use a database of its own: docs/how-to/ci.md.
    Exit status: 0 done, 1 what --fail-on names was found, by default that no model qualified, 2 invalid input.
    """
    request = _request(given, fresh)
    outputs = RunOutputs(request.task, given)
    tree = LiveTree(err=as_json)

    def heard(event: Event) -> None:
        outputs(event)
        tree(event)

    with outputs.also_of_a_failure(), open_workbench(load_settings(), wait_s) as bench:
        prepare(bench, request.task, request.suite_file)  # a faulty task is refused before a server is asked
        if why := must_wait(bench, datetime.now(UTC)):
            click.echo(f"⏳ {why}; this benchmark starts all the same, and may slow production down", err=True)
        before = outputs.baseline(bench)
        ranked = measure(bench, request, heard)
        change = outputs.compared(bench, ranked, before)
        path = _write_report(bench, ranked, output)
    if as_json:
        facts = {"report": str(path), "compared": None if change is None else change_facts(change)}
        print_json(render_report_json(ranked) | facts)
    else:
        compared = change_lines(change) if change is not None else []
        click.echo("\n".join([*summary(ranked), *compared, "", f"📄 Report: {path}"]))
    return outputs.status(ranked, change)


def _request(given: _Given, fresh: bool) -> MeasurementRequest:
    names = _names(given["models"], given["models_file"])
    if given["among_all"] and names is None:
        raise click.UsageError("--among-all needs --models or --models-file")
    return MeasurementRequest(
        task=given["task"],
        models=names,
        among_all=given["among_all"],
        suite_file=given["suite_file"],
        terms={
            "batch_size": given["batch_size"],
            "repeats": given["repeats"],
            "strategy": given["strategy"],
        },
        reuse=given["reuse"],
        resume=not fresh,
    )


def _names(models: str | None, models_file: Path | None) -> list[str] | None:
    if models is not None and models_file is not None:
        raise click.UsageError("give either --models or --models-file")
    if models_file is not None:
        try:
            lines = models_file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{models_file}: cannot be read as UTF-8 text; write one name per line") from None
        names = [name for line in lines if (name := line.partition("#")[0].strip())]
    elif models is not None:
        names = [name for part in models.split(",") if (name := part.strip())]
    else:
        return None
    if not names:
        raise InputError(f"{models_file or '--models'}: contains no model names; write one name per line, or a,b,c")
    return names


def _write_report(bench: Workbench, ranked: RankedBenchmark, output: Path | None) -> Path:
    text = render_report(ranked)
    path = write_new(report_path(bench.settings.reports_dir, ranked), text)
    if output is not None:
        write_if_changed(output, text)
    return output or path
