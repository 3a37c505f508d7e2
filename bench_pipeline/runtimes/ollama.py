"""Models of an Ollama server, over its native API. Its JSON is in ollama_wire.py, sending it in deadline.py.

Uses the `ollama` package's client but reads raw answers: the package drops digests, capabilities and cached token
counts, and treats a truncated reply as complete.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Self

from bench_pipeline.domain.errors import FailureKind, InputError, RuntimeFailure
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.decoding import DecodingOptions, Endpoint
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import Request
from bench_pipeline.domain.models.server_address import ServerAddress, parse_ollama_host
from bench_pipeline.runtimes.activity import Activity
from bench_pipeline.runtimes.deadline import LISTING_LIMIT_S, QUESTION_LIMIT_S, Answer, Server
from bench_pipeline.runtimes.eviction import Eviction
from bench_pipeline.runtimes.ollama_client import ollama_client
from bench_pipeline.runtimes.ollama_wire import (
    OPTIONS,
    PATHS,
    Installed,
    Part,
    Resident,
    Residents,
    Shown,
    Tags,
    Version,
    call_body,
    load_body,
    reply_of,
)
from bench_pipeline.runtimes.wire import WireRequest, unknown_options

_LISTING_AGE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Listing:
    """The models installed at the time `taken`, by lower-case name with tag."""

    taken: float
    version: str
    models: dict[str, Installed]


@dataclass(frozen=True, slots=True)
class _Described:
    """A model's identity, and the list entry and server version from which it was read."""

    entry: Installed
    version: str
    identity: ModelIdentity


