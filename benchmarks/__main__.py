"""`make bench`: what this program costs beside a plain loop over the same models and prompts.

Every scenario is measured in interleaved rounds: each round runs every program once, and begins with another one.
A row holds medians and is printed as soon as its scenario is done; what is being measured is told on stderr.

The whole takes between five and six minutes on two idle cores. The rounds are spent where they are needed: at 0 ms
the wall time is the program's own work, which varies from run to run. At 300 ms a round takes more than three
minutes, nearly all of it the stub's sleep; what the program adds varies by tenths of a second, which hardly moves the
ratio, so one round has to do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.programs import BENCH, PROGRAMS, Measured, timed
from benchmarks.workload import Scenario

SCENARIOS = (
    Scenario(20, 10, 0, rounds=3),
    Scenario(200, 10, 0, rounds=3),
    Scenario(20, 200, 0, rounds=3),
    Scenario(20, 10, 50, rounds=2),
    Scenario(20, 10, 300, rounds=1, through_dagster=True),
)
HELP_ROUNDS = 5
MOST_THROUGH_DAGSTER = 1.15
"""The most wall time of a run through Dagster, as a multiple of the plain loop's, at 300 ms a call."""


def main() -> None:
    """Measure and print; the exit status is 1 if the run through Dagster takes longer than it may."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="rounds of every scenario (default: its own number)")
    parser.add_argument("--dagster", action="store_true", help="measure only the scenario that runs through Dagster")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if scenario.through_dagster or not arguments.dagster]
    scenarios = [replace(scenario, rounds=arguments.rounds or scenario.rounds) for scenario in chosen]
    rows = [_help(), *(_compare(scenario) for scenario in scenarios)]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    sys.exit(_too_long(rows[-1]))


def _too_long(row: Mapping[str, Any]) -> int:
    medians = row["medians"]
    ratio = medians["dagster"]["wall_s"] / medians["plain loop"]["wall_s"]
    print(f"{row['scenario']} through Dagster: {ratio:.3f} x loop, at most {MOST_THROUGH_DAGSTER}", flush=True)
    return int(ratio > MOST_THROUGH_DAGSTER)


def _help() -> dict[str, object]:
    _tell("bench --help")
    with tempfile.TemporaryDirectory() as folder:
        wall_s = statistics.median(timed([BENCH, "--help"], Path(folder), {})[0] for _ in range(HELP_ROUNDS))
    print(f"bench --help: {wall_s:.2f} s (n={HELP_ROUNDS})", flush=True)
    return {"scenario": "bench --help", "rounds": HELP_ROUNDS, "wall_s": wall_s}


def _compare(scenario: Scenario) -> dict[str, object]:
    names = [name for name in PROGRAMS if name != "dagster" or scenario.through_dagster]
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(scenario.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            _tell(f"{scenario.name}, round {number + 1} of {scenario.rounds}: {name}")
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(PROGRAMS[name](scenario, Path(folder)))
    medians = {name: _median(runs) for name, runs in found.items()}
    print(f"{scenario.name} (n={scenario.rounds})")
    for name, median in medians.items():
        print(f"  {name:<10} {_line(median, medians['plain loop'].wall_s)}", flush=True)
    figures = {name: asdict(median) for name, median in medians.items()}
    return {"scenario": scenario.name, "rounds": scenario.rounds, "medians": figures}


def _tell(what: str) -> None:
    print(f"measuring {what}", file=sys.stderr, flush=True)


def _line(median: Measured, loop_s: float) -> str:
    error = "" if median.latency_error_ms is None else f", latency {median.latency_error_ms:+.2f} ms"
    return (
        f"{median.wall_s:7.2f} s = {median.wall_s / loop_s:.2f} x loop, busy {median.busy_share:6.1%}, "
        f"{median.peak_mb:4.0f} MB, {median.loads} loads{error}"
    )


def _median(runs: Sequence[Measured]) -> Measured:
    errors = [run.latency_error_ms for run in runs if run.latency_error_ms is not None]
    return Measured(
        statistics.median(run.wall_s for run in runs),
        statistics.median(run.peak_mb for run in runs),
        statistics.median(run.busy_share for run in runs),
        max(run.loads for run in runs),
        statistics.median(errors) if errors else None,
    )


if __name__ == "__main__":
    main()
