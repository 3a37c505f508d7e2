"""The contents of a `task.yaml`: prompt, verdict contract, decoding, and the conversations that the task serves.

Finding and reading the files is in benchmark/task_folders.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench_pipeline.domain.errors import Fault, FileRefused, InputError
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.ids import ConversationId, key_order
from bench_pipeline.domain.models.request import IMAGE_FIELDS, NO_IMAGES, Message
from bench_pipeline.domain.tasks.placeholders import BRACES
from bench_pipeline.domain.tasks.prompt import PROMPT_FIELDS, PromptTemplate
from bench_pipeline.domain.tasks.readers.contracts import Contract
from bench_pipeline.domain.tasks.strict_yaml import YamlRefused, strict_yaml

_MAX_YAML_BYTES = 256 * 1024
_KEY_TYPES = ("int", "constrained-str")  # what pydantic adds to the place of a key that is neither


class PromptSource(BaseModel):
    """Where the prompt comes from: the conversation's own if the database has one, else `template` or `messages`.

    `template` is the only user message. Alternatively the prompt of another `task`, which is empty until it is read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversation: ConversationId | None = None
    template: str = ""
    messages: tuple[Message, ...] = ()
    suffix: str = ""
    syntax: str = Field(default=BRACES, min_length=1)
    literal: tuple[str, ...] = ()
    task: str | None = None

    @model_validator(mode="after")
    def _is_one_of_three(self) -> PromptSource:
        if self.task is not None:
            if self.template or self.messages or self.suffix or self.literal or self.conversation is not None:
                raise ValueError("must not combine task with any other field")
        elif bool(self.template) == bool(self.messages):
            raise ValueError("must name a template, messages or a task")
        elif self.messages and all(message.role != "user" for message in self.messages):
            raise ValueError("messages need one with role: user")
        return self

    @property
    def prompt(self) -> PromptTemplate:
        """The prompt as stated; without a message if it is that of another task."""
        single = (Message(role="user", content=self.template),) if self.template else ()
        return PromptTemplate(self.messages or single, self.suffix, self.syntax, self.literal)

    def holding(self, prompt: PromptTemplate) -> PromptSource:
        """Return the source with this prompt in place of the stated one, for the record of a benchmark."""
        single = [message.role for message in prompt.messages] == ["user"]
        messages = {"template": prompt.messages[0].content} if single else {"messages": prompt.messages}
        rest = {"suffix": prompt.suffix, "syntax": prompt.syntax, "literal": prompt.literal}
        return PromptSource.model_validate({"conversation": self.conversation, **messages, **rest})


class PromotionRules(BaseModel):
    """Automatic changes: conversations under `auto` need no approval; `max_rows` limits one promotion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auto: tuple[ConversationId, ...] = ()
    max_rows: int | None = Field(default=None, ge=1)


class Task(BaseModel):
    """One kind of work: what is asked, how a reply is read, and what it serves."""

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
        if strange := sorted(set(self.promotion.auto) - set(self.conversations), key=key_order):
            raise ValueError(f"promotion.auto lists {strange}, which are not under conversations")
        return self


@lru_cache(maxsize=256)  # a command reads the same file several times, and a long one takes a while
def parse_task(raw: bytes, file: str) -> Task:
    """Read a `task.yaml`. Raises `FileRefused` with all faults of the file."""
    value = _load_yaml(raw, file)
    try:
        task = Task.model_validate(value)
    except ValidationError as error:
        raise FileRefused(list(dict.fromkeys(_fault(file, dict(entry)) for entry in error.errors()))) from None
    if task.prompt.task is None and (faults := prompt_faults(task, task.prompt.prompt, file)):
        raise FileRefused(faults)
    return task


def prompt_faults(task: Task, prompt: PromptTemplate, file: str) -> list[Fault]:
    """Return the faults of a prompt that no case is needed to find; `file` is where it comes from."""
    try:
        fields, foreign = prompt.fields, prompt.foreign
    except InputError as error:
        return [Fault(file, "prompt.syntax", str(error), "correct it")]
    faults = []
    if not fields:
        named = ", ".join("{" + name + "}" for name in PROMPT_FIELDS)
        faults.append(Fault(file, "prompt", "contains no field of the case", f"use {named} or a key under input"))
    for found in dict.fromkeys(foreign):
        name = found.strip("{ }")
        remedy = f"write {{{name}}}, state prompt.syntax, or list {name} under prompt.literal if it is text"
        faults.append(Fault(file, "prompt", f"{found} would be sent as it is", remedy))
    if task.decoding.endpoint == "generate":
        if [message.role for message in prompt.messages] not in (["user"], ["system", "user"]):
            problem = "endpoint generate takes one prompt and at most a system message"
            faults.append(Fault(file, "prompt.messages", problem, "write endpoint: chat"))
    elif prompt.suffix:
        faults.append(Fault(file, "prompt.suffix", "needs endpoint: generate", "add it under decoding"))
    return faults


def _load_yaml(raw: bytes, file: str) -> object:
    if len(raw) > _MAX_YAML_BYTES:
        raise FileRefused([Fault(file, "document", f"larger than {_MAX_YAML_BYTES} bytes", "shorten it")])
    try:
        return strict_yaml(raw)
    except YamlRefused as error:
        raise FileRefused([Fault(file, "document", str(error), error.remedy)]) from None


def _fault(file: str, entry: dict[str, Any]) -> Fault:
    place = [str(part) for part in entry["loc"]]
    if place and place[-1] in _KEY_TYPES:
        return Fault(file, ".".join(place[:-1]), "is not an id", "write a whole number or a text")
    field = ".".join(place) or "document"
    remedy = f"add {field!r}" if entry["type"] == "missing" else "correct or remove it"
    problem = NO_IMAGES if field.rpartition(".")[2] in IMAGE_FIELDS else entry["msg"].lower()
    return Fault(file, field, problem, remedy)
