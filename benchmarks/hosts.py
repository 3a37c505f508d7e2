"""Measures one benchmark on one host and on two: how busy each host is, and how much less time two take.

Each host is a stub with a known service time. A host is busy while it answers anything, as a share of the time between
the first and the last call with a prompt on any host. The rest is this program's own work, which other programs on the
machine prolong; so the share of one host stands beside that of two. It takes about five minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.programs import BENCH, timed
from benchmarks.stub import Stub
from benchmarks.workload import Scenario, stub, write_task

LEAST_BUSY = 0.90
"""What each of two hosts must reach."""


def main() -> None:
    """Measure and print; the exit status says whether both hosts were busy enough."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=__doc__)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--latency-ms", type=float, default=2000.0)
    arguments = parser.parse_args()
    scenario = Scenario(arguments.models, arguments.cases, arguments.latency_ms, rounds=1)
    print(f"{scenario.name}\n")
    print("| hosts | wall time | busy | time between first and last call |\n| ---: | ---: | ---: | ---: |")
    spans: dict[int, float] = {}
    busy: dict[int, list[float]] = {}
    for hosts in (1, 2):
        wall_s, spans[hosts], busy[hosts] = _measured(scenario, hosts)
        shares = ", ".join(f"{share:.1%}" for share in busy[hosts])
        print(f"| {hosts} | {wall_s:.1f} s | {shares} | {spans[hosts]:.1f} s |", flush=True)
    print(f"\ntwo hosts / one host: time {spans[2] / spans[1]:.2f}, busy {min(busy[2]) / min(busy[1]):.2f}")
    sys.exit(0 if min(busy[2]) >= LEAST_BUSY else 1)


def _measured(scenario: Scenario, number: int) -> tuple[float, float, list[float]]:
    """Return the wall time, the seconds between first and last call, and the busy share of each host."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_task(folder, scenario.cases)
        (folder / "models.txt").write_text("\n".join(scenario.model_names), encoding="utf-8")
        hosts = [stack.enter_context(stub(scenario)) for _ in range(number)]
        stated = ",".join(f"gpu{n}={host.url}" for n, host in enumerate(hosts, start=1))
        command = [BENCH, "run", "--task", "grading", "--models-file", "models.txt", "--json"]
        wall_s, _ = timed(command, folder, {"BENCH_OLLAMA_HOSTS": stated})
        begun, ended = _calls(hosts)
        return wall_s, (ended - begun) / 1e9, [host.busy_share(begun, ended) for host in hosts]


def _calls(hosts: Sequence[Stub]) -> tuple[int, int]:
    """Return when the first call with a prompt arrived and the last one was answered, in nanoseconds."""
    calls = [request for host in hosts for request in host.log if request.with_prompt]
    return min(call.arrived_ns for call in calls), max(call.answered_ns for call in calls)


if __name__ == "__main__":
    main()
