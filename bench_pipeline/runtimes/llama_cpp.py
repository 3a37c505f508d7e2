"""GGUF models in this process, through xllamacpp, one at a time. Finding the weights is in catalogue.py.

The binding is heavy and not needed to identify a model, so it is imported when the first model is loaded.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from pydantic import BaseModel, ValidationError

from bench_pipeline.domain.errors import FailureKind, InputError, RuntimeFailure
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.reply import Reply, ServerTimings
from bench_pipeline.domain.models.request import Request
from bench_pipeline.runtimes.activity import Activity
from bench_pipeline.runtimes.catalogue import Catalogue
from bench_pipeline.runtimes.gguf import GgufHead, read_head
from bench_pipeline.runtimes.llama_timings import LlamaTimings
from bench_pipeline.runtimes.wire import LLAMA_CPP_OPTIONS, WireRequest, encoded, thinking_arguments, unknown_options

# llama.cpp computes 512 tokens at a time whatever the batch size; with a batch of 512 it reports after each step.
_PROMPT_BATCH_TOKENS = 512
_IDLE_POLL_S = 0.005
_INTERRUPT_POLL_S = 0.5
_PROCESSING = re.compile(r"^llamacpp:requests_processing (\d+)", re.MULTILINE)


class _Delta(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Error(BaseModel):
    code: int = 500
    type: str = ""
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    timings: LlamaTimings | None = None
    error: _Error | None = None


class _Stream:
    """Collects the chunks of one reply, each with the nanoseconds from sending to its arrival.

    Stops llama.cpp at the deadline or when the caller gave up.
    """

    def __init__(self, deadline_ns: int) -> None:
        self.chunks: list[tuple[object, int]] = []
        self.begun_ns = 0
        self.late = False
        self.abandoned = False
        self._deadline_ns = deadline_ns

    def __call__(self, chunk: object) -> bool:
        now_ns = time.perf_counter_ns()
        self.chunks.append((chunk, now_ns - self.begun_ns))
        self.late = now_ns > self._deadline_ns
        return self.late or self.abandoned


class LlamaCppRuntime:
    """The models of `catalogue`, run in this process by llama.cpp on `threads` threads (None: its own choice).

    Loading cannot be interrupted. A call can be interrupted only between steps of up to 512 prompt tokens or one
    reply token, so it may exceed its limit by one step before it fails. If llama.cpp aborts, for example out of
    memory, this process ends.
    """

    def __init__(self, catalogue: Catalogue, threads: int | None = None) -> None:
        self._catalogue = catalogue
        self._threads = threads
        # Only used through the attribute: a local variable would survive in tracebacks and keep the memory.
        self._server: Any = None
        self._loaded: tuple[str, int] | None = None
        self._placement = Placement()

    def describe(self, model: ModelRef) -> ModelIdentity:
        """Return the identity from the model's file. Raises kind `not_found` or, for a broken file, `server_error`."""
        path, head = self._file_of(model)
        return ModelIdentity(
            name=model.address,
            runtime=RuntimeKind.LLAMA_CPP.value,
            runtime_version=f"xllamacpp {_binding_version()}",
            digest=self._catalogue.digest(path),
            size_bytes=path.stat().st_size,
            family=head.architecture,
            parameter_size=head.parameter_size,
            quantization=head.quantization,
            context_length=head.context_length,
            template_hash=head.template_hash,
            capabilities=("embedding",) if head.embeds else ("completion",),
        )

    def refusal(self, terms: Protocol) -> str | None:
        """Return which term this runtime does not support: an unknown option, or a prompt without messages."""
        if terms.decoding.endpoint == "generate":
            return "llama.cpp in this process takes messages; set decoding.endpoint: chat, or use a llama.cpp server"
        return unknown_options(terms.decoding, LLAMA_CPP_OPTIONS, "llama.cpp")

    def load(self, model: ModelRef, decoding: DecodingOptions, time_limit_s: float) -> LoadReport:
        """Unload the model in memory and load this one; `memory_bytes` is how much this process grew.

        Raises kind `server_error` when llama.cpp refuses the file, `deadline` when loading took longer than
        `time_limit_s` seconds; the model is unloaded again in that case.
        """
        path, head = self._file_of(model)
        binding = _binding()
        self.close()
        process = psutil.Process()
        memory_before, begun = process.memory_info().rss, time.perf_counter_ns()
        try:
            self._server = binding.Server(self._parameters(binding, path, decoding.num_ctx))
            # xllamacpp 2026.10 hangs when a server is dropped before its loop runs; an answer shows that it runs.
            self._server.handle_completions({"prompt": "a", "n_predict": 1})
        except RuntimeError as error:
            raise RuntimeFailure(
                FailureKind.SERVER_ERROR,
                f"{model.address}: llama.cpp cannot load it: it is damaged, of a kind that xllamacpp "
                f"{_binding_version()} does not know, or too large with num_ctx {decoding.num_ctx}",
            ) from error
        self._wait_until_idle()
        load_ns = time.perf_counter_ns() - begun
        if load_ns > time_limit_s * 1e9:
            self.close()
            raise RuntimeFailure(
                FailureKind.DEADLINE,
                f"{model.address}: loading took {load_ns / 1e9:.1f} s, the limit is {time_limit_s:.1f} s",
            )
        self._loaded = (model.address, decoding.num_ctx)
        self._placement = Placement(
            memory_bytes=max(process.memory_info().rss - memory_before, 0),
            context_length=min(decoding.num_ctx, head.context_length or decoding.num_ctx),
        )
        return LoadReport(load_ns=load_ns, **self._placement.model_dump())

    def call(self, model: ModelRef, request: Request, decoding: DecodingOptions, time_limit_s: float) -> Reply:
        """Send the request; a model that is not loaded is loaded before the clock starts.

        Raises kind `deadline` when the reply is not complete within `time_limit_s` seconds, but only once llama.cpp
        is idle, so that the next call is not slowed; `unsupported` when the prompt is longer than the context.
        """
        if self._loaded != (model.address, decoding.num_ctx):
            self.load(model, decoding, time_limit_s)
        stream = _Stream(time.perf_counter_ns() + int(time_limit_s * 1e9))
        elapsed_ns = self._exchange(model, _body(request, decoding), stream)
        if stream.late:
            self._wait_until_idle()
            raise RuntimeFailure(
                FailureKind.DEADLINE, f"{model.address}: no complete reply within {time_limit_s:.1f} s"
            )
        return _reply(model, stream.chunks, elapsed_ns)

    def wire(self, model: ModelRef, request: Request, decoding: DecodingOptions) -> WireRequest:  # noqa: ARG002
        """Return what `call` hands to llama.cpp in this process."""
        return WireRequest("", "", {}, encoded(_body(request, decoding)))

    def placement(self, model: ModelRef) -> Placement:  # noqa: ARG002 - there is one model at a time
        """Return the placement of the model in memory, which is the only one."""
        return self._placement

    def survey(self, first: ModelRef, smallest: ModelRef | None, terms: Protocol, has_gpu: bool) -> bool | None:  # noqa: ARG002
        """Return None: where a model is loaded is not told."""
        return None

    def activity(self, limit_s: float) -> Activity:  # noqa: ARG002
        """Return that nothing is known: no other process uses the models of this one."""
        return Activity()

    def unload(self, model: ModelRef) -> None:
        """Free the model's memory; does nothing when another model is loaded."""
        if self._loaded and self._loaded[0] == model.address:
            self.close()

    def close(self) -> None:
        """Free the model in memory, if any."""
        self._server = None
        self._loaded = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _file_of(self, model: ModelRef) -> tuple[Path, GgufHead]:
        try:
            path = self._catalogue.path_of(model.address)
            if path:
                return path, read_head(path)
        except InputError as error:
            raise RuntimeFailure(FailureKind.SERVER_ERROR, str(error)) from error
        remedy = (
            "`bench demo` downloads it"
            if model.address in self._catalogue.names()
            else "check the path, as in llama_cpp:/path/to/file.gguf"
        )
        raise RuntimeFailure(FailureKind.NOT_FOUND, f"{model.address}: is not on this machine; {remedy}")

    def _parameters(self, binding: Any, path: Path, num_ctx: int) -> Any:  # noqa: ANN401 - no stubs
        parameters = binding.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = num_ctx
        parameters.n_parallel = 1
        parameters.n_batch = _PROMPT_BATCH_TOKENS
        if self._threads:
            parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = self._threads
        # Disables the prompt cache (up to 8 GiB), which would answer repeated prompts from memory.
        parameters.cache_ram_mib = 0
        parameters.verbosity = 0
        parameters.endpoint_metrics = True
        # The binding always listens on a loopback port; a random key keeps others out.
        parameters.api_keys = [secrets.token_hex()]
        parameters.ui = False
        parameters.n_threads_http = 1
        return parameters

    def _exchange(self, model: ModelRef, request: dict[str, Any], stream: _Stream) -> int:
        """Run the request to its end, or until `stream` stops it; return its nanoseconds.

        It runs in a thread, because an interrupt (Ctrl-C) inside the binding's callback would be lost.
        """
        with ThreadPoolExecutor(max_workers=1) as pool:
            running = pool.submit(self._timed, request, stream)
            try:
                # Polls, because an interrupt just before the wait begins is only seen when the wait ends.
                while not wait([running], timeout=_INTERRUPT_POLL_S).done:
                    pass
                return running.result()
            except (RuntimeError, ValueError):
                # The binding's error quotes the request.
                raise RuntimeFailure(
                    FailureKind.UNSUPPORTED,
                    f"{model.address}: llama.cpp cannot read the request; check json_schema and the prompt's "
                    "characters",
                ) from None
            finally:
                stream.abandoned = True

    def _timed(self, request: dict[str, Any], stream: _Stream) -> int:
        stream.begun_ns = time.perf_counter_ns()
        self._server.handle_chat_completions(request, stream)
        return time.perf_counter_ns() - stream.begun_ns

    def _wait_until_idle(self) -> None:
        while (busy := _PROCESSING.search(self._server.handle_metrics())) and busy[1] != "0":
            time.sleep(_IDLE_POLL_S)


