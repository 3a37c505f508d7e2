"""Models of an OpenAI-compatible server: vLLM, llama.cpp's server, LM Studio, LiteLLM and others.

The API says little about a model's identity and has no request to load or unload one; where a server has routes of its
own for that, they are in openai_memory.py. The JSON is in openai_wire.py, what each server understands in
openai_servers.py, sending requests in deadline.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

import httpx

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import Request, user_request
from bench_pipeline.runtimes.activity import Activity
from bench_pipeline.runtimes.deadline import (
    LISTING_LIMIT_S,
    QUESTION_LIMIT_S,
    Answer,
    Server,
    TotalTimeoutTransport,
)
from bench_pipeline.runtimes.eviction import Eviction
from bench_pipeline.runtimes.failures import bad_response, error_in
from bench_pipeline.runtimes.openai_memory import Handles, Loaded, Memory
from bench_pipeline.runtimes.openai_servers import UNRECOGNISED, Listed, OpenAIServer, recognised
from bench_pipeline.runtimes.openai_wire import PATHS, Chunk, Models, call_body, events, reply_of
from bench_pipeline.runtimes.wire import WireRequest, check_key

_LISTING_AGE_S = 1.0
_LIST = "the list of models"
# What servers answer on a path that is not theirs: 404, an error with status 200, a web page.
_WRONG_PATH = (FailureKind.NOT_FOUND, FailureKind.SERVER_ERROR, FailureKind.BAD_RESPONSE, FailureKind.UNSUPPORTED)


@dataclass(frozen=True, slots=True)
class _Listing:
    """What the server listed at the time `taken`."""

    taken: float
    models: list[Listed]


class OpenAICompatibleRuntime:
    """The models of one server at `base_url`, which usually ends in `/v1`.

    The context window is fixed by the server; `num_ctx` is what its operator states. Raises `RuntimeFailure`,
    `unsupported` when `base_url` is not a valid address, and `InputError` for an unusable key.
    """

    def __init__(self, base_url: str, api_key: str | None, num_ctx: int | None = None) -> None:
        check_key(api_key, "BENCH_OPENAI_API_KEY")
        headers = {"Content-Type": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        try:
            http = httpx.Client(
                base_url=base_url,
                headers=headers,
                transport=TotalTimeoutTransport(tls=base_url.startswith("https://")),
                trust_env=False,  # HTTP_PROXY must never see a private address.
            )
        except httpx.InvalidURL as error:
            text = f"{base_url} is not a valid address; write openai:http://HOST:PORT/v1#MODEL"
            raise RuntimeFailure(FailureKind.UNSUPPORTED, text) from error
        self._num_ctx = num_ctx
        self._server = Server(
            http,
            if_down="no OpenAI-compatible server answers at {address}; start it or correct the address",
            if_missing="{model} is not served at {address}; use a name that {address}/models lists",
            if_denied="set BENCH_OPENAI_API_KEY to a key that the server knows",
        )
        self._root = self._server.address.removesuffix("/v1")
        self._kind: OpenAIServer | None = None
        self._listing: _Listing | None = None
        self._eviction = Eviction(self._server.address)
        self._without_usage: set[str] = set()
        self._lacks_memory = False

    def describe(self, model: ModelRef) -> ModelIdentity:
        """Return the identity of `model`, which is only its name: the API gives nothing more.

        Raises `RuntimeFailure`, `not_found` when the server lists its models without this one, `unsupported` when the
        API is below another path of the address.
        """
        listed = self._listed(model)
        if listed and not _covers(listed, model.address) and not _covers(self._patterns(), model.address):
            raise self._server.missing(model.address)
        return ModelIdentity(name=model.address, runtime=RuntimeKind.OPENAI_COMPATIBLE.value)

    def refusal(self, terms: Protocol) -> str | None:
        """Return why the terms are not supported: the decoding, the context window, or cold runs."""
        server = self._kind or UNRECOGNISED
        if refused := server.refusal(terms.decoding):
            return refused
        asked = terms.decoding.num_ctx
        if self._num_ctx is None:
            return (
                f"num_ctx {asked} cannot be requested from an OpenAI-compatible server; start it with that context "
                f"and set BENCH_OPENAI_NUM_CTX={asked}"
            )
        if self._num_ctx < asked:
            return f"num_ctx {asked} exceeds the server's {self._num_ctx} (BENCH_OPENAI_NUM_CTX)"
        return self._refusal_of_cold_runs(server) if terms.cache_regime == "cold" else None

    def load(self, model: ModelRef, decoding: DecodingOptions, time_limit_s: float) -> LoadReport:
        """Unload every other model where the server can, then request one token, so that this one is loaded.

        A server that refuses to count the tokens of a stream is not asked for them again. Raises `RuntimeFailure`.
        """
        ends = time.monotonic() + time_limit_s
        self._make_room(model, ends)
        one_token = decoding.model_copy(update={"num_predict": 1, "json_schema": None, "format": None, "grammar": None})
        begun = time.perf_counter_ns()
        try:
            self._first_token(model, one_token, ends)
        except RuntimeFailure as failure:
            if failure.kind is FailureKind.NOT_FOUND and (elsewhere := self._elsewhere(model, ends)):
                raise elsewhere from failure
            if "stream_options" not in str(failure) or model.address in self._without_usage:
                raise
            self._without_usage.add(model.address)
            begun = time.perf_counter_ns()
            self._first_token(model, one_token, ends)
        return LoadReport(load_ns=time.perf_counter_ns() - begun, **self.placement(model).model_dump())

    def call(self, model: ModelRef, request: Request, decoding: DecodingOptions, time_limit_s: float) -> Reply:
        """Send the request; the whole reply must arrive within `time_limit_s` seconds.

        A reply without a `finish_reason` is returned, not complete. Raises `RuntimeFailure`.
        """
        return self._call(model, request, decoding, time_limit_s, quote_errors=False)

    def wire(self, model: ModelRef, request: Request, decoding: DecodingOptions) -> WireRequest:
        """Return what `call` sends. Raises `RuntimeFailure`: what the server understands is a question to it."""
        return self._server.wire(PATHS[decoding.endpoint], self._body(model, request, decoding), "OPENAI_API_KEY")

    def placement(self, model: ModelRef) -> Placement:
        """Return the context that the operator states and, where the server tells, the other models in memory.

        Raises `RuntimeFailure`.
        """
        return Placement(context_length=self._num_ctx, others=tuple(self._others(model)))

    def survey(self, first: ModelRef, smallest: ModelRef | None, terms: Protocol, has_gpu: bool) -> bool | None:  # noqa: ARG002
        """Return None: where a model is loaded is not told."""
        return None

    def activity(self, limit_s: float) -> Activity:
        """Return how many requests the server has, where it tells. Raises `RuntimeFailure`."""
        ends = time.monotonic() + limit_s
        if self._kind is None:
            self._kind = recognised(self._asked_list("/models", ends) or [])
        queue = self._kind.queue
        if queue is None:
            return Activity()
        answer = self._server.exchange("GET", f"{self._root}{queue.route}", "the queue", _until(ends))
        return queue.read(answer.body)

    def unload(self, model: ModelRef) -> None:
        """Ask the server to unload the model; does nothing where it cannot. Raises `RuntimeFailure`."""
        memory = self._memory
        if memory is None:
            return
        loaded = self._handles(memory)
        own = [handle for handle, name in loaded.items() if model.address in (handle, name)]
        for handle in own or loaded:  # an alias is not among the names
            self._release(memory, handle, QUESTION_LIMIT_S)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The list of models, and what it says about the server

    def _listed(self, model: ModelRef) -> list[Listed]:
        listing = self._listing
        if listing is None or time.monotonic() - listing.taken > _LISTING_AGE_S:
            taken = time.monotonic()
            models = self._list(model, taken + LISTING_LIMIT_S)
            self._kind = recognised(models)
            listing = self._listing = _Listing(taken, models)
        return listing.models

    def _list(self, model: ModelRef, ends: float) -> list[Listed]:
        try:
            return self._asked_list("/models", ends) or []
        except RuntimeFailure as failure:
            if failure.kind in _WRONG_PATH and (elsewhere := self._elsewhere(model, ends)):
                raise elsewhere from failure
            # A server without this route may still answer calls.
            if failure.kind is not FailureKind.NOT_FOUND:
                raise
            return []

    def _asked_list(self, path: str, ends: float) -> list[Listed] | None:
        answer = self._server.exchange("GET", path, _LIST, _until(ends))
        return self._server.read(Models, answer.body, _LIST).data

    def _patterns(self) -> list[Listed]:
        path = self._kind.patterns if self._kind else None
        return (self._asked_list(path, time.monotonic() + LISTING_LIMIT_S) or []) if path else []

    def _elsewhere(self, model: ModelRef, ends: float) -> RuntimeFailure | None:
        """Return the failure for an address that lacks the `/v1` below which its server has the API."""
        address = self._server.address
        if address != self._root:
            return None
        try:
            if self._asked_list("/v1/models", ends) is None:
                return None
        except RuntimeFailure:
            return None
        text = f"{address} is not the address of an API; write openai:{address}/v1#{model.address}"
        return RuntimeFailure(FailureKind.UNSUPPORTED, text)

    def _known(self, model: ModelRef) -> OpenAIServer:
        if self._kind is None:
            self._listed(model)
        return self._kind or UNRECOGNISED

    # Calls

    def _body(self, model: ModelRef, request: Request, decoding: DecodingOptions) -> dict[str, object]:
        server, name = self._known(model), model.address
        if request.suffix and not server.suffix:
            text = f"{name}: {server.name} does not take a text after the reply; remove prompt.suffix"
            raise RuntimeFailure(FailureKind.UNSUPPORTED, text)
        return call_body(server, name, request, decoding, counts_tokens=name not in self._without_usage)

    def _call(
        self, model: ModelRef, request: Request, decoding: DecodingOptions, limit_s: float, quote_errors: bool
    ) -> Reply:
        body = self._body(model, request, decoding)
        self._listing = None
        path = PATHS[decoding.endpoint]
        answer = self._server.exchange("POST", path, model.address, limit_s, body, quote_errors)
        return reply_of(self._chunks(answer, model.address), answer.elapsed_ns)

    def _first_token(self, model: ModelRef, decoding: DecodingOptions, ends: float) -> None:
        self._call(model, user_request("Hello"), decoding, _until(ends), quote_errors=True)

    def _chunks(self, answer: Answer, name: str) -> list[tuple[Chunk, int]]:
        """Return the pieces of a reply; a server that does not stream sends a single one. Raises `RuntimeFailure`."""
        if answer.body.lstrip().startswith(b"{"):
            return [(self._server.read(Chunk, answer.body, name, quote_errors=False), answer.elapsed_ns)]
        found = list(events(answer))
        if answer.body.strip() and not found:
            raise bad_response(name, "is not an event stream")
        for kind, data, _ in found:
            if kind == "error":
                raise self._server.reported(name, error_in(data, known=True) or "", quote=False)
        return [
            (self._server.read(Chunk, data, name, quote_errors=False), arrived_ns)
            for _, data, arrived_ns in found
            if data != b"[DONE]"
        ]

    # The server's memory

    @property
    def _memory(self) -> Memory | None:
        return self._kind.memory if self._kind and not self._lacks_memory else None

    def _refusal_of_cold_runs(self, server: OpenAIServer) -> str | None:
        remedy = "set BENCH_CACHE_REGIME=as_production"
        if server.memory is None:
            return f"{server.name} cannot unload a model; {remedy}"
        try:
            self._handles(server.memory)
        except RuntimeFailure as failure:
            return f"{server.name} does not tell which models are loaded: {failure}; {remedy}"
        return None

    def _handles(self, memory: Memory) -> Handles:
        path = f"{self._root}{memory.listing}"
        answer = self._server.exchange("GET", path, "the list of loaded models", QUESTION_LIMIT_S)
        return memory.handles(self._server.read(Loaded, answer.body, "the list of loaded models"))

    def _others(self, model: ModelRef) -> list[str]:
        memory = self._memory
        loaded = self._handles(memory) if memory else {}
        return [handle for handle, name in loaded.items() if model.address not in (handle, name)]

    def _release(self, memory: Memory, handle: str, limit_s: float) -> None:
        path, body = memory.release(handle)
        self._listing = None
        self._server.exchange("POST", f"{self._root}{path}", handle, limit_s, body)

    def _make_room(self, model: ModelRef, ends: float) -> None:
        self._known(model)
        memory = self._memory
        if memory is None:
            return
        try:
            self._handles(memory)
        except RuntimeFailure as failure:
            if failure.kind not in _WRONG_PATH:
                raise
            self._lacks_memory = True  # an older version of the server, before it had these routes
            return
        self._eviction.run(
            model.address,
            lambda: self._others(model),
            lambda handle, limit_s: self._release(memory, handle, limit_s),
            _until(ends),
        )
        if memory.select is not None and not self._handles(memory):
            path, body = memory.select(model.address)
            self._server.exchange("POST", f"{self._root}{path}", model.address, _until(ends), body)


def _until(moment: float) -> float:
    return max(moment - time.monotonic(), 0.0)


def _covers(listed: Sequence[Listed], name: str) -> bool:
    """Whether one of the listed names is this one, or a pattern such as `openai/*` that covers it."""
    return any(one.id == name or ("*" in one.id and fnmatchcase(name, one.id)) for one in listed)
