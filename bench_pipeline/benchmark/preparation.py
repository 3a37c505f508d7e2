"""What a benchmark is about to measure: the task, its suite and the prompt that production would send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from bench_pipeline.benchmark.evidence import evidence_key
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import Fault, FileRefused, InputError
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.tasks.prompt import fields_of
from bench_pipeline.domain.tasks.suite import Suite, parse_suite
from bench_pipeline.domain.tasks.task import Task, parse_task
from bench_pipeline.domain.tasks.verdict import contract_faults
from bench_pipeline.settings import Settings

_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class PreparedTask:
    """A task whose suite is sound and whose every prompt can be rendered."""

    task: Task
    suite: Suite
    template: str
    prompt_source: str
    protocol: Protocol

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.task

    @property
    def prompt_hash(self) -> str:
        """SHA-256 of the template."""
        return content_hash(self.template)

    @cached_property
    def case_ids(self) -> tuple[str, ...]:
        """The cases in the order of the suite."""
        return tuple(case.id for case in self.suite.test_cases)

    def with_terms(self, **terms: object) -> PreparedTask:
        """Return the task with these terms of the protocol changed; None keeps a term. Raises `InputError`."""
        changed = {name: value for name, value in terms.items() if value is not None}
        try:
            protocol = Protocol.model_validate(self.protocol.model_dump() | changed)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors()]
            raise InputError("\n".join(faults)) from None
        return replace(self, protocol=protocol)

    def evidence_key(self, hardware: object) -> str:
        """Hash of all that must be equal for two model runs to be ranked together, but for the model itself."""
        return evidence_key(
            task=self.name,
            suite_hash=self.suite.hash,
            prompt_hash=self.prompt_hash,
            contract=self.task.verdict,
            protocol_hash=self.protocol.hash,
            hardware=hardware,
        )


def testcases_dir(settings: Settings) -> Path:
    """Return the folder of tasks: the configured one, ./testcases, or the ones that ship with the program."""
    if settings.testcases_dir is not None:
        return settings.testcases_dir
    shipped = (_PACKAGE / "_testcases", _PACKAGE.parent / "testcases")
    return next((folder for folder in (Path("testcases"), *shipped) if folder.is_dir()), Path("testcases"))


def task_names(settings: Settings) -> list[str]:
    """Return the names of the tasks that have a folder with a `task.yaml`."""
    return sorted(path.parent.name for path in testcases_dir(settings).glob("*/task.yaml"))


def read_task(settings: Settings, name: str) -> Task:
    """Read `<name>/task.yaml`. Raises `InputError` with the names that exist."""
    if name not in (known := task_names(settings)):
        raise InputError(
            f"there is no task {name!r} in {testcases_dir(settings)}; known tasks: {', '.join(known) or 'none'}"
        )
    path = testcases_dir(settings) / name / "task.yaml"
    task = parse_task(path.read_bytes(), str(path))
    if task.task != name:
        raise FileRefused([Fault(str(path), "task", f"is {task.task!r}", f"write {name!r}, the folder's name")])
    return task


def with_prompt(settings: Settings, task: Task) -> Task:
    """Return the task with the prompt of the task that its `prompt.task` names; without one it is as it was.

    Raises `FileRefused` when there is no such task or it has no template of its own: no chains, so no circles.
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
    """Read a suite. Raises `InputError` when there is no such file or it is refused."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_suite(raw, str(path))


def prepare(bench: Workbench, name: str, suite_file: Path | None = None) -> PreparedTask:
    """Read a task and its suite, and complete both from production where the database has more.

    Raises `FileRefused` with every fault, so that nothing is measured on a suite that is not sound.
    """
    return _prepared(bench.settings, name, suite_file, bench if bench.application is not None else None)


def prepare_from_files(settings: Settings, name: str, suite_file: Path | None = None) -> PreparedTask:
    """Read a task and its suite from their files alone, without a database. Raises as `prepare` does."""
    return _prepared(settings, name, suite_file, None)


def _prepared(settings: Settings, name: str, suite_file: Path | None, bench: Workbench | None) -> PreparedTask:
    stated = read_task(settings, name)
    task = with_prompt(settings, stated)
    path = suite_file or testcases_dir(settings) / name / "suite.json"
    suite = read_suite(path)
    template, source = task.prompt.template, _prompt_file(stated)
    if bench is not None:
        suite = _with_postings(suite, bench)
        template, source = _production_template(task, bench) or (template, source)
    if faults := _faults(task, suite, template, source, str(path)):
        raise FileRefused(faults)
    return PreparedTask(task, suite, template, source, _protocol(task, settings))


def _protocol(task: Task, settings: Settings) -> Protocol:
    return Protocol(
        decoding=task.decoding,
        time_limit_s=task.time_limit_s,
        load_time_limit_s=settings.load_time_limit_s,
        repeats=settings.repeats,
        batch_size=settings.batch_size,
        policy=settings.policy,
        confirm_wrong=settings.confirm_wrong,
        final_passes=settings.final_passes,
        cache_regime=settings.cache_regime,
        order_seed=settings.order_seed,
        retries=settings.retries,
        retry_pause_s=settings.retry_pause_s,
        error_budget=settings.error_budget,
        placement=settings.placement,
        anchor=settings.anchor,
    )


def _with_postings(suite: Suite, bench: Workbench) -> Suite:
    wanted = [case.posting_id for case in suite.test_cases if case.posting is None]
    if not wanted:
        return suite
    with bench.database.engine.connect() as connection:
        return suite.with_postings(bench.production.postings(connection, wanted))


def _prompt_file(task: Task) -> str:
    return "task.yaml" if task.prompt.task is None else f"task.yaml of {task.prompt.task}"


def _production_template(task: Task, bench: Workbench) -> tuple[str, str] | None:
    conversation = task.prompt.conversation
    if conversation is None:
        return None
    with bench.database.engine.connect() as connection:
        own = bench.production.templates(connection, [conversation]).get(conversation)
    return None if own is None else (own, f"conversation {conversation}")


def _faults(task: Task, suite: Suite, template: str, source: str, file: str) -> list[Fault]:
    faults = contract_faults(task.verdict, suite, file)
    if suite.task_type != task.task:
        faults.append(Fault(file, "task_type", f"is {suite.task_type!r}", f"write {task.task!r}"))
    needed = fields_of(template)
    if not needed:
        faults.append(Fault(source, "template", "names no field of the case", "use {posting}, {summary} or {input}"))
    for case in suite.test_cases:
        for field in sorted(needed - case.prompt_fields.keys()):
            remedy = f"add {field!r} to the case"
            if field == "posting":
                remedy += f", or posting {case.posting_id} to the database"
            faults.append(Fault(file, field, f"is needed by the prompt ({source})", remedy, case.id))
    return faults