class OllamaRuntime:
    """The models of one Ollama server; `keep_alive` is how long it keeps a model loaded after a call by default.

    `host` is an address or has one of the forms of `OLLAMA_HOST`, and `variable` is where it was set. Raises
    `InputError` when it is not a valid address.
    """

    def __init__(
        self,
        host: str | ServerAddress,
        keep_alive: str = "10m",
        api_key: str | None = None,
        variable: str = "BENCH_OLLAMA_HOST",
    ) -> None:
        try:
            address = host if isinstance(host, ServerAddress) else parse_ollama_host(host)
        except InputError as error:
            raise InputError(f"{variable} {error}") from None
        self._server = Server(
            ollama_client(address, api_key),
            if_down=f"no Ollama server answers at {{address}}; start it (ollama serve) or set {variable}",
            if_missing="{model} is not installed on the Ollama server at {address}; run `ollama pull {model}`",
            if_denied="BENCH_OLLAMA_API_KEY, or USER:PASSWORD@ in BENCH_OLLAMA_HOST or BENCH_OLLAMA_HOSTS, is sent to "
            "the servers named there only",
        )
        self._keep_alive = keep_alive
        self._eviction = Eviction(self._server.address)
        self._listing: _Listing | None = None
        self._described: dict[str, _Described] = {}
        self._accelerated: bool | None = None
        self._loaded_early: dict[str, int] = {}  # the model that the survey loaded, and the nanoseconds

    def describe(self, model: ModelRef) -> ModelIdentity:
        """Return the identity of `model` without loading it. Raises `RuntimeFailure`, `not_found` if not installed."""
        listing = self._list()
        entry = listing.models.get(_key(model.address))
        if entry is None:
            raise self._server.missing(model.address)
        known = self._described.get(model.address)
        if known is not None and (known.entry, known.version) == (entry, listing.version):
            return known.identity  # the digest covers template and parameters
        body = {"model": entry.name}
        answer = self._server.exchange("POST", "/api/show", model.address, QUESTION_LIMIT_S, body)
        identity = _identity(model, entry, self._server.read(Shown, answer.body, model.address), listing.version)
        self._described[model.address] = _Described(entry, listing.version, identity)
        return identity

    def installed(self) -> list[str]:
        """Return the names of the models on the server. Raises `RuntimeFailure`."""
        return sorted(entry.name for entry in self._list().models.values())

    def refusal(self, terms: Protocol) -> str | None:
        """Return which option the server would ignore silently: one that it does not know, or a grammar."""
        if terms.decoding.grammar is not None:
            return "Ollama has no grammar; constrain the reply by decoding.json_schema"
        return unknown_options(terms.decoding, OPTIONS, "Ollama")

    def load(self, model: ModelRef, decoding: DecodingOptions, time_limit_s: float) -> LoadReport:
        """Unload every other model, then load this one with the context that `decoding` asks for.

        Raises `RuntimeFailure`: `unsupported` when another model stays loaded.
        """
        ends = time.monotonic() + time_limit_s
        self._eviction.run(model.address, lambda: self._others(model), self._release, time_limit_s)
        early, self._loaded_early = self._loaded_early, {}
        if model.address in early and (here := self.placement(model)).context_length == decoding.num_ctx:
            return LoadReport(load_ns=early[model.address], **here.model_dump())
        body = load_body(model.address, decoding, self._keep_alive)
        answer = self._exchange("chat", model, body, _until(ends))
        self._parts(answer, model)
        return LoadReport(load_ns=answer.elapsed_ns, **self.placement(model).model_dump())

    def call(self, model: ModelRef, request: Request, decoding: DecodingOptions, time_limit_s: float) -> Reply:
        """Send the request; the whole reply must arrive within `time_limit_s` seconds.

        A reply that ends without the server's `done` is returned, not complete. Raises `RuntimeFailure`.
        """
        body = call_body(self._known(model), request, decoding, self._keep_alive)
        answer = self._exchange(decoding.endpoint, model, body, time_limit_s, quote_errors=False)
        return reply_of(self._parts(answer, model, quote_errors=False), answer.elapsed_ns)

    def wire(self, model: ModelRef, request: Request, decoding: DecodingOptions) -> WireRequest:
        """Return what `call` sends. Raises `RuntimeFailure`: whether the model thinks is a question to the server."""
        body = call_body(self._known(model), request, decoding, self._keep_alive)
        return self._server.wire(PATHS[decoding.endpoint], body, "OLLAMA_API_KEY")

    def survey(self, first: ModelRef, smallest: ModelRef | None, terms: Protocol, has_gpu: bool) -> bool | None:
        """Return whether the server has an accelerator: no request tells, only where a loaded model is.

        The first model may be on the CPU because it is too large, so the smallest of the others is tried as well.
        Raises `RuntimeFailure`.
        """
        if has_gpu:
            self._accelerated = True
        self.placement(first)
        for model in (first, smallest):
            if model is not None and not self._accelerated:
                report = self.load(model, terms.decoding, terms.load_time_limit_s)
                self._loaded_early = {model.address: report.load_ns}
        self._accelerated = bool(self._accelerated)
        return self._accelerated

    def placement(self, model: ModelRef) -> Placement:
        """Return where the loaded model is, and which other models are in memory. Raises `RuntimeFailure`."""
        residents = self._residents(model)
        if any(entry.size_vram for entry in residents):
            self._accelerated = True
        others = tuple(entry.name for entry in residents if not self._is_same(entry, model))
        mine = next((entry for entry in residents if self._is_same(entry, model)), None)
        if mine is None:
            return Placement(others=others, accelerated=self._accelerated)
        return Placement(
            memory_bytes=mine.size,
            vram_bytes=mine.size_vram,
            context_length=mine.context_length,
            others=others,
            accelerated=self._accelerated,
        )

    def activity(self, limit_s: float) -> Activity:
        """Return when each loaded model would be unloaded, which moves when it is used. Raises `RuntimeFailure`."""
        answer = self._server.exchange("GET", "/api/ps", "Ollama", limit_s)
        return self._server.read(Residents, answer.body, "Ollama").activity

    def unload(self, model: ModelRef) -> None:
        """Ask the server to unload the model, which it does shortly after. Raises `RuntimeFailure`."""
        self._release(model.address, QUESTION_LIMIT_S)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _list(self) -> _Listing:
        # Describing 200 models in a row lists them once. A load, call or unload drops the list, so the identity
        # check after a model's run reads a new one.
        listing = self._listing
        if listing is None or time.monotonic() - listing.taken > _LISTING_AGE_S:
            taken = time.monotonic()
            ends = taken + LISTING_LIMIT_S
            version = self._server.read(Version, self._get("/api/version", ends), "Ollama")
            tags = self._server.read(Tags, self._get("/api/tags", ends), "Ollama")
            models = {_key(entry.name): entry for entry in tags.models or []}
            listing = self._listing = _Listing(taken, version.version, models)
        return listing

    def _get(self, path: str, ends: float) -> bytes:
        try:
            return self._server.exchange("GET", path, "Ollama", _until(ends)).body
        except RuntimeFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise
            text = f"the server at {self._server.address} is not an Ollama server: it has no {path}"
            raise RuntimeFailure(FailureKind.UNAVAILABLE, text) from failure

    def _known(self, model: ModelRef) -> ModelIdentity:
        known = self._described.get(model.address)
        return known.identity if known else self.describe(model)

    def _exchange(
        self, endpoint: Endpoint, model: ModelRef, body: dict[str, Any], limit_s: float, quote_errors: bool = True
    ) -> Answer:
        self._listing = None
        return self._server.exchange("POST", PATHS[endpoint], model.address, limit_s, body, quote_errors)

    def _parts(self, answer: Answer, model: ModelRef, quote_errors: bool = True) -> list[tuple[Part, int]]:
        """Return the parts of a reply, each with the nanoseconds from sending to its arrival."""
        lines = [(line, ns) for line, ns in answer.lines() if line.strip()]
        return [(self._server.read(Part, line, model.address, quote_errors), ns) for line, ns in lines]

    def _release(self, name: str, limit_s: float) -> None:
        ref = ModelRef(RuntimeKind.OLLAMA, name)
        body = {"model": name, "messages": [], "stream": False, "keep_alive": 0}
        try:
            self._parts(self._exchange("chat", ref, body, limit_s), ref)
        except RuntimeFailure as failure:
            # A model that is not installed holds no memory.
            if failure.kind is not FailureKind.NOT_FOUND:
                raise

    def _residents(self, model: ModelRef) -> list[Resident]:
        answer = self._server.exchange("GET", "/api/ps", model.address, QUESTION_LIMIT_S)
        return self._server.read(Residents, answer.body, model.address).models or []

    def _is_same(self, resident: Resident, model: ModelRef) -> bool:
        # Two names of one manifest share a runner, which the server lists under the first name only.
        digest = self._known(model).digest
        return _key(resident.name) == _key(model.address) or (digest is not None and resident.digest == digest)

    def _others(self, model: ModelRef) -> list[str]:
        return list(self.placement(model).others)


