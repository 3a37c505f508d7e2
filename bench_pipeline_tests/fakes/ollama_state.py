"""What a fake Ollama server knows: its models, which of them are loaded, and the requests it has seen.

Holds no socket and no faults' course.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench_pipeline_tests.fakes.faults import SCRIPTS, Fault, Script
from bench_pipeline_tests.fakes.recorded_server import Recorded

DEFAULT_REPLY = "[PASS] fine"
DEFAULT_CONTEXT = 4096

Json = dict[str, Any]


@dataclass
class FakeModel:
    """A model on the server; `answers` maps a part of the prompt to the reply, or is asked for it.

    `fault_on_calls` says which calls with a prompt the fault strikes, counted from 1; without it, all. For
    `loading_refused` it says which loads.
    `unformatted` is what it answers when it ignores the format, which happens while thinking is off; a model of the
    family `gptoss` answers nothing then.
    A window above `largest_window` is lowered to it without a word. `cached_tokens` is reported only when it is set.
    `vram_bytes` and `memory_bytes` are the size unless set.
    """

    digest: str = "sha256:0"
    size_bytes: int = 4_000_000_000
    answers: Mapping[str, str] | Callable[[str], str] = field(default_factory=dict)
    thinking: str = ""
    unformatted: str | None = None
    latency_ms: float = 0.0
    load_ms: float = 0.0
    fault: Fault | None = None
    fault_on_calls: Container[int] | None = None
    capabilities: tuple[str, ...] = ("completion",)
    context: int = 32768
    vram_bytes: int | None = None
    memory_bytes: int | None = None
    cached_tokens: int | None = None
    largest_window: int | None = None
    remote_host: str | None = None
    family: str = "fake"
    parameter_size: str = "7B"
    quantization: str = "Q4_K_M"
    template: str = "{{ .Prompt }}"
    system: str = ""
    parameters: tuple[str, ...] = ('stop "<end>"', "top_k 40")
    calls: int = 0
    loads: int = 0

    def reply_to(self, prompt: str, body: Json | None = None) -> str:
        """The reply; without an answer for the prompt, one that follows the request's format."""
        if body and body.get("think") is False:
            if self.family == "gptoss":
                return ""
            if body.get("format") and self.unformatted is not None:
                return self.unformatted
        if callable(self.answers):
            return self.answers(prompt)
        default = "{}" if body and body.get("format") else DEFAULT_REPLY
        return next((reply for part, reply in self.answers.items() if part in prompt), default)

    def script_of_next_call(self) -> Script:
        self.calls += 1
        struck = self.fault not in (None, Fault.LOADING_REFUSED) and self._strikes(self.calls)
        return SCRIPTS[self.fault if self.fault and struck else Fault.GOOD]

    def refuses_next_load(self) -> bool:
        self.loads += 1
        return self.fault is Fault.LOADING_REFUSED and self._strikes(self.loads)

    def _strikes(self, number: int) -> bool:
        return self.fault_on_calls is None or number in self.fault_on_calls

    @property
    def details(self) -> Json:
        return {
            "family": self.family,
            "parameter_size": self.parameter_size,
            "quantization_level": self.quantization,
        }


@dataclass
class Record:
    """One request. `answered_ns` is None until the first byte of the answer was sent."""

    path: str
    model: str | None
    body: Json
    arrived_ns: int
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    answered_ns: int | None = None
    loaded: bool = False
    switched: bool = False


@dataclass
class Resident:
    """A loaded model; `polls_left` counts down the looks at `/api/ps` until an unloaded one is gone."""

    context_length: int
    polls_left: int | None = None
    asked: int | None = None


class OllamaState:
    """The server's memory; its public attributes may be changed at any time."""

    def __init__(self, models: Mapping[str, FakeModel], version: str, linger_polls: int) -> None:
        self.models = dict(models)
        self.version = version
        self.linger_polls = linger_polls
        self.knows_truncate = True
        self.broken: set[str] = set()
        self.answers: dict[str, Json] = {}
        self.refusals: dict[str, list[Recorded]] = {}
        self.log: list[Record] = []
        self.resident: dict[str, Resident] = {}
        self.switches = 0
        self._last_used: str | None = None
        self._lock = threading.Lock()

    def next_refusal(self, path: str) -> Recorded | None:
        """Return the refusal that is next at this path, each only once."""
        waiting = self.refusals.get(path)
        return waiting.pop(0) if waiting else None

    def requests(self, path: str) -> list[Record]:
        return [record for record in self.log if record.path == path]

    def find(self, name: str) -> str | None:
        """Return the model's own name; case does not count and the default tag is `latest`."""
        wanted = name.lower() if ":" in name.rsplit("/", 1)[-1] else f"{name.lower()}:latest"
        return next((known for known in self.models if known.lower() == wanted), None)

    def is_loaded(self, name: str, num_ctx: int | None) -> bool:
        """Say whether the model is resident with this context; another `num_ctx` forces a reload."""
        present = self.resident.get(name)
        return present is not None and num_ctx in (None, present.asked, present.context_length)

    def load(self, name: str, num_ctx: int | None) -> None:
        with self._lock:
            asked = num_ctx or DEFAULT_CONTEXT
            given = min(asked, self.models[name].largest_window or asked)
            self.resident[name] = Resident(given, asked=asked)

    def unload(self, name: str) -> None:
        with self._lock:
            if name in self.resident and self.linger_polls:
                self.resident[name].polls_left = self.linger_polls
            else:
                self.resident.pop(name, None)

    def use(self, name: str) -> bool:
        """Note that the model is used; say whether another one was used before."""
        with self._lock:
            switched = self._last_used not in (None, name)
            self.switches += switched
            self._last_used = name
            return switched

    def tags(self) -> Json:
        return {"models": [self._listed(name, model) for name, model in self.models.items()]}

    def _listed(self, name: str, model: FakeModel) -> Json:
        entry: Json = {
            "name": name,
            "model": name,
            "size": model.size_bytes,
            "digest": model.digest,
            "details": model.details,
            "capabilities": list(model.capabilities),
        }
        if model.remote_host:
            entry |= {"remote_host": model.remote_host, "remote_model": name}
        return entry

    def residents(self) -> Json:
        with self._lock:
            shown = [self._resident(name, entry) for name, entry in self.resident.items()]
            for name, entry in list(self.resident.items()):
                if entry.polls_left is not None:
                    entry.polls_left -= 1
                    if entry.polls_left <= 0:
                        del self.resident[name]
        return {"models": shown}

    def _resident(self, name: str, entry: Resident) -> Json:
        model = self.models[name]
        vram = model.size_bytes if model.vram_bytes is None else model.vram_bytes
        loaded = {"size_vram": vram, "context_length": entry.context_length}
        if model.memory_bytes is not None:
            loaded["size"] = model.memory_bytes
        return self._listed(name, model) | loaded

    def show(self, name: str) -> Json:
        model = self.models[name]
        # Ollama prints the parameters in a random order; here every other answer turns them round.
        turned = len(self.requests("/api/show")) % 2
        return {
            "template": model.template,
            "parameters": "\n".join(model.parameters[::-1] if turned else model.parameters),
            "system": model.system,
            "details": model.details,
            "model_info": {f"{model.family}.context_length": model.context},
            "capabilities": list(model.capabilities),
        }
