"""Models of an OpenAI-compatible server: `/chat/completions` and `/models`, nothing vendor-specific.

The API says little about a model's identity and has no request to load or unload one. Sending requests is in
deadline.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import httpx
from pydantic import BaseModel, NonNegativeInt

from bench_pipeline.domain.errors import FailureKind, InputError, RuntimeFailure
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.reply import Reply, ServerTimings
from bench_pipeline.domain.models.request import Request, user_request
from bench_pipeline.runtimes.deadline import Server, TotalTimeoutTransport, bad_response, error_in
from bench_pipeline.runtimes.wire import WireRequest

_QUESTION_LIMIT_S = 30.0


class _Listed(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Listed] | None = None


class _Delta(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    message: _Delta | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> _Delta:
        """A piece of the reply; all of it from a server that does not stream."""
        return self.message or self.delta


class _PromptDetails(BaseModel):
    cached_tokens: NonNegativeInt | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


class OpenAICompatibleRuntime:
    """The models of one server at `base_url`, which usually ends in `/v1`.

    The context window is fixed by the server; `num_ctx` is what its operator states. Raises `RuntimeFailure`,
    `unsupported` when `base_url` is not a valid address, and `InputError` for an unusable key.
    """

    def __init__(self, base_url: str, api_key: str | None, num_ctx: int | None = None) -> None:
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise InputError(
                f"the API key for {base_url} contains characters that HTTP headers cannot carry; "
                "correct BENCH_OPENAI_API_KEY"
            )
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
        )

    def describe(self, model: ModelRef) -> ModelIdentity:
        """Return the identity of `model`, which is only its name: the API gives nothing more.

        Raises `RuntimeFailure`, `not_found` when the server lists its models without this one.
        """
        names = self._listed_names(model)
        if names and model.address not in names:
            raise self._server.missing(model.address)
        return ModelIdentity(name=model.address, runtime=RuntimeKind.OPENAI_COMPATIBLE.value)

    def refusal(self, terms: Protocol) -> str | None:
        """Return why the terms are not supported: the context window is unknown or too small, or cold runs."""
        asked = terms.decoding.num_ctx
        if self._num_ctx is None:
            return (
                f"num_ctx {asked} cannot be requested from an OpenAI-compatible server; start it with that context "
                f"and set BENCH_OPENAI_NUM_CTX={asked}"
            )
        if self._num_ctx < asked:
            return f"num_ctx {asked} exceeds the server's {self._num_ctx} (BENCH_OPENAI_NUM_CTX)"
        if terms.cache_regime == "cold":
            return "an OpenAI-compatible server cannot unload a model; set BENCH_CACHE_REGIME=as_production"
        return None

    def load(self, model: ModelRef, decoding: DecodingOptions, time_limit_s: float) -> LoadReport:
        """Request one token, so that the server loads the model. Raises `RuntimeFailure`."""
        one_token = decoding.model_copy(update={"num_predict": 1, "json_schema": None})
        return LoadReport(load_ns=self.call(model, user_request("Hello"), one_token, time_limit_s).elapsed_ns)

    def call(self, model: ModelRef, request: Request, decoding: DecodingOptions, time_limit_s: float) -> Reply:
        """Send the request; the whole reply must arrive within `time_limit_s` seconds.

        A reply without a `finish_reason` is returned, not complete. Raises `RuntimeFailure`.
        """
        name = model.address
        body = _body(name, request, decoding)
        answer = self._server.exchange("POST", "/chat/completions", name, time_limit_s, body, quote_errors=False)
        return _reply(self._chunks(answer.body, name), answer.elapsed_ns)

    def wire(self, model: ModelRef, request: Request, decoding: DecodingOptions) -> WireRequest:
        """Return what `call` sends."""
        return self._server.wire("/chat/completions", _body(model.address, request, decoding), "OPENAI_API_KEY")

    def placement(self, model: ModelRef) -> Placement:  # noqa: ARG002 - the same for every model
        """Return the context window that the operator states; the API gives nothing more."""
        return Placement(context_length=self._num_ctx)

    def survey(self, first: ModelRef, smallest: ModelRef | None, terms: Protocol, has_gpu: bool) -> bool | None:  # noqa: ARG002
        """Return None: where a model is loaded is not told."""
        return None

    def unload(self, model: ModelRef) -> None:
        """Do nothing: the API has no request for it, and such servers usually serve a single model."""

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _listed_names(self, model: ModelRef) -> set[str]:
        try:
            answer = self._server.exchange("GET", "/models", model.address, _QUESTION_LIMIT_S)
        except RuntimeFailure as failure:
            # A server without this route may still answer calls.
            if failure.kind is not FailureKind.NOT_FOUND:
                raise
            return set()
        return {entry.id for entry in self._server.read(_Models, answer.body, model.address).data or []}

    def _chunks(self, body: bytes, name: str) -> list[_Chunk]:
        """Return the pieces of a reply; a server that does not stream sends a single one. Raises `RuntimeFailure`."""
        if body.lstrip().startswith(b"{"):
            return [self._server.read(_Chunk, body, name, quote_errors=False)]
        events = list(_events(body))
        if body.strip() and not events:
            raise bad_response(name, "is not an event stream")
        for kind, data in events:
            if kind == b"error":
                raise self._server.reported(name, error_in(data, known=True) or "", quote=False)
        return [self._server.read(_Chunk, data, name, quote_errors=False) for _, data in events if data != b"[DONE]"]


def _events(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each event's name, empty without one, and its data."""
    kind = b""
    for line in body.splitlines():
        field, _, value = line.partition(b":")
        if field == b"event":
            kind = value.strip()
        elif field == b"data":
            yield kind, value.strip()
        elif not line:
            kind = b""


def _body(name: str, request: Request, decoding: DecodingOptions) -> dict[str, object]:
    body: dict[str, object] = {
        "model": name,
        "messages": [message.model_dump() for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": decoding.num_predict,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
    }
    if decoding.json_schema is not None:
        schema = {"name": "reply", "strict": True, "schema": decoding.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _reply(chunks: list[_Chunk], elapsed_ns: int) -> Reply:
    choices = [choice for chunk in chunks for choice in chunk.choices or []]
    finish = next((choice.finish_reason for choice in choices if choice.finish_reason), None)
    return Reply(
        text="".join(choice.said.content or "" for choice in choices),
        elapsed_ns=elapsed_ns,
        complete=finish is not None,
        done_reason=finish or "unfinished",
        thinking="".join(choice.said.reasoning_content or choice.said.reasoning or "" for choice in choices),
        timings=_timings(next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)),
    )


def _timings(usage: _Usage | None) -> ServerTimings:
    if usage is None:
        return ServerTimings()
    details = usage.prompt_tokens_details
    return ServerTimings(
        prompt_tokens=usage.prompt_tokens,
        cached_prompt_tokens=details.cached_tokens if details else None,
        generated_tokens=usage.completion_tokens,
    )