def _until(moment: float) -> float:
    return max(moment - time.monotonic(), 0.0)


def _key(name: str) -> str:
    """Return a name as Ollama compares it: lower case, with a tag."""
    lower = name.lower()
    return lower if ":" in lower.rsplit("/", 1)[-1] else f"{lower}:latest"


def _identity(model: ModelRef, entry: Installed, shown: Shown, version: str) -> ModelIdentity:
    context_length = entry.details.context_length
    for key, value in (shown.model_info or {}).items():
        if key.endswith(".context_length") and isinstance(value, int):
            context_length = value
    return ModelIdentity(
        name=model.address,
        runtime=RuntimeKind.OLLAMA.value,
        runtime_version=version,
        digest=entry.digest,
        size_bytes=entry.size,
        family=entry.details.family,
        parameter_size=entry.details.parameter_size,
        quantization=entry.details.quantization_level,
        context_length=context_length,
        template_hash=_template_hash(shown),
        capabilities=tuple(shown.capabilities or entry.capabilities or ()),
        remote=_is_remote(entry),
    )


def _template_hash(shown: Shown) -> str:
    # Ollama returns the parameters in random order.
    parameters = sorted(shown.parameters.splitlines())
    return content_hash({"template": shown.template, "parameters": parameters, "system": shown.system})


def _is_remote(entry: Installed) -> bool:
    names_cloud = _key(entry.name).endswith((":cloud", "-cloud"))
    return names_cloud or bool(entry.remote_host or entry.remote_model)
