"""The address of a model: parsing and formatting of `actors.execution_path`. Its identity is in identity.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import urlsplit

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.server_address import is_host_name, parse_ollama_host

_REGISTRY = r"([A-Za-z0-9][\w.\-]*:\d+/)?"
_OLLAMA_NAME = re.compile(rf"{_REGISTRY}[A-Za-z0-9_][\w.\-]*(/[\w.\-]+)*(:[\w.\-]+)?")
_BARE_OLLAMA_NAME = re.compile(rf"{_REGISTRY}[A-Za-z0-9_][\w.\-]*(/[\w.\-]+)*:[\w.\-]+")
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
    the OpenAI-compatible server at `base_url`. An Ollama model is at `base_url`, on the `host` of that name, or, with
    neither, on the servers of the settings. A host that the settings do not name is a DNS name.
    """

    runtime: RuntimeKind
    address: str
    base_url: str | None = None
    host: str | None = None

    @property
    def execution_path(self) -> str:
        """The canonical text form, which `parse_execution_path` reads."""
        if self.runtime is RuntimeKind.OPENAI_COMPATIBLE:
            return f"openai:{self.base_url}#{self.address}"
        server = self.base_url or self.host
        return f"{self.runtime.value}:{self.address}@{server}" if server else f"{self.runtime.value}:{self.address}"

    def at(self, host: str) -> ModelRef:
        """Return the same model on the host of this name."""
        return replace(self, host=host)


def ollama_ref(text: str) -> ModelRef:
    """Return the model `NAME[:TAG]` of the Ollama servers, or `NAME[:TAG]@HOST` of the one with this name or address.

    Without a tag it is `:latest`, as Ollama reads it. Raises `UnknownExecutionPath` when it is not a possible name.
    """
    name, at, host = text.partition("@")
    if not _OLLAMA_NAME.fullmatch(name):
        raise UnknownExecutionPath(f"{name!r} is not an Ollama model name; write NAME:TAG")
    tagged = name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
    if is_host_name(host):
        return ModelRef(RuntimeKind.OLLAMA, tagged, host=host.lower())
    return ModelRef(RuntimeKind.OLLAMA, tagged, _host_url(name, host) if at else None)


def _host_url(name: str, host: str) -> str:
    try:
        address = parse_ollama_host(host)
    except InputError as error:
        raise UnknownExecutionPath(f"ollama:{name}@…: the host {error}") from None
    if not host.strip() or address.user:
        raise UnknownExecutionPath(f"ollama:{name}@…: must name a host, without user and password")
    return address.url


def parse_execution_path(path: str) -> ModelRef:
    """Read `ollama:NAME[:TAG][@HOST]`, a bare `NAME:TAG`, `llama_cpp:FILE-OR-NAME` or `openai:URL#MODEL`.

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
        if model and _BASE_URL.fullmatch(base_url) and _has_host(base_url):
            return ModelRef(RuntimeKind.OPENAI_COMPATIBLE, model, base_url.rstrip("/"))
        raise UnknownExecutionPath(f"{text!r} must have the form openai:http://HOST:PORT/v1#MODEL")
    if _BARE_OLLAMA_NAME.fullmatch(text.partition("@")[0]):
        return ollama_ref(text)
    raise UnknownExecutionPath(
        f"{text!r} does not name a runtime; write ollama:NAME:TAG, llama_cpp:FILE or openai:URL#MODEL"
    )


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:  # a bracket without its partner, a port that is not a number
        return False