def _binding() -> Any:  # noqa: ANN401 - no stubs
    # Spinning threads drop from 45 tokens per second to 1 when another process uses the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        raise _no_binding() from error
    return xllamacpp


def _binding_version() -> str:
    try:
        return metadata.version("xllamacpp")
    except metadata.PackageNotFoundError as error:
        raise _no_binding() from error


def _no_binding() -> RuntimeFailure:
    return RuntimeFailure(
        FailureKind.UNAVAILABLE, "llama_cpp: xllamacpp cannot be imported; install it, or use models through Ollama"
    )


def _body(request: Request, decoding: DecodingOptions) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [message.model_dump() for message in request.messages],
        "max_tokens": decoding.num_predict,
        **{name: value for name in ("temperature", "seed") if (value := getattr(decoding, name)) is not None},
        **decoding.options,
        "cache_prompt": True,
        "stream": True,
        # Otherwise llama.cpp calls back only after reading the whole prompt, and cannot be stopped before.
        "return_progress": True,
    }
    if decoding.json_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": decoding.json_schema}}
    elif decoding.format is not None:
        body["response_format"] = {"type": "json_object"}
    elif decoding.grammar is not None:
        body["grammar"] = decoding.grammar
    if (think := thinking_arguments(decoding.think)) is not None:
        body["chat_template_kwargs"] = think
    return body


