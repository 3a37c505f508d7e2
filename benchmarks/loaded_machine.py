"""Runs one benchmark twice, on a quiet machine and with busy processes during one pass, and compares the champions.

The models are a stub's that computes for its replies on all cores, as a model on the CPU does, so that load really
slows its calls. The busy processes run during the second of three passes of the faster model. It takes about a minute.
Other programs disturb the quiet run as well; what is printed says how much they used.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

from bench_pipeline.benchmark.events import BatchStarted, Event, SampleTaken
from bench_pipeline.benchmark.measurement import MeasurementRequest, measure
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.live_tree import summary
from bench_pipeline.reporting.machine_load import disturbed_calls
from bench_pipeline.settings import load_settings
from benchmarks.stub import Stub
from benchmarks.workload import answer, write_task

CORES = os.cpu_count() or 1
CASES, PASSES, LOADED_PASS = 10, 3, 2
STEPS = 10  # of a reply, as tokens are: in each one all cores wait for the slowest
CALL_MS = 220.0
# With a pass of twice the latency the faster model would be 1.33 times as slow, and so the slower one champion.
MODELS = {"faster:latest": 1.0, "slower:latest": 1.3}
LOADED = "faster:latest"
# The busy processes must not be our children, whose time counts as our own; they end by themselves in any case.
_BURN = "import time; end = time.monotonic() + 120\nwhile time.monotonic() < end: pass"
_START = """
import subprocess, sys
command, none = [sys.executable, "-c", sys.argv[1]], subprocess.DEVNULL
print(*(subprocess.Popen(command, stdout=none, stderr=none).pid for _ in range(int(sys.argv[2]))))
"""


class Work:
    """Computes for a call: the same number of hashes in every call of a model."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CORES)
        self._rounds = self._calibrated()

    def __call__(self, model: str) -> None:
        """Compute for one call of this model."""
        rounds = round(self._rounds * MODELS[model])
        for _ in range(STEPS):
            list(self._threads.map(_hash, [rounds] * CORES))

    def _calibrated(self) -> int:
        """Return the rounds of a step of the faster model, by the quickest of some tries."""
        rounds = 20_000
        return round(rounds * CALL_MS / 1000 / STEPS / min(self._took_s(rounds) for _ in range(10)))

    def _took_s(self, rounds: int) -> float:
        begun = time.perf_counter()
        list(self._threads.map(_hash, [rounds] * CORES))
        return time.perf_counter() - begun


def _hash(rounds: int) -> None:
    hashlib.pbkdf2_hmac("sha256", b"a token", b"of a reply", rounds)


@dataclass
class Load:
    """Busy processes during one pass of one model. Hears the events of a benchmark."""

    processes: int
    _busy: list[int] = field(default_factory=list)
    _left: int = CASES

    def __call__(self, event: Event) -> None:
        """Begin with the first batch of the pass, and end with its last call."""
        match event:
            case BatchStarted(model=model, repeat=repeat, batch=1) if (model, repeat) == (LOADED, LOADED_PASS):
                command = [sys.executable, "-c", _START, _BURN, str(self.processes)]
                started = subprocess.run(command, check=True, capture_output=True, text=True)
                self._busy = [int(pid) for pid in started.stdout.split()]
            case SampleTaken(model=model, sample=sample) if (model, sample.repeat, sample.take) == (
                LOADED, LOADED_PASS, 1,
            ):  # fmt: skip
                self._left -= 1
                if not self._left:
                    self.end()

    def end(self) -> None:
        """End the busy processes."""
        for pid in self._busy:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._busy = []


@contextmanager
def _server(work: Work) -> Iterator[Stub]:
    with Stub(list(MODELS), 0.0, answer, work) as server:
        yield server


def benchmark(work: Work, processes: int) -> RankedBenchmark:
    """Run the benchmark with so many busy processes during one pass."""
    load = Load(processes)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(_server(work))
        stack.enter_context(patch.dict(os.environ, {"OLLAMA_HOST": server.url}))
        stack.enter_context(chdir(folder))
        stack.callback(load.end)
        write_task(folder, CASES)
        bench = stack.enter_context(open_workbench(load_settings()))
        request = MeasurementRequest("grading", models=list(MODELS), terms={"repeats": PASSES})
        return measure(bench, request, load)


def champion_of_first_calls(ranked: RankedBenchmark) -> str:
    """Return the model that would lead if no call had been repeated."""
    means = {
        model: fmean(one.latency_ns or 0 for one in samples if one.take == 1)
        for model, samples in ranked.samples.items()
    }
    return min(means, key=means.__getitem__)


def _told(title: str, ranked: RankedBenchmark) -> str | None:
    champion = ranked.scoreboard.champion
    name = champion.model if champion else None
    print(f"\n{title}: champion {name}, without repetitions {champion_of_first_calls(ranked)}", end="")
    print("\n".join(summary(ranked)), flush=True)
    return name


def main() -> None:
    """Run both benchmarks and print; exit with 1 without one champion in both, or if no disturbed call is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loaded_machine", description=__doc__)
    parser.add_argument("--processes", type=int, default=max(2, CORES), help="busy processes (default: one per core)")
    arguments = parser.parse_args()
    work = Work()
    quiet = _told("Quiet", benchmark(work, 0))
    loaded = benchmark(work, arguments.processes)
    same = _told(f"Loaded, {arguments.processes} busy processes in pass {LOADED_PASS} of {LOADED}", loaded) == quiet
    named = [(call["model"], call["pass"]) for call in disturbed_calls(loaded)].count((LOADED, LOADED_PASS))
    print(f"\nThe champions are {'the same' if same else 'different'}; {named} of {CASES} loaded calls are named.")
    raise SystemExit(0 if quiet and same and named else 1)


if __name__ == "__main__":
    main()
