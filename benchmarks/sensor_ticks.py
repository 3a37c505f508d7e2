"""`make ticks`: what daemon and code server keep in memory over many sensor ticks, with a large team's actors.

Two real processes: the code server, which evaluates every sensor of the definitions, and the loop of Dagster's daemon,
which asks it to, stores the tick and queues the runs. Only the pause between two ticks is left out, so that days pass
in minutes. One model was benchmarked before, so all others are new: their triggers are found at every tick, and the
first one's run waits in the queue, from which nothing takes it.

The growth is that of the resident memory after the first `SETTLED` ticks, in which caches fill.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import psutil

from bench_pipeline.demo.home import dagster_home, open_instance
from benchmarks.programs import BENCH, ROOT, timed
from benchmarks.workload import Scenario, stub, write_production, write_task

ACTORS = 500
TICKS = 1000
SETTLED = 100
MOST_GROWTH = 0.05
_WINDOW = 20
_START_S = 120.0
_DEFINITIONS = "bench_pipeline.definitions"


def main() -> None:
    """Measure and print; the exit status is 1 if a process grew more than it may."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sensor_ticks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ticks", type=int, default=TICKS, help="how often every sensor is evaluated")
    parser.add_argument("--actors", type=int, default=ACTORS, help="how many models production has")
    parser.add_argument("--daemon", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.daemon:
        _daemon(arguments.daemon, arguments.ticks)
    elif arguments.ticks < SETTLED + 2 * _WINDOW:
        parser.error(f"--ticks must be at least {SETTLED + 2 * _WINDOW}")
    else:
        sys.exit(_measured(arguments.ticks, arguments.actors))


def _measured(ticks: int, actors: int) -> int:
    scenario = Scenario(actors, 10, 0, rounds=1)
    with tempfile.TemporaryDirectory() as name, stub(scenario) as server:
        folder = Path(name)
        write_task(folder, scenario.cases)
        url = f"sqlite:///{folder / 'bench.db'}"
        write_production(url, scenario.model_names)
        home = folder / ".dagster"
        home.mkdir()
        shutil.copy(ROOT / "dagster.yaml", home)
        with open_instance(home):  # alone: two processes that open a fresh home at once corrupt it
            pass
        settings = {
            "OLLAMA_HOST": server.url,
            "BENCH_DATABASE_URL": url,
            "BENCH_AUTOMATION": "on",
            "DAGSTER_HOME": str(home),
            "PYTHONPATH": str(ROOT),
        }
        timed([BENCH, "run", "--task", "grading", "--models", scenario.model_names[0]], folder, settings)
        memory, seconds = _watched(folder, settings, ticks)
    print(f"{ticks} ticks of every sensor, {actors} actors, {statistics.median(seconds):.2f} s a tick (median)")
    return max(_grown(process, sizes) for process, sizes in memory.items())


def _grown(process: str, sizes: Sequence[int]) -> int:
    """Print a process's growth from the tick after which it has settled to the end; return 1 if it is too much."""
    begin, end = (statistics.median(part) / 1e6 for part in (sizes[SETTLED : SETTLED + _WINDOW], sizes[-_WINDOW:]))
    growth = end / begin - 1
    print(f"  {process:<12} {begin:6.1f} -> {end:6.1f} MB: {growth:+.1%}, at most {MOST_GROWTH:+.0%}", flush=True)
    return int(growth > MOST_GROWTH)


def _watched(folder: Path, settings: dict[str, str], ticks: int) -> tuple[dict[str, list[int]], list[float]]:
    """Return the resident bytes of each process after every tick, and how long each tick took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ["dagster", "api", "grpc", "--module-name", _DEFINITIONS, "--host", "127.0.0.1", "--port", str(port)]
    memory: dict[str, list[int]] = {"code server": [], "daemon": []}
    seconds: list[float] = []
    with (
        _process([*server, "--location-name", _DEFINITIONS, "--log-level", "error"], folder, settings) as code_server,
        _process(["benchmarks.sensor_ticks", "--daemon", str(port), "--ticks", str(ticks)], folder, settings) as daemon,
    ):
        begun = time.perf_counter()
        for number, _ in enumerate(daemon.stdout or (), start=1):
            now = time.perf_counter()
            seconds.append(now - begun)
            begun = now
            for name, process in (("code server", code_server), ("daemon", daemon)):
                memory[name].append(psutil.Process(process.pid).memory_info().rss)
            if number % 100 == 0:
                sizes = ", ".join(f"{name} {found[-1] / 1e6:.1f} MB" for name, found in memory.items())
                print(f"tick {number}: {sizes}", file=sys.stderr, flush=True)
    if len(seconds) < ticks:
        raise SystemExit(f"the daemon ended after {len(seconds)} ticks:\n{(folder / 'errors.log').read_text()}")
    return memory, seconds


@contextlib.contextmanager
def _process(module: Sequence[str], folder: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a module as a process of its own, until the block ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_", "DAGSTER_"))}
    with (folder / "errors.log").open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=folder,
            env={**kept, **settings},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _daemon(port: int, ticks: int) -> None:
    """Be the daemon: evaluate every sensor as its loop does, without the pause, and write a line for each round."""
    # There is no public way to call the daemon's loop. If these names move, this benchmark says so at its start.
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import GrpcServerTarget
    from dagster._daemon import sensor

    logger = logging.getLogger("sensor_ticks")
    target = GrpcServerTarget("127.0.0.1", port, None, _DEFINITIONS)
    with open_instance(dagster_home()) as instance:
        _wait_for(port)
        with (
            WorkspaceProcessContext(instance, target) as workspace,
            patch.object(sensor, "is_under_min_interval", lambda *_: False),
        ):
            for number in range(ticks):
                for _ in sensor.execute_sensor_iteration(workspace, logger, None, None):
                    pass
                print(json.dumps({"tick": number}), flush=True)


def _wait_for(port: int) -> None:
    until = time.monotonic() + _START_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > until:
            raise SystemExit(f"the code server does not listen after {_START_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
