"""`bench run`."""

from __future__ import annotations

from pathlib import Path

import click

from bench_pipeline.benchmark.eligibility import candidates, named_candidates
from bench_pipeline.benchmark.field import Field, field_of, fresh_enough
from bench_pipeline.benchmark.preparation import PreparedTask, prepare
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark
from bench_pipeline.benchmark.runner import RunTerms, run_benchmark
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.cli.live_tree import LiveTree, summary
from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.protocol import RunPolicy
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.reporting.files import write_if_changed, write_new
from bench_pipeline.reporting.report import render_report, render_report_json, report_path
from bench_pipeline.settings import load_settings


@click.command()
@click.option("--task", required=True, help="A folder of testcases/: grading, extraction, formatting or your own.")
@click.option(
    "--test-cases",
    "suite_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A suite.json to use instead of the task's own.",
)
@click.option("--models", help="Names, by commas: actors, or models of the Ollama server. Default: all eligible.")
@click.option(
    "--models-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with one name a line; # begins a comment.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1000),
    help="Cases a batch; progress is told by batches.  [default: BENCH_BATCH_SIZE, 5]",
)
@click.option("--repeats", type=click.IntRange(1, 100), help="Passes over the suite.  [default: BENCH_REPEATS, 1]")
@click.option(
    "--policy",
    type=click.Choice(["full", "race"]),
    help="full: every model makes all calls. race: a model stops when its place is decided.  "
    "[default: BENCH_POLICY, full]",
)
@click.option("--reuse", is_flag=True, help="Do not measure again what was measured under the same evidence.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the report to this file as well."
)
@click.option("--fresh", is_flag=True, help="Start anew instead of going on with an interrupted benchmark.")
@json_option
def run(
    task: str,
    suite_file: Path | None,
    models: str | None,
    models_file: Path | None,
    batch_size: int | None,
    repeats: int | None,
    policy: RunPolicy | None,
    reuse: bool,
    output: Path | None,
    fresh: bool,
    as_json: bool,
) -> int:
    """Measure models on a task, rank them and write the report.

    Every eligible actor is run through all test cases, one model after another. Models that are correct in
    every case are ranked by latency. The models that production uses for the task are always measured with
    them, and the fastest challenger meets them in a final. Production is not touched: `bench plan` shows what
    would change.

    \b
    Examples:
      bench run --task grading
      bench run --task grading --models qwen2.5:7b,llama3.2:3b --repeats 3
      bench run --task grading --policy race --repeats 3
      bench run --task grading --models-file models.txt --output report.md

    An interrupted run goes on where it stopped when you type the same command again.
    Exit status: 0 a champion was found, 1 no model qualified, 2 something given is wrong.
    """
    names = _names(models, models_file)
    with open_workbench(load_settings()) as bench:
        prepared = prepare(bench, task, suite_file)
        prepared = prepared.with_terms(batch_size=batch_size, repeats=repeats, policy=policy)
        field = field_of(bench, _candidates(bench, names), prepared)
        ranked = _measured(bench, prepared, field, reuse, fresh, LiveTree(err=as_json))
        _report(bench, ranked, output, as_json)
    return 0 if ranked.scoreboard.champion else 1


def _names(models: str | None, models_file: Path | None) -> list[str] | None:
    if models is not None and models_file is not None:
        raise click.UsageError("give either --models or --models-file")
    if models_file is not None:
        try:
            lines = models_file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{models_file}: cannot be read as UTF-8 text; write one name a line") from None
        names = [name for line in lines if (name := line.partition("#")[0].strip())]
    elif models is not None:
        names = [name for part in models.split(",") if (name := part.strip())]
    else:
        return None
    if not names:
        raise InputError(f"{models_file or '--models'}: names no model; write one name a line, or a,b,c")
    return names


def _measured(
    bench: Workbench, prepared: PreparedTask, field: Field, reuse: bool, fresh: bool, tree: LiveTree
) -> RankedBenchmark:
    days = bench.settings.evidence_days if reuse else 0.0
    reused = fresh_enough(bench.database, prepared, field, days)
    running = field.without(reused)
    if reused and not any(candidate.eligible for candidate in running.candidates):
        # Of the same evidence: the task's latest benchmark may have been made under other terms.
        benchmark_id = max(reused.values(), key=lambda run: run.model_run_id).benchmark_id
    else:
        benchmark_id = run_benchmark(
            bench, prepared, running, tree, RunTerms(resume_hours=0.0 if fresh else bench.settings.resume_hours)
        )
    return rank_benchmark(bench.database, benchmark_id, field.candidates if reuse else (), days)


def _candidates(bench: Workbench, names: list[str] | None) -> list[Candidate]:
    if names is not None:
        return named_candidates(bench, names)
    if bench.application is None:
        raise InputError(
            f"{bench.database.name} has no table of actors; name models with --models, "
            "set BENCH_DATABASE_URL to your production database, or run `bench demo`"
        )
    return candidates(bench)


def _report(bench: Workbench, ranked: RankedBenchmark, output: Path | None, as_json: bool) -> None:
    text = render_report(ranked)
    path = write_new(report_path(bench.settings.reports_dir, ranked), text)
    if output is not None:
        write_if_changed(output, text)
    if as_json:
        print_json(render_report_json(ranked) | {"report": str(output or path)})
    else:
        click.echo("\n".join([*summary(ranked), "", f"📄 Report: {output or path}"]))
