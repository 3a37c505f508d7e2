"""The task directories: where they are, what they contain, and which of them are faulty.

Reads files only. What production adds to a task is in preparation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench_pipeline.domain.errors import Fault, FileRefused, InputError
from bench_pipeline.domain.tasks.suite import Suite, parse_suite
from bench_pipeline.domain.tasks.task import Task, parse_task
from bench_pipeline.domain.tasks.verdict import contract_faults
from bench_pipeline.settings import Settings

_PACKAGE = Path(__file__).resolve().parent.parent
# Names of asset groups and of a job in Dagster.
RESERVED_NAMES = frozenset({"all", "production", "models", "documents"})


@dataclass(frozen=True, slots=True)
class TaskFolders:
    """The names of the valid tasks, and the faults of the others by directory name."""

    valid: tuple[str, ...]
    broken: Mapping[str, str]


def task_folders(settings: Settings) -> TaskFolders:
    """Read every task directory. A faulty one does not affect the others."""
    directory = testcases_dir(settings)
    names = sorted({path.parent.name for kind in ("task.yaml", "suite.json") for path in directory.glob(f"*/{kind}")})
    faults = {name: fault for name in names if (fault := _fault_of(settings, name))}
    return TaskFolders(tuple(name for name in names if name not in faults), faults)


def _fault_of(settings: Settings, name: str) -> str:
    try:
        if name in RESERVED_NAMES:
            raise InputError(f"{testcases_dir(settings) / name}: this name is reserved; rename the directory")
        task = with_prompt(settings, read_task(settings, name))
        file = suite_path(settings, name)
        suite = read_suite(file)
        if faults := suite_faults(task, suite, str(file)):
            raise FileRefused(faults)
    except (InputError, OSError) as error:
        return str(error)
    return ""


def suite_path(settings: Settings, name: str) -> Path:
    """Return the path of a task's suite."""
    return testcases_dir(settings) / name / "suite.json"


def suite_faults(task: Task, suite: Suite, file: str) -> list[Fault]:
    """Return the faults of a suite under a task, as far as the files show them."""
    faults = contract_faults(task.verdict, suite, file)
    if suite.task_type != task.task:
        faults.append(Fault(file, "task_type", f"is {suite.task_type!r}", f"write {task.task!r}"))
    return faults


def testcases_dir(settings: Settings) -> Path:
    """Return the directory of all tasks: the configured one, ./testcases, or the bundled one."""
    if settings.testcases_dir is not None:
        return settings.testcases_dir
    shipped = (_PACKAGE / "_testcases", _PACKAGE.parent / "testcases")
    return next((folder for folder in (Path("testcases"), *shipped) if folder.is_dir()), Path("testcases"))


def own_testcases_dir(settings: Settings) -> Path:
    """Return the directory in which new tasks are written: the configured one or ./testcases, never a bundled one."""
    return settings.testcases_dir or Path("testcases")


def task_names(settings: Settings) -> list[str]:
    """Return the names of the directories with a `task.yaml`, valid or not."""
    return sorted(path.parent.name for path in testcases_dir(settings).glob("*/task.yaml"))


def read_task(settings: Settings, name: str) -> Task:
    """Read `<name>/task.yaml`. Raises `InputError` with the known names."""
    if name not in (known := task_names(settings)):
        raise InputError(
            f"there is no task {name!r} in {testcases_dir(settings)}; known tasks: {', '.join(known) or 'none'}"
        )
    path = testcases_dir(settings) / name / "task.yaml"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    task = parse_task(raw, str(path))
    if task.task != name:
        raise FileRefused([Fault(str(path), "task", f"is {task.task!r}", f"write {name!r}, the directory's name")])
    return task


def with_prompt(settings: Settings, task: Task) -> Task:
    """Return the task with the prompt of the task named in `prompt.task`; unchanged if none is named.

    Raises `FileRefused` when that task does not exist or has no template of its own. References cannot be chained.
    """
    name = task.prompt.task
    if name is None:
        return task
    file = str(testcases_dir(settings) / task.task / "task.yaml")
    if name not in (known := task_names(settings)):
        raise FileRefused([Fault(file, "prompt.task", f"there is no task {name!r}", f"name one of {', '.join(known)}")])
    prompt = read_task(settings, name).prompt
    if prompt.task is not None:
        problem = f"{name!r} has no template of its own"
        raise FileRefused([Fault(file, "prompt.task", problem, "name the task that has one, or write a template")])
    return task.model_copy(update={"prompt": prompt})


def read_suite(path: Path) -> Suite:
    """Read a suite. Raises `InputError` when the file cannot be read or is refused."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_suite(raw, str(path))
