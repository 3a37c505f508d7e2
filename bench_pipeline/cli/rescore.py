"""`bench rescore`: prints what would change. The judging is in benchmark/rescoring.py."""

from __future__ import annotations

import click

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.rescoring import Rejudged, Rescoring, rescore_benchmark, save_rescored
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.live_tree import summary
from bench_pipeline.cli.output import json_option, print_json, table
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.settings import load_settings


@click.command()
@click.option("--task", required=True, shell_complete=task_names, help="The task.")
@click.option("--benchmark", "benchmark_id", help="A benchmark of the task.  [default: its latest]")
@click.option("--save", is_flag=True, help="Store the result as a new benchmark; the old one is kept.")
@json_option
def rescore(task: str, benchmark_id: str | None, save: bool, as_json: bool) -> int:
    """Re-judge stored replies with the current reader; calls no model.

    Shows which samples would be judged differently. The reader is the one that task.yaml names now; the expected
    verdicts are those stored with the benchmark.

    \b
    Examples:
      bench rescore --task grading
      bench rescore --task grading --save

    With --save the result becomes the task's latest benchmark, so only the latest one can be saved.
    Exit status: 0 nothing would change or the result was stored, 1 samples would change.
    """
    with open_workbench(load_settings()) as bench:
        rescoring = rescore_benchmark(bench.database, bench.settings, task, benchmark_id)
        saved = None
        if save and rescoring.is_new_evidence:
            saved = save_rescored(bench.database, rescoring)
    if as_json:
        print_json(_facts(rescoring, saved))
    else:
        click.echo("\n".join(_lines(rescoring, saved, save)))
    return 1 if rescoring.changes and not save else 0


def _facts(rescoring: Rescoring, saved: RankedBenchmark | None) -> dict[str, object]:
    row = rescoring.ranked.benchmark
    return {
        "benchmark_id": row.benchmark_id,
        "reader": rescoring.task.verdict.reader,
        "reader_version": READER_VERSION,
        "stored_reader_version": row.reader_version,
        "samples": len(rescoring.samples),
        "changes": [
            {
                "model": change.model,
                "case_id": change.before.case_id,
                "repeat": change.before.repeat,
                "before": change.before.outcome,
                "after": change.after.outcome,
                "verdict": change.after.verdict,
                "reason": change.after.reason,
            }
            for change in rescoring.changes
        ],
        "new_evidence": rescoring.is_new_evidence,
        "saved": saved.benchmark.benchmark_id if saved else None,
    }


def _lines(rescoring: Rescoring, saved: RankedBenchmark | None, save: bool) -> list[str]:
    row, changes = rescoring.ranked.benchmark, rescoring.changes
    lines = [table(("model", "case", "pass", "outcome", "reason"), [_row(change) for change in changes]), ""]
    readers = f"reader {rescoring.task.verdict.reader}, version {row.reader_version} → {READER_VERSION}"
    counted = f"{len(changes)} of {len(rescoring.samples)} samples"
    lines = [*(lines if changes else []), f"{row.benchmark_id}: {counted} are judged differently ({readers})"]
    if saved:
        return [*lines, f"💾 stored as {saved.benchmark.benchmark_id}", *summary(saved)]
    if save:
        return [*lines, "nothing was stored: reader and verdicts are the same as before"]
    if rescoring.is_new_evidence:
        return [*lines, f"`bench rescore --task {row.task_type} --save` stores this as a new benchmark"]
    return lines


def _row(change: Rejudged) -> tuple[object, ...]:
    before, after = _outcome(change.before), _outcome(change.after)
    return change.model, change.before.case_id, change.before.repeat, f"{before} → {after}", change.after.reason or "–"


def _outcome(sample: Sample) -> str:
    return f"{sample.outcome} {sample.verdict}" if sample.verdict else sample.outcome.value
