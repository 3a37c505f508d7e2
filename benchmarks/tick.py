"""`python -m benchmarks.tick`: how long a tick of the sensor `triggers` takes with a large team's actors.

It does what the sensor does, in one process: 500 actors of which 200 are installed, one measured, the others new. Then
the server answers no more: it takes connections and says nothing.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from bench_pipeline.assets.workbench_resource import WorkbenchResource, workbench_resource
from bench_pipeline.automation.sensors import DESCRIBING_LIMIT_S
from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.operation.rounds import measuring_round
from bench_pipeline.operation.runs import SeenRun
from bench_pipeline.settings import Settings
from benchmarks.programs import BENCH, timed
from benchmarks.workload import Scenario, stub, write_production, write_task

ACTORS, INSTALLED, TICKS = 500, 200, 5
MOST_S, MOST_WITH_A_DEAD_SERVER_S = 2.0, 10.0


class _NoRuns:
    """Dagster's runs while every requested one is still to be created."""

    def of_claim(self, trigger_id: int, claim: int) -> SeenRun | None:  # noqa: ARG002
        return None

    def active(self, run_id: str) -> bool:  # noqa: ARG002
        return False


def main() -> None:
    """Measure and print; the exit status is 1 if a tick takes longer than it may."""
    everyone, installed = Scenario(ACTORS, 10, 0, rounds=1), Scenario(INSTALLED, 10, 0, rounds=1)
    with tempfile.TemporaryDirectory() as name, stub(installed) as server, socket.socket() as silent:
        folder = Path(name)
        write_task(folder, installed.cases)
        url = f"sqlite:///{folder / 'bench.db'}"
        write_production(url, everyone.model_names)
        environment = {"OLLAMA_HOST": server.url, "BENCH_DATABASE_URL": url}
        timed([BENCH, "run", "--task", "grading", "--models", installed.model_names[0]], folder, environment)
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        dead = f"http://127.0.0.1:{silent.getsockname()[1]}"
        slowest = max(_tick(_workbench(url, folder, server.url), f"tick {n + 1}") for n in range(TICKS))
        with_dead = _tick(_workbench(url, folder, dead), "with a dead server")
    sys.exit(int(slowest > MOST_S or with_dead > MOST_WITH_A_DEAD_SERVER_S))


def _workbench(url: str, folder: Path, host: str) -> WorkbenchResource:
    """Return what a code server has after its start, which remembers nothing yet: the slowest case."""
    return workbench_resource(
        Settings(database_url=SecretStr(url), ollama_host=host, testcases_dir=folder / "testcases")
    )


def _tick(workbench: WorkbenchResource, name: str) -> float:
    begun = time.perf_counter()
    with workbench.look() as bench:
        roster = candidates(bench, limit_s=DESCRIBING_LIMIT_S)
        found = measuring_round(bench, ["grading"], roster, _NoRuns(), datetime.now(UTC))
    seconds = time.perf_counter() - begun
    print(f"{name}: {seconds:.2f} s, {len(found.claimed)} runs; {found.lines[0][:100]}", flush=True)
    return seconds


if __name__ == "__main__":
    main()
