"""`bench doctor`: one finding per thing that a benchmark or a promotion needs. Repairs nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import click

from bench_pipeline.benchmark.task_folders import task_folders, testcases_dir
from bench_pipeline.benchmark.workbench import writer_for
from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.domain.errors import BenchError, GateFailed, InputError
from bench_pipeline.promotion.validation_hook import check_hook
from bench_pipeline.settings import Settings, load_settings
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.plans import latest_freeze
from bench_pipeline.storage.production import has_production, open_production
from bench_pipeline.storage.schema import SCHEMA_VERSION

_LOW_DISK_GB = 3.0
_PACKAGES = ("bench_pipeline", "dagster", "dagster-postgres", "sqlalchemy", "ollama", "xllamacpp", "pydantic", "pandas")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the output. A finding that is not `needed` does not affect the exit status."""

    what: str
    ok: bool
    text: str
    needed: bool = True


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check database, runtimes, disk and versions.

    Also checks the schema, the test cases and production's tables. Each line is ok or says what to do.

    Exit status: 0 a benchmark can run, 1 something required is missing.
    """
    settings = load_settings()
    findings = [
        *_database(settings),
        *_test_cases(settings),
        _finding("schedule", lambda: _schedule(settings), needed=False),
        *_runtimes(settings),
        _disk("disk for results", Path.cwd()),
        _disk("disk for weights", settings.cache_dir),
        Finding(
            "versions", True, f"Python {sys.version.split()[0]}, " + ", ".join(f"{p} {version(p)}" for p in _PACKAGES)
        ),
    ]
    if as_json:
        print_json(findings)
    else:
        for line in findings:
            click.echo(f"{'✅' if line.ok else '❌' if line.needed else '➖'} {line.what}: {line.text}")
    return 0 if all(line.ok or not line.needed for line in findings) else 1


def _finding(what: str, check: Callable[[], str], needed: bool = True) -> Finding:
    try:
        return Finding(what, True, check(), needed)
    except BenchError as error:
        return Finding(what, False, str(error), needed)


def _database(settings: Settings) -> list[Finding]:
    try:
        database = open_database(settings.database_url.get_secret_value(), schema=settings.own_schema)
    except InputError as error:
        return [Finding("database", False, str(error))]
    try:
        return [
            Finding("database", True, f"{database.name}, schema {SCHEMA_VERSION}"),
            _finding("production tables", lambda: _production(settings, database), needed=_names_production(settings)),
            _finding("promotion", lambda: _promotion(settings, database), needed=False),
        ]
    finally:
        database.close()


def _names_production(settings: Settings) -> bool:
    """Whether the settings name a database that should be production's; the default one need not be."""
    return bool({"database_url", "production_names"} & settings.model_fields_set)


def _production(settings: Settings, database: Database) -> str:
    if not _names_production(settings) and not has_production(database, {}):
        raise GateFailed(
            "none; models can be measured by name, and nothing can be promoted. Set BENCH_DATABASE_URL to your "
            "production database, or run `bench demo` for a sample"
        )
    return _tables(open_production(database, settings.production_names, settings.model_actor_types).optional)


def _tables(optional: frozenset[str]) -> str:
    return f"all required tables exist; optional tables: {', '.join(sorted(optional)) or 'none'}"


def _promotion(settings: Settings, database: Database) -> str:
    if settings.validation_hook is not None:
        check_hook(settings.validation_hook)
    with closing(
        writer_for(settings, database, open_production(database, settings.production_names, settings.model_actor_types))
    ) as writer:
        writer.check()
    with database.engine.connect() as connection:
        last = latest_freeze(connection)
    if last is not None and last.frozen:
        raise GateFailed(f"frozen by {last.signer}: {last.reason}; `bench thaw` ends the freeze")
    return "possible"


def _test_cases(settings: Settings) -> list[Finding]:
    """Return one line for the usable tasks, and one for each broken task."""
    folders, directory = task_folders(settings), testcases_dir(settings)
    broken = [Finding(f"task {name}", False, fault) for name, fault in folders.broken.items()]
    if not folders.valid:
        text = f"{directory} contains no usable task; set BENCH_TESTCASES_DIR"
        return [Finding("test cases", False, text), *broken]
    return [Finding("test cases", True, f"{', '.join(folders.valid)} in {directory}"), *broken]


def _schedule(settings: Settings) -> str:
    from bench_pipeline.automation.jobs import benchmark_jobs, monthly_schedule

    monthly_schedule(benchmark_jobs((), ()).all_tasks, settings)
    return f"{settings.schedule} ({settings.schedule_timezone})"


def _runtimes(settings: Settings) -> list[Finding]:
    ollama = _finding("runtime ollama", lambda: _ollama(settings), needed=False)
    weights = _weights(settings)
    ready = ollama.ok or weights.ok
    text = "there are models to measure" if ready else "start Ollama (ollama serve), or fetch weights with bench demo"
    return [ollama, weights, Finding("a runtime", ready, text)]


def _ollama(settings: Settings) -> str:
    from bench_pipeline.runtimes.ollama import OllamaRuntime

    runtime = OllamaRuntime(settings.ollama_host)
    try:
        installed = runtime.installed()
        address = urlsplit(settings.ollama_host)
        shown = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()  # it may carry a password
        return f"{shown} answers, {len(installed)} models installed"
    finally:
        runtime.close()


def _weights(settings: Settings) -> Finding:
    from bench_pipeline.runtimes.catalogue import Catalogue

    catalogue = Catalogue(settings.cache_dir)
    names = [name for name in catalogue.names() if catalogue.path_of(name) is not None]
    text = f"in this process; weights in the cache: {', '.join(names) or 'none yet, bench demo fetches some'}"
    return Finding("runtime llama_cpp", bool(names), text, needed=False)


def _disk(what: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    enough = free_gb >= _LOW_DISK_GB
    return Finding(what, enough, f"{free_gb:.1f} GB free in {folder}" + ("" if enough else f"; free {_LOW_DISK_GB} GB"))
