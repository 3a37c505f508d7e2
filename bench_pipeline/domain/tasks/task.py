"""The contents of a `task.yaml`: prompt, verdict contract, decoding, and the conversations that the task serves.

Finding and reading the files is in benchmark/task_folders.py.
"""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.tasks.prompt import PROMPT_FIELDS, fields_of
from bench_pipeline.domain.tasks.readers.contracts import Contract
from bench_pipeline.domain.text import first_line

_MAX_YAML_BYTES = 256 * 1024


class PromptSource(BaseModel):
    """Where the prompt comes from: the conversation's own template if the database has one, else `template`.

    Alternatively the prompt of another `task`; `template` is empty until that task is read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversation: ConversationId | None = None
    template: str = Field(default="", min_length=1)
    task: str | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> PromptSource:
        if self.task is None and not self.template:
            raise ValueError("must name a template or a task")
        if self.task is not None and (self.template or self.conversation is not None):
            raise ValueError("must not combine task with template or conversation")
        return self


class PromotionRules(BaseModel):
    """Automatic changes: conversations under `auto` need no approval; `max_rows` limits one promotion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auto: tuple[ConversationId, ...] = ()
    max_rows: int | None = Field(default=None, ge=1)


class Task(BaseModel):
    """One kind of work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(min_length=1, max_length=60, pattern=r"^[a-z][a-z0-9_]*$")
    description: str = Field(min_length=1)
    conversations: tuple[ConversationId, ...] = ()
    prompt: PromptSource
    verdict: Contract
    decoding: DecodingOptions = DecodingOptions()
    time_limit_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    promotion: PromotionRules = PromotionRules()

    @model_validator(mode="after")
    def _marks_its_own(self) -> Task:
        if strange := sorted(set(self.promotion.auto) - set(self.conversations)):
            raise ValueError(f"promotion.auto lists {strange}, which are not under conversations")
        return self


def parse_task(raw: bytes, file: str) -> Task:
    """Read a `task.yaml`. Raises `FileRefused` with all faults of the file."""
    value = _load_yaml(raw, file)
    try:
        task = Task.model_validate(value)
    except ValidationError as error:
        raise FileRefused([_fault(file, dict(entry)) for entry in error.errors()]) from None
    if task.prompt.template and not fields_of(task.prompt.template):
        named = ", ".join("{" + name + "}" for name in PROMPT_FIELDS)
        raise FileRefused([Fault(file, "prompt.template", "contains no field of the case", f"use one of {named}")])
    return task


def _load_yaml(raw: bytes, file: str) -> object:
    if len(raw) > _MAX_YAML_BYTES:
        raise FileRefused([Fault(file, "document", f"larger than {_MAX_YAML_BYTES} bytes", "shorten it")])
    try:
        return yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-13-45
        raise FileRefused([Fault(file, "document", f"not YAML: {first_line(error)}", "correct it")]) from None


def _fault(file: str, entry: dict[str, Any]) -> Fault:
    field = ".".join(str(part) for part in entry["loc"]) or "document"
    remedy = f"add {field!r}" if entry["type"] == "missing" else "correct or remove it"
    return Fault(file, field, entry["msg"].lower(), remedy)
