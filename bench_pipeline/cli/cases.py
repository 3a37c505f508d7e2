"""`bench cases`: prints the faults of suites and task files. What is a fault is decided in domain/tasks/.

`bench cases import` is in cases_import.py.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy.exc import DBAPIError

from bench_pipeline.benchmark.conversations import Existing, conversation_faults, existing_conversations
from bench_pipeline.benchmark.preparation import prepare_from_files
from bench_pipeline.benchmark.task_folders import read_suite, testcases_dir
from bench_pipeline.cli.cases_import import import_
from bench_pipeline.cli.cases_show import show
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.domain.errors import Fault, FileRefused, InputError
from bench_pipeline.domain.tasks.suite import DraftCase, OnlyDrafts, Suite
from bench_pipeline.settings import Settings, load_settings
from bench_pipeline.storage.database import FileMissing, look_into
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.production import has_production, open_production


@click.group()
def cases() -> None:
    """Check test cases, show what they ask, or import drafts of them."""


cases.add_command(show)
cases.add_command(import_)


@cases.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@json_option
def check(paths: tuple[Path, ...], as_json: bool) -> int:
    """Check suites and report all faults at once, with file, case, field and remedy.

    PATHS are suite.json files or task folders. Without PATHS every task is checked, including its task.yaml.
    Drafts, which are not measured, are listed with the fields that they still need. The conversations that a
    task.yaml names must exist in production, if that is set, and no other task may serve them.
    Exit status: 0 all suites are valid, 2 a suite is invalid.
    """
    settings = load_settings()
    existing = _existing_conversations(settings)
    results = [_checked(settings, path, existing) for path in paths or _all_folders(settings)]
    if as_json:
        print_json(results)
    else:
        for result in results:
            mark = "✅" if result.sound else "❌"
            lines = f"{mark} {result.path}: {result.summary}", *result.faults, *map(_draft_line, result.drafts)
            click.echo("\n".join(safe(line) for line in lines))
    return 0 if all(result.sound for result in results) else 2


def _existing_conversations(settings: Settings) -> Existing | None:
    """Return what production has, or None where it is not set; where it cannot be asked, say so."""
    try:
        with closing(look_into(settings.database_url.get_secret_value())) as database:
            if not has_production(database, settings.production_names):
                return None
            return existing_conversations(database, open_production(database, settings.production_names))
    except FileMissing:
        return None
    except (InputError, DBAPIError) as error:
        why = str(error) if isinstance(error, InputError) else driver_message(error)
        click.echo(safe(f"bench: the conversations of the tasks are not checked: {why}"), err=True)
        return None


def _all_folders(settings: Settings) -> list[Path]:
    folders = sorted(path.parent for path in testcases_dir(settings).glob("*/suite.json"))
    if not folders:
        raise InputError(f"{testcases_dir(settings)}: contains no suite.json; set BENCH_TESTCASES_DIR or give a path")
    return folders


@dataclass(frozen=True, slots=True)
class Draft:
    """A case that is not measured, and the fields that it still needs."""

    id: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckedSuite:
    """The result of checking one suite; `hash` is None for an invalid one."""

    path: str
    sound: bool
    summary: str
    hash: str | None
    faults: list[str]
    drafts: list[Draft]


def _checked(settings: Settings, path: Path, existing: Existing | None) -> CheckedSuite:
    try:
        suite = _suite(settings, path)
        if path.is_dir() and (conversations := _conversation_faults(settings, path, existing)):
            raise FileRefused(conversations)
    except FileRefused as error:
        faults = [str(fault) for fault in error.faults]
        drafts = _drafts(error.drafts) if isinstance(error, OnlyDrafts) else []
        return CheckedSuite(str(path), False, f"{len(faults)} fault{'s' * (len(faults) != 1)}", None, faults, drafts)
    return CheckedSuite(str(path), True, _summary(suite), suite.hash, [], _drafts(suite.drafts))


def _conversation_faults(settings: Settings, path: Path, existing: Existing | None) -> list[Fault]:
    """Return the faults of this task's conversations, beside the other tasks of its directory."""
    folder = path.resolve()
    faults = conversation_faults(settings.model_copy(update={"testcases_dir": folder.parent}), existing)
    return [fault for fault in faults if Path(fault.file).parent == folder]


def _drafts(cases: tuple[DraftCase, ...]) -> list[Draft]:
    return [Draft(case.id, case.needs) for case in cases]


def _draft_line(draft: Draft) -> str:
    needed = f"needs {', '.join(draft.needs)}" if draft.needs else 'is complete; remove "draft" once it is checked'
    return f"   draft {draft.id} {needed}"


def _suite(settings: Settings, path: Path) -> Suite:
    """Read a single file as it is, and a task's folder with its task.yaml, as a benchmark does."""
    if path.is_file():
        return read_suite(path)
    folder = path.resolve()
    return prepare_from_files(settings.model_copy(update={"testcases_dir": folder.parent}), folder.name).suite


def _summary(suite: Suite) -> str:
    classes = Counter(case.expected_verdict for case in suite.test_cases)
    difficulty = Counter(case.difficulty for case in suite.test_cases)
    counts = ", ".join(f"{count} {name}" for name, count in sorted((classes + difficulty).items()))
    drafts = f", {len(suite.drafts)} draft{'s' * (len(suite.drafts) != 1)}" if suite.drafts else ""
    return f"{len(suite.test_cases)} cases ({counts}){drafts}, version {suite.version}, hash {suite.hash[:12]}"
