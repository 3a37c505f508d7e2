"""`bench doctor`: one line for each thing that a benchmark or a promotion needs. Writes nothing.

The lines about the database are in doctor_database.py; `--daemon` is in doctor_daemon.py.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import click

from bench_pipeline.benchmark.task_folders import task_folders, testcases_dir
from bench_pipeline.cli.doctor_database import Line, checked, database_lines
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings, load_settings

_LOW_DISK_GB = 3.0
_PACKAGES = ("bench_pipeline", "dagster", "dagster-postgres", "sqlalchemy", "ollama", "xllamacpp", "pydantic", "pandas")


@click.command()
@click.option("--daemon", "of_daemon", is_flag=True, help="Check only that Dagster's daemon is alive.")
@click.option("--alert", "tells", is_flag=True, help="With --daemon: send an alert if it is not.")
@json_option
def doctor(of_daemon: bool, tells: bool, as_json: bool) -> int:
    """Check database, runtimes, disk and versions.

    Also checks the schema, the test cases, production's tables and the rights on them. Each line is ok or says what
    to do. Nothing is written anywhere: `bench db rehearse` tries a promotion.

    With `--daemon`, reads from the storage of Dagster's instance how old the heartbeats are. A timer outside Dagster
    runs it, because a dead daemon tells nobody.

    Exit status: 0 a benchmark can run, or the daemon is alive; 1 something required is missing, or the daemon is
    silent; 2 the instance cannot be read.
    """
    settings = load_settings()
    if tells and not of_daemon:
        raise click.UsageError("--alert needs --daemon")
    if of_daemon:
        from bench_pipeline.cli.doctor_daemon import doctor_daemon

        return doctor_daemon(settings, tells, as_json)
    lines = [
        *database_lines(settings),
        *_test_cases(settings),
        checked("schedule", lambda: _schedule(settings), needed=False),
        *_runtimes(settings),
        _disk("disk for results", Path.cwd()),
        _disk("disk for weights", settings.cache_dir),
        Line(
            "versions", True, f"Python {sys.version.split()[0]}, " + ", ".join(f"{p} {version(p)}" for p in _PACKAGES)
        ),
    ]
    if as_json:
        print_json(lines)
    else:
        for line in lines:
            click.echo(safe(f"{_mark(line)} {line.what}: {line.text}"))
    return 0 if all(line.ok or not line.needed for line in lines) else 1


def _mark(line: Line) -> str:
    """A fault with a remedy is marked as one, also where a benchmark can run in spite of it."""
    return "✅" if line.ok else "❌" if line.needed or line.remedy else "➖"


def _test_cases(settings: Settings) -> list[Line]:
    """Return one line for the usable tasks, and one for each broken task."""
    folders, directory = task_folders(settings), testcases_dir(settings)
    broken = [Line(f"task {name}", False, fault) for name, fault in folders.broken.items()]
    if not folders.valid:
        text = f"{directory} contains no usable task; set BENCH_TESTCASES_DIR"
        return [Line("test cases", False, text), *broken]
    return [Line("test cases", True, f"{', '.join(folders.valid)} in {directory}"), *broken]


def _schedule(settings: Settings) -> str:
    from bench_pipeline.automation.jobs import benchmark_jobs
    from bench_pipeline.automation.schedules import schedules

    schedules((), benchmark_jobs((), ()).all_tasks, settings)
    return f"{settings.schedule} ({settings.schedule_timezone})"


def _runtimes(settings: Settings) -> list[Line]:
    any_model = ModelRef(RuntimeKind.OLLAMA, "any")
    with Runtimes(settings) as runtimes:
        servers = [_ollama(runtimes, place) for place in runtimes.places(any_model)]
    weights = _weights(settings)
    ready = any(server.ok for server in servers) or weights.ok
    text = "there are models to measure" if ready else "start Ollama (ollama serve), or fetch weights with bench demo"
    return [*servers, weights, Line("a runtime", ready, text)]


def _ollama(runtimes: Runtimes, place: ModelRef) -> Line:
    from bench_pipeline.runtimes.ollama import OllamaRuntime

    def answers() -> str:
        runtime, address = runtimes.of(place), runtimes.address_of(place)
        installed = runtime.installed() if isinstance(runtime, OllamaRuntime) else []
        return f"{address.url if address else place.host} answers, {len(installed)} models installed"

    return checked(f"runtime ollama{f' on {place.host}' if place.host else ''}", answers, needed=False)


def _weights(settings: Settings) -> Line:
    from bench_pipeline.runtimes.catalogue import Catalogue

    catalogue = Catalogue(settings.cache_dir)
    names = [name for name in catalogue.names() if catalogue.path_of(name) is not None]
    text = f"in this process; weights in the cache: {', '.join(names) or 'none yet, bench demo fetches some'}"
    return Line("runtime llama_cpp", bool(names), text, needed=False)


def _disk(what: str, folder: Path) -> Line:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    enough = free_gb >= _LOW_DISK_GB
    return Line(what, enough, f"{free_gb:.1f} GB free in {folder}" + ("" if enough else f"; free {_LOW_DISK_GB} GB"))
