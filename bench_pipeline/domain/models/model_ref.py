"""The address of a model: parsing and formatting of `actors.execution_path`. Its identity is in identity.py."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from bench_pipeline.domain.errors import InputError

_BARE_OLLAMA_NAME = re.compile(r"[A-Za-z0-9][\w.\-]*(/[\w.\-]+)*:[\w.\-]+")
_OLLAMA_NAME = re.compile(r"[A-Za-z0-9][\w.\-]*(/[\w.\-]+)*(:[\w.\-]+)?")
_BASE_URL = re.compile(r"https?://[^/\s@?]+(/[^\s?]*)?")  # no name and password before the host


class RuntimeKind(StrEnum):
    """The kinds of runtimes."""

    OLLAMA = "ollama"
    LLAMA_CPP = "llama_cpp"
    OPENAI_COMPATIBLE = "openai"


class UnknownExecutionPath(InputError):
    """The text is not an address of a model that this program can call."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model on its runtime.

    `address` is the runtime's name of the model: an Ollama tag, a GGUF path or catalogue name, or the model name on
    the OpenAI-compatible server at `base_url`.
    """

    runtime: RuntimeKind
    address: str
    base_url: str | None = None

    @property
    def execution_path(self) -> str:
        """The canonical text form, which `parse_execution_path` reads."""
        if self.runtime is RuntimeKind.OPENAI_COMPATIBLE:
            return f"openai:{self.base_url}#{self.address}"
        return f"{self.runtime.value}:{self.address}"


def ollama_ref(name: str) -> ModelRef:
    """Return the model `name` of the Ollama server; without a tag it is `:latest`, as Ollama reads it.

    Raises `UnknownExecutionPath` when `name` is not a possible Ollama name.
    """
    if not _OLLAMA_NAME.fullmatch(name):
        raise UnknownExecutionPath(f"{name!r} is not an Ollama model name; write NAME:TAG")
    last = name.rsplit("/", 1)[-1]
    return ModelRef(RuntimeKind.OLLAMA, name if ":" in last else f"{name}:latest")


def parse_execution_path(path: str) -> ModelRef:
    """Read `ollama:NAME[:TAG]`, a bare `NAME:TAG`, `llama_cpp:FILE-OR-NAME` or `openai:URL#MODEL`.

    A bare name needs a tag, because `scripts/report.py` is not a model. Raises `UnknownExecutionPath`.
    """
    text = path.strip()
    scheme, _, rest = text.partition(":")
    if scheme == "ollama" and rest:
        return ollama_ref(rest)
    if scheme == "llama_cpp" and rest:
        return ModelRef(RuntimeKind.LLAMA_CPP, rest)
    if scheme == "openai":
        base_url, _, model = rest.partition("#")
        if model and _BASE_URL.fullmatch(base_url):
            return ModelRef(RuntimeKind.OPENAI_COMPATIBLE, model, base_url.rstrip("/"))
        raise UnknownExecutionPath(f"{text!r} must have the form openai:http://HOST:PORT/v1#MODEL")
    if _BARE_OLLAMA_NAME.fullmatch(text):
        return ollama_ref(text)
    raise UnknownExecutionPath(
        f"{text!r} does not name a runtime; write ollama:NAME:TAG, llama_cpp:FILE or openai:URL#MODEL"
    )
