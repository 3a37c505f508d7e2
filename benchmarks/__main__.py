"""`make bench`: the program beside a plain loop, interleaved, medians; a table and the bars it should clear."""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.field import Scenario, busy_s, loads, service_ms, stub, write_suite, write_world

ROOT = Path(__file__).resolve().parent.parent
BENCH = str(Path(sys.executable).with_name("bench"))
SCENARIOS = (
    Scenario(20, 10, 0),
    Scenario(20, 10, 50),
    Scenario(20, 10, 300),
    Scenario(200, 10, 0),
    Scenario(20, 200, 0),
)
THROUGH_DAGSTER = Scenario(20, 10, 300)


@dataclass(frozen=True)
class Measured:
    """One run of one program: seconds, megabytes, share of the wall time in which the stub was busy."""

    wall_s: float
    peak_mb: float
    busy_share: float
    loads: int
    latency_error_ms: float | None = None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rows = [_compare(scenario, arguments.rounds) for scenario in SCENARIOS]
    rows.append(_help(arguments.rounds))
    for row in rows:
        print(row["text"], flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


def _compare(scenario: Scenario, rounds: int) -> dict[str, object]:
    programs = {"plain loop": _plain_loop, "bench run": _bench_run}
    if scenario == THROUGH_DAGSTER:
        programs["dagster"] = _dagster
    found: dict[str, list[Measured]] = {name: [] for name in programs}
    for number in range(rounds):
        order = list(programs.items())
        for name, program in order[number % len(order) :] + order[: number % len(order)]:
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(program(scenario, Path(folder)))
    medians = {name: _median(runs) for name, runs in found.items()}
    loop = medians["plain loop"].wall_s
    lines = [f"{scenario.name} (n={rounds} rounds, medians)"]
    for name, median in medians.items():
        error = "" if median.latency_error_ms is None else f", latency {median.latency_error_ms:+.2f} ms"
        lines.append(
            f"  {name:<10} {median.wall_s:7.2f} s = {median.wall_s / loop:.2f} x loop, busy {median.busy_share:6.1%}, "
            f"{median.peak_mb:4.0f} MB, {median.loads} loads{error}"
        )
    return {
        "scenario": scenario.name,
        "medians": {name: vars(median) for name, median in medians.items()},
        "text": "\n".join(lines),
    }


def _median(runs: Sequence[Measured]) -> Measured:
    errors = [run.latency_error_ms for run in runs if run.latency_error_ms is not None]
    return Measured(
        statistics.median(run.wall_s for run in runs),
        statistics.median(run.peak_mb for run in runs),
        statistics.median(run.busy_share for run in runs),
        max(run.loads for run in runs),
        statistics.median(errors) if errors else None,
    )


def _bench_run(scenario: Scenario, folder: Path) -> Measured:
    write_suite(folder, scenario.cases)
    (folder / "models.txt").write_text("\n".join(scenario.model_names), encoding="utf-8")
    with stub(scenario) as server:
        command = [BENCH, "run", "--task", "grading", "--models-file", "models.txt", "--json"]
        wall_s, peak_mb = _timed(command, folder, {"OLLAMA_HOST": server.url})
        reported = _reported_ms(folder / ".bench" / "bench.db")
        error_ms = reported - service_ms(server.log)
        return Measured(wall_s, peak_mb, busy_s(server.log) / wall_s, loads(server.log), error_ms)


def _plain_loop(scenario: Scenario, folder: Path) -> Measured:
    write_suite(folder, scenario.cases)
    suite = json.loads((folder / "testcases" / "grading" / "suite.json").read_text(encoding="utf-8"))
    prompts = [f"{'Judge the summary. ' * 85}{case['posting']} {case['summary']}" for case in suite["test_cases"]]
    (folder / "work.json").write_text(json.dumps({"models": scenario.model_names, "prompts": prompts}))
    with stub(scenario) as server:
        command = [sys.executable, str(ROOT / "benchmarks" / "plain_loop.py"), server.url, "work.json"]
        wall_s, peak_mb = _timed(command, folder, {})
        return Measured(wall_s, peak_mb, busy_s(server.log) / wall_s, loads(server.log))


def _dagster(scenario: Scenario, folder: Path) -> Measured:
    write_suite(folder, scenario.cases)
    url = f"sqlite:///{folder / 'bench.db'}"
    write_world(url, scenario.model_names)
    with stub(scenario) as server:
        environment = {"OLLAMA_HOST": server.url, "BENCH_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        wall_s, peak_mb = _timed([sys.executable, "-m", "benchmarks.dagster_run"], folder, environment)
        error_ms = _reported_ms(folder / "bench.db") - service_ms(server.log)
        return Measured(wall_s, peak_mb, busy_s(server.log) / wall_s, loads(server.log), error_ms)


def _help(rounds: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        runs = [_timed([BENCH, "--help"], Path(folder), {}) for _ in range(max(rounds, 5))]
    wall_s = statistics.median(wall for wall, _ in runs)
    return {"scenario": "bench --help", "wall_s": wall_s, "text": f"bench --help: {wall_s:.2f} s (n={len(runs)})"}


def _timed(command: Sequence[str], folder: Path, settings: dict[str, str]) -> tuple[float, float]:
    """Return the wall time of a whole process (s) and its peak memory (MB)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_", "DAGSTER_"))}
    with (folder / "output.log").open("w") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=kept | settings, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'output.log').read_text()}")
    return wall_s, usage.ru_maxrss / 1024


def _reported_ms(database: Path) -> float:
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT latency_ns FROM benchmark_samples WHERE latency_ns IS NOT NULL").fetchall()
    return statistics.median(row[0] for row in rows) / 1e6


if __name__ == "__main__":
    main()