def _reply(model: ModelRef, chunks: Iterable[tuple[object, int]], elapsed_ns: int) -> Reply:
    try:
        read = [(_Chunk.model_validate(chunk), ns) for chunk, ns in chunks]
    except ValidationError:
        # The validation's own text quotes the reply.
        raise RuntimeFailure(
            FailureKind.BAD_RESPONSE, f"{model.address}: xllamacpp {_binding_version()} answers in an unknown format"
        ) from None
    if error := next((chunk.error for chunk, _ in read if chunk.error), None):
        raise _refusal(model, error)
    choices = [(choice, ns) for chunk, ns in read for choice in chunk.choices]
    finished = next((choice.finish_reason for choice, _ in choices if choice.finish_reason), None)
    timings = next((chunk.timings for chunk, _ in reversed(read) if chunk.timings), None)
    texts = [(text, ns) for choice, ns in choices if (text := choice.delta.content)]
    thinking = [(text, ns) for choice, ns in choices if (text := choice.delta.reasoning_content)]
    return Reply(
        text="".join(text for text, _ in texts),
        thinking="".join(text for text, _ in thinking),
        elapsed_ns=elapsed_ns,
        complete=finished is not None,
        done_reason=finished or "",
        # llama.cpp sends each token in a chunk of its own.
        timings=timings.server_timings(len(thinking) or None) if timings else ServerTimings(),
        first_token_ns=min((ns for _, ns in texts + thinking), default=None),
        first_text_ns=texts[0][1] if texts else None,
    )


def _refusal(model: ModelRef, error: _Error) -> RuntimeFailure:
    if error.type == "exceed_context_size_error":
        return RuntimeFailure(
            FailureKind.UNSUPPORTED,
            f"{model.address}: the prompt has {error.n_prompt_tokens} tokens, the context only {error.n_ctx}; raise "
            "decoding.num_ctx or shorten the prompt",
        )
    kind = FailureKind.UNSUPPORTED if error.code == 400 else FailureKind.SERVER_ERROR
    return RuntimeFailure(kind, f"{model.address}: llama.cpp answered {error.code} {error.type}")
