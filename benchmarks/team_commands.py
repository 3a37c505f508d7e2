"""`python -m benchmarks.team_commands`: what commands take on the database of a large team.

Each command runs in a process of its own, `--rounds` times; a row holds the median wall time and the highest peak of
memory beside their limits. The database is SQLite in a temporary folder, or an empty one at `--database`. The server's
models come from a stub. Exits with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.programs import BENCH, ROOT, timed
from benchmarks.stub import Stub
from benchmarks.team import TEAM, Team, fill, write_tasks
from benchmarks.workload import answer

_READ_SCOREBOARD = """
from bench_pipeline.benchmark.ranking import rank_benchmark, read_ranked
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.database import open_database
database = open_database(load_settings().database_url.get_secret_value())
rank_benchmark(database, {benchmark_id!r})
read_ranked(database, {benchmark_id!r})
"""


@dataclass(frozen=True)
class Limit:
    """The most that a command may take: seconds and megabytes."""

    wall_s: float
    peak_mb: float = 300.0


@dataclass(frozen=True)
class Timed:
    """What a command took: the median of the seconds, the highest of the megabytes."""

    wall_s: float
    peak_mb: float

    def within(self, limit: Limit) -> bool:
        """Whether it kept its limits."""
        return self.wall_s <= limit.wall_s and self.peak_mb <= limit.peak_mb


def commands(team: Team) -> dict[str, tuple[list[str], Limit]]:
    """Return the timed commands by name, each with its limit."""
    latest = f"grading-{team.benchmarks - 1:04d}"
    return {
        "bench models": ([BENCH, "models"], Limit(2.0)),
        "bench plan": ([BENCH, "plan", "--task", "grading"], Limit(2.0)),
        "bench doctor": ([BENCH, "doctor"], Limit(2.0)),
        "bench docs, all new": ([BENCH, "docs"], Limit(5.0)),
        "bench docs, unchanged": ([BENCH, "docs"], Limit(5.0)),
        "scoreboard": ([sys.executable, "-c", _READ_SCOREBOARD.format(benchmark_id=latest)], Limit(3.0)),
        "bench history": ([BENCH, "history", "--task", "grading"], Limit(3.0)),
        "bench history --benchmark": ([BENCH, "history", "--task", "grading", "--benchmark", latest], Limit(3.0)),
        "bench log": ([BENCH, "log"], Limit(3.0)),
        "bench blame": ([BENCH, "blame", "1"], Limit(3.0)),
    }


def main() -> int:
    """Fill, time, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.team_commands", description=__doc__)
    parser.add_argument("--database", help="address of an empty database  [default: SQLite in a temporary folder]")
    parser.add_argument("--filled", type=Path, help="folder of a database that this program filled before")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.filled or Path(temporary)
        url = arguments.database or f"sqlite:///{folder / 'bench.db'}"
        if arguments.filled is None:
            write_tasks(folder, TEAM)
            fill(url, folder, TEAM, datetime.now(UTC))
        return time_commands(url, folder, TEAM, arguments.rounds)


def time_commands(url: str, folder: Path, team: Team, rounds: int) -> int:
    """Time every command, print a line for each, and return 1 if any exceeds its limit."""
    kept = True
    with Stub(team.model_names, 0, answer) as server:
        settings = {"BENCH_DATABASE_URL": url, "OLLAMA_HOST": server.url, "PYTHONPATH": str(ROOT)}
        settings |= {"BENCH_FINAL_PASSES": "4", "BENCH_TESTCASES_DIR": str(folder / "testcases")}
        for name, (command, limit) in commands(team).items():
            found = [timed(command, folder, settings, (0, 1)) for _ in range(1 if "all new" in name else rounds)]
            took = Timed(statistics.median(wall_s for wall_s, _ in found), max(peak_mb for _, peak_mb in found))
            kept &= took.within(limit)
            sign = "" if took.within(limit) else "  above its limit"
            print(
                f"{name:<26} {took.wall_s:6.2f} s (limit {limit.wall_s:.0f} s), "
                f"{took.peak_mb:4.0f} MB (limit {limit.peak_mb:.0f} MB){sign}",
                flush=True,
            )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
