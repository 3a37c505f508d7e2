"""The programs that are compared, each as a process of its own against a stub of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stub import Stub
from benchmarks.workload import Scenario, prompts, stub, write_production, write_task

ROOT = Path(__file__).resolve().parent.parent
BENCH = str(Path(sys.executable).with_name("bench"))


@dataclass(frozen=True)
class Measured:
    """One run: seconds, megabytes, the share of the wall time in which the stub was busy, loads of a model.

    `latency_error_ms` is the median latency that the program reports less the one that the stub knows.
    """

    wall_s: float
    peak_mb: float
    busy_share: float
    loads: int
    latency_error_ms: float | None = None


def plain_loop(scenario: Scenario, folder: Path) -> Measured:
    """The loop that anybody would write."""
    work = {"models": scenario.model_names, "prompts": prompts(scenario.cases)}
    (folder / "work.json").write_text(json.dumps(work), encoding="utf-8")
    with stub(scenario) as server:
        command = [sys.executable, str(ROOT / "benchmarks" / "plain_loop.py"), server.url, "work.json"]
        return _measured(server, *timed(command, folder, {}))


def bench_run(scenario: Scenario, folder: Path) -> Measured:
    """`bench run` without a production database."""
    write_task(folder, scenario.cases)
    (folder / "models.txt").write_text("\n".join(scenario.model_names), encoding="utf-8")
    with stub(scenario) as server:
        command = [BENCH, "run", "--task", "grading", "--models-file", "models.txt", "--json"]
        wall_s, peak_mb = timed(command, folder, {"OLLAMA_HOST": server.url})
        return _measured(server, wall_s, peak_mb, folder / ".bench" / "bench.db")


def dagster_run(scenario: Scenario, folder: Path) -> Measured:
    """The assets of the main job up to the scoreboard, in one process.

    Without a final, which would add the incumbent's calls to those of the loop. The instance exists, as it does when a
    run is launched; its first opening, half a second, is not counted.
    """
    write_task(folder, scenario.cases)
    database = folder / "bench.db"
    write_production(f"sqlite:///{database}", scenario.model_names)
    with stub(scenario) as server:
        settings = {
            "OLLAMA_HOST": server.url,
            "BENCH_DATABASE_URL": f"sqlite:///{database}",
            "BENCH_FINAL_PASSES": "0",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "benchmarks.dagster_run"]
        timed([*command, "--prepare"], folder, settings)
        wall_s, peak_mb = timed(command, folder, settings)
        return _measured(server, wall_s, peak_mb, database)


PROGRAMS: Mapping[str, Callable[[Scenario, Path], Measured]] = {
    "plain loop": plain_loop,
    "bench run": bench_run,
    "dagster": dagster_run,
}


def timed(
    command: Sequence[str], folder: Path, settings: Mapping[str, str], statuses: Sequence[int] = (0,)
) -> tuple[float, float]:
    """Return the wall time of a whole process (s) and its peak memory (MB); it must end with one of `statuses`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_", "DAGSTER_"))}
    with (folder / "output.log").open("w") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env={**kept, **settings}, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) not in statuses:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'output.log').read_text()}")
    return wall_s, usage.ru_maxrss / 1024


def _measured(server: Stub, wall_s: float, peak_mb: float, database: Path | None = None) -> Measured:
    error_ms = _reported_ms(database) - server.service_ms if database else None
    return Measured(wall_s, peak_mb, server.busy_s / wall_s, server.loads, error_ms)


def _reported_ms(database: Path) -> float:
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT latency_ns FROM benchmark_samples WHERE latency_ns IS NOT NULL").fetchall()
    latencies_ms: list[float] = [latency_ns / 1e6 for (latency_ns,) in rows]
    return statistics.median(latencies_ms)
