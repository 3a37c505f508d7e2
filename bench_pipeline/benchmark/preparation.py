"""What a benchmark measures: the task, its suite, the prompt that production would send, and the protocol.

Reading the files is in task_folders.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bench_pipeline.benchmark.evidence import evidence_key
from bench_pipeline.benchmark.task_folders import read_suite, read_task, suite_faults, suite_path, with_prompt
from bench_pipeline.benchmark.task_keys import with_production_keys
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import Fault, FileRefused, InputError
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.tasks.prompt import PROMPT_FIELDS, PromptTemplate
from bench_pipeline.domain.tasks.suite import Suite, TestCase
from bench_pipeline.domain.tasks.task import Task, prompt_faults
from bench_pipeline.settings import Settings
from bench_pipeline.storage.production_texts import ConversationPrompt


@dataclass(frozen=True)
class PreparedTask:
    """A task with a valid suite, whose prompts can all be rendered."""

    task: Task
    suite: Suite
    prompt: PromptTemplate
    prompt_source: str
    protocol: Protocol

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.task

    @property
    def prompt_hash(self) -> str:
        """SHA-256 of the prompt's templates."""
        return self.prompt.hash

    @cached_property
    def case_ids(self) -> tuple[str, ...]:
        """The ids of the cases in the order of the suite."""
        return tuple(case.id for case in self.suite.test_cases)

    def with_terms(self, **terms: object) -> PreparedTask:
        """Return the task with these protocol terms changed; None keeps a term. Raises `InputError`."""
        changed = {name: value for name, value in terms.items() if value is not None}
        try:
            protocol = Protocol.model_validate(self.protocol.model_dump(by_alias=False) | changed)
        except ValidationError as error:
            faults = [f"{_place(fault)}: {fault['msg'].lower()}" for fault in error.errors()]
            raise InputError("\n".join(faults)) from None
        return replace(self, protocol=protocol)

    def evidence_key(self, hardware: object) -> str:
        """Hash everything, except the model, that must be equal for two model runs to be ranked together."""
        return evidence_key(
            task=self.name,
            suite_hash=self.suite.hash,
            prompt_hash=self.prompt_hash,
            contract=self.task.verdict,
            protocol_hash=self.protocol.hash,
            hardware=hardware,
        )


def prepare(bench: Workbench, name: str, suite_file: Path | None = None) -> PreparedTask:
    """Read a task and its suite, and add the postings and the prompt that production's tables hold.

    Raises `FileRefused` with every fault, so that nothing is measured on a faulty suite.
    """
    return _prepared(bench.settings, name, suite_file, bench if bench.application is not None else None)


def prepare_from_files(settings: Settings, name: str, suite_file: Path | None = None) -> PreparedTask:
    """Read a task and its suite from their files only, without a database. Raises as `prepare` does."""
    return _prepared(settings, name, suite_file, None)


def _prepared(settings: Settings, name: str, suite_file: Path | None, bench: Workbench | None) -> PreparedTask:
    stated = read_task(settings, name)
    task = with_prompt(settings, stated)
    path = suite_file or suite_path(settings, name)
    suite = read_suite(path)
    prompt, source = task.prompt.prompt, _prompt_file(stated)
    if bench is not None:
        task = with_production_keys(bench, task)
        suite = _with_postings(suite, bench)
        if (own := _production_prompt(task, bench)) is not None:
            prompt, source = (
                prompt.with_production(own.template, own.system),
                f"conversation {task.prompt.conversation}",
            )
            task = _with_terms(task, own, source)
    if faults := _faults(task, suite, prompt, source, str(path)):
        raise FileRefused(faults)
    return PreparedTask(task, suite, prompt, source, _protocol(task, settings))


def _protocol(task: Task, settings: Settings) -> Protocol:
    return Protocol(
        decoding=task.decoding,
        time_limit_s=task.time_limit_s,
        load_time_limit_s=settings.load_time_limit_s,
        repeats=settings.repeats,
        batch_size=settings.batch_size,
        strategy=settings.strategy,
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


def _production_prompt(task: Task, bench: Workbench) -> ConversationPrompt | None:
    conversation = task.prompt.conversation
    if conversation is None:
        return None
    with bench.database.engine.connect() as connection:
        return bench.production.prompt_of(connection, conversation)


def _with_terms(task: Task, own: ConversationPrompt, source: str) -> Task:
    """Return the task with production's options and time limit, as far as it keeps any."""
    try:
        decoding = task.decoding.with_options(own.options)
    except ValidationError as error:
        faults = [
            Fault(source, f"options.{_place(fault)}", fault["msg"].lower(), "correct it") for fault in error.errors()
        ]
        raise FileRefused(faults) from None
    return task.model_copy(update={"decoding": decoding, "time_limit_s": own.time_limit_s or task.time_limit_s})


def _place(fault: ErrorDetails) -> str:
    return ".".join(map(str, fault["loc"]))


def _faults(task: Task, suite: Suite, prompt: PromptTemplate, source: str, file: str) -> list[Fault]:
    faults = suite_faults(task, suite, file)
    if of_prompt := prompt_faults(task, prompt, source):
        return faults + of_prompt
    for case in suite.test_cases:
        missing = sorted(prompt.fields - case.prompt_fields.keys())
        for field in missing:
            remedy = f"add {field!r} to the case's input"
            if field == "posting":
                remedy = f"add {field!r} to the case, or posting {case.posting_id} to the database"
            elif field not in PROMPT_FIELDS:
                remedy += f", or list it under prompt.literal if {{{field}}} is text"
            faults.append(Fault(file, field, f"is needed by the prompt ({source})", remedy, case.id))
        if not missing:
            faults += _unfillable(prompt, case, source, file)
    return faults


def _unfillable(prompt: PromptTemplate, case: TestCase, source: str, file: str) -> list[Fault]:
    """Return the fault of a template that cannot be filled with this case, as Jinja2's expressions may not be."""
    try:
        prompt.render(case.prompt_fields)
    except InputError as error:
        return [Fault(file, "prompt", str(error), f"correct the prompt ({source})", case.id)]
    return []
