"""The JSON of OpenAI's API: what is sent for a call, and the shapes of the answers, streamed or whole.

Which server understands what is in openai_servers.py; sending it, and what follows from an answer, in
openai_compatible.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, NonNegativeInt

from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.reply import Reply, ServerTimings
from bench_pipeline.domain.models.request import Request
from bench_pipeline.runtimes.deadline import Answer
from bench_pipeline.runtimes.llama_timings import LlamaTimings
from bench_pipeline.runtimes.openai_servers import Listed, OpenAIServer
from bench_pipeline.runtimes.wire import thinking_arguments

PATHS = {"chat": "/chat/completions", "generate": "/completions"}
_EFFORTS = {"off": "none", "on": "medium"}
# What servers write for the endings that OpenAI calls `stop`, `length` and `content_filter`, in lower case.
_ENDINGS = {
    **dict.fromkeys(
        ("complete", "completed", "end", "end_turn", "eos", "eos_token", "stop_sequence", "stop_token"), "stop"
    ),
    **dict.fromkeys(("limit", "max_length", "max_new_tokens", "max_tokens", "model_length"), "length"),
    **dict.fromkeys(("refusal", "safety", "sensitive"), "content_filter"),
    **{word: word for word in ("stop", "length", "content_filter")},
}


class Models(BaseModel):
    """The answer of `/models`."""

    data: list[Listed] | None = None


class Said(BaseModel):
    """A piece of a reply; the names of its thinking differ between servers."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @property
    def answer(self) -> str:
        """The piece of the answer."""
        return self.content or ""

    @property
    def thinking(self) -> str:
        """The piece of thinking, under either name."""
        return self.reasoning_content or self.reasoning or ""


class Choice(BaseModel):
    """A reply or a piece of one: `delta` and `message` of a chat, `text` of a completion."""

    delta: Said | None = None
    message: Said | None = None
    text: str | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> Said:
        """The piece, or the whole reply from a server that does not stream."""
        return self.message or self.delta or Said(content=self.text)


class _PromptDetails(BaseModel):
    cached_tokens: NonNegativeInt | None = None


class _CompletionDetails(BaseModel):
    reasoning_tokens: NonNegativeInt | None = None


class Usage(BaseModel):
    """The tokens of a call."""

    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None
    reasoning_tokens: NonNegativeInt | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    @property
    def thinking_tokens(self) -> int | None:
        """The tokens of thinking; None where the server does not count them."""
        details = self.completion_tokens_details
        return (details.reasoning_tokens if details else None) or self.reasoning_tokens or None


class Chunk(BaseModel):
    """One event of a stream, or a whole answer."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    timings: LlamaTimings | None = None


def call_body(
    server: OpenAIServer, name: str, request: Request, decoding: DecodingOptions, counts_tokens: bool
) -> dict[str, Any]:
    """Return the body of a call; which path takes it says `PATHS`. `counts_tokens` asks for the usage."""
    optional = {"temperature": decoding.temperature, "seed": decoding.seed}
    body: dict[str, Any] = {
        "model": name,
        "stream": True,
        "max_tokens": decoding.num_predict,
        **{field: value for field, value in optional.items() if value is not None},
        **decoding.options,
    }
    if counts_tokens:
        body["stream_options"] = {"include_usage": True}
    if decoding.endpoint == "generate":
        body |= {"prompt": request.prompt} | ({"suffix": request.suffix} if request.suffix else {})
    else:
        body["messages"] = [message.model_dump() for message in request.messages]
        _add_thinking(body, server, decoding)
    _add_constraint(body, server, decoding)
    return body


def _add_thinking(body: dict[str, Any], server: OpenAIServer, decoding: DecodingOptions) -> None:
    think = decoding.think
    if (arguments := thinking_arguments(think)) is None:
        return
    match server.thinking:
        case "template":
            body["chat_template_kwargs"] = {**body.get("chat_template_kwargs", {}), **arguments}
        case "top_level":
            body |= arguments
        case "effort":
            body["reasoning_effort"] = _EFFORTS.get(think, think)
        case "levels" if think not in _EFFORTS:
            body["reasoning_effort"] = think


def _add_constraint(body: dict[str, Any], server: OpenAIServer, decoding: DecodingOptions) -> None:
    if decoding.json_schema is not None and server.schema is not None:
        schema = {"name": "reply", "strict": True, "schema": decoding.json_schema}
        body["response_format"] = {"type": "json_schema", server.schema: schema}
    elif decoding.format is not None:
        body["response_format"] = {"type": "json_object"}
    elif decoding.grammar is not None and server.grammar is not None:
        *outer, field = server.grammar
        place = body
        for name in outer:
            place = place.setdefault(name, {})
        place[field] = decoding.grammar


def events(answer: Answer) -> Iterator[tuple[str, bytes, int]]:
    """Yield each event of a stream: its name, empty without one, its data, and when it arrived, nanoseconds."""
    kind = ""
    for line, arrived_ns in answer.lines():
        field, _, value = line.partition(b":")
        if field == b"event":
            kind = value.strip().decode("utf-8", errors="replace")
        elif field == b"data":
            yield kind, value.strip(), arrived_ns
        elif not line:
            kind = ""


def reply_of(chunks: Sequence[tuple[Chunk, int]], elapsed_ns: int) -> Reply:
    """Return the reply that these chunks are, each with the nanoseconds from sending to its arrival."""
    choices = [(choice, ns) for chunk, ns in chunks for choice in chunk.choices or []]
    finish = next((choice.finish_reason for choice, _ in choices if choice.finish_reason), None)
    thinking = [(text, ns) for choice, ns in choices if (text := choice.said.thinking)]
    texts = [(text, ns) for choice, ns in choices if (text := choice.said.answer)]
    streamed = sum(bool(choice.said.thinking or choice.said.answer) for choice, _ in choices) > 1
    return Reply(
        text="".join(text for text, _ in texts),
        elapsed_ns=elapsed_ns,
        complete=finish is not None,
        done_reason=_ENDINGS.get(finish.lower(), finish) if finish else "unfinished",
        thinking="".join(text for text, _ in thinking),
        # Most servers send each token in a chunk of its own.
        timings=_timings([chunk for chunk, _ in chunks], len(thinking) if streamed else 0),
        first_token_ns=min(ns for _, ns in thinking + texts) if streamed else None,
        first_text_ns=texts[0][1] if streamed and texts else None,
    )


def _timings(chunks: Sequence[Chunk], thoughts: int) -> ServerTimings:
    usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage), Usage())
    thinking_tokens = usage.thinking_tokens or thoughts or None
    if own := next((chunk.timings for chunk in reversed(chunks) if chunk.timings), None):
        return own.server_timings(thinking_tokens)
    details = usage.prompt_tokens_details
    return ServerTimings(
        prompt_tokens=usage.prompt_tokens,
        cached_prompt_tokens=details.cached_tokens if details else None,
        generated_tokens=usage.completion_tokens,
        thinking_tokens=thinking_tokens,
    )
