"""What `bench run` writes for a CI server, and its exit status: `--junit`, `--comment`, `--against`, `--fail-on`.

The formats are in reporting/, what counts as a regression in domain/measuring/regression.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypedDict

import click

from bench_pipeline.benchmark.baseline import CHAMPION, Baseline, baseline, change_since
from bench_pipeline.benchmark.events import Event, SampleTaken
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.cli.output import safe
from bench_pipeline.domain.errors import BenchError, InputError
from bench_pipeline.domain.measuring.regression import BenchmarkChange, LatencyChange
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.reporting.files import write_if_changed
from bench_pipeline.reporting.junit import junit_of, junit_of_failure
from bench_pipeline.reporting.pull_request_comment import comment_of, comment_of_failure

FailOn = Literal["no-champion", "not-qualified", "regression", "none"]


class Wanted(TypedDict):
    """The options of this module."""

    junit: Path | None
    comment: Path | None
    against: str | None
    fail_on: FailOn


_OPTIONS = (
    click.option(
        "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a test per model and case as JUnit XML."
    ),
    click.option(
        "--comment",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write what changed, case by case, as a Markdown comment on a pull request.",
    ),
    click.option(
        "--against",
        metavar="champion|ID",
        help="Compare with this earlier benchmark; 'champion' stands for the one that the champion rests on.  "
        "[default: champion, if --comment or --fail-on regression is given]",
    ),
    click.option(
        "--fail-on",
        type=click.Choice(["no-champion", "not-qualified", "regression", "none"]),
        default="no-champion",
        show_default=True,
        help="What ends with exit status 1.",
    ),
)


def output_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of this module to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class RunOutputs:
    """The files and the exit status of one benchmark. Hears its events, so that a run that fails is written too."""

    def __init__(self, task: str, wanted: Wanted) -> None:
        self._task = task
        self._wanted = wanted
        self._samples: dict[str, list[Sample]] = defaultdict(list)

    def __call__(self, event: Event) -> None:
        """Note a call."""
        if isinstance(event, SampleTaken):
            self._samples[event.model].append(event.sample)

    @contextmanager
    def also_of_a_failure(self) -> Iterator[None]:
        """Write the files with the reason if what is done here fails."""
        try:
            yield
        except BaseException as error:
            why = _reason(error)
            with suppress(InputError):  # what failed first is what counts
                self._write(junit_of_failure(self._task, why, self._samples), comment_of_failure(self._task, why))
            raise

    def baseline(self, bench: Workbench) -> Baseline | None:
        """Return what is compared with; None if nothing is. Raises `InputError` before anything is measured."""
        wanted = self._wanted
        implied = wanted["comment"] is not None or wanted["fail_on"] == "regression"
        against = wanted["against"] or (CHAMPION if implied else None)
        return None if against is None else baseline(bench, self._task, against)

    def compared(self, bench: Workbench, ranked: RankedBenchmark, before: Baseline | None) -> BenchmarkChange | None:
        """Write the files and return the comparison."""
        change = None if before is None else change_since(before, ranked, bench.settings.min_gain)
        self._write(junit_of(ranked, change), comment_of(ranked, change) if change else None)
        return change

    def status(self, ranked: RankedBenchmark, change: BenchmarkChange | None) -> int:
        """Return 1 if the benchmark shows what `--fail-on` names, else 0."""
        board = ranked.scoreboard
        shown = {
            "no-champion": board.champion is None,
            "not-qualified": not board.results or len(board.ranked) < len(board.results),
            "regression": change is not None and bool(change.regressions),
            "none": False,
        }
        return int(shown[self._wanted["fail_on"]])

    def _write(self, junit: str, comment: str | None) -> None:
        if self._wanted["junit"] is not None:
            write_if_changed(self._wanted["junit"], junit)
        if self._wanted["comment"] is not None and comment is not None:
            write_if_changed(self._wanted["comment"], comment)


def change_lines(change: BenchmarkChange) -> list[str]:
    """Return the comparison as lines for the terminal."""
    lines = ["", f"🔁 Compared with {change.before_id}:"]
    lines += [f"   ❌ {safe(f'{one.model}: ' if one.model else '')}{safe(one.why)}" for one in change.regressions]
    return lines if change.regressions else [*lines, "   ✅ no regression"]


def change_facts(change: BenchmarkChange) -> dict[str, Any]:
    """Return the comparison as a JSON-safe value; latencies in ms."""
    return {
        "benchmark_id": change.before_id,
        "champion": change.champion,
        "regressions": [{"kind": one.kind, "model": one.model, "why": one.why} for one in change.regressions],
        "added_cases": change.added_cases,
        "removed_cases": change.removed_cases,
        "models": [
            {
                "model": one.model,
                "standing_before": one.before.standing if one.before else None,
                "standing": one.now.standing if one.now else None,
                "latency": None if one.latency is None else _latency_facts(one.latency),
                "cases": [
                    {
                        "case_id": case.case_id,
                        "change": case.kind,
                        "reason": case.failure.reason if case.failure else "",
                    }
                    for case in one.cases
                ],
            }
            for one in change.models
        ],
    }


def _latency_facts(found: LatencyChange) -> dict[str, Any]:
    compared = found.comparison
    return {
        "before_ms": found.before_ms,
        "now_ms": found.now_ms,
        "ratio": compared.ratio if compared else None,
        "low": compared.low if compared else None,
        "high": compared.high if compared else None,
        "level": compared.level if compared else None,
        "n": compared.n if compared else 0,
        "unit": compared.unit if compared else None,
        "unjudged": found.unjudged,
    }


def _reason(error: BaseException) -> str:
    match error:
        case BenchError():
            return str(error)
        case click.ClickException():
            return error.format_message()
        case KeyboardInterrupt() | click.Abort():
            return "interrupted"
    return f"{type(error).__name__}; the output of `bench run` says more"  # its message may hold a secret
