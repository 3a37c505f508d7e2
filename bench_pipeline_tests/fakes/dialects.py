"""The two forms of a streamed reply: Ollama's lines and the OpenAI API's events.

Holds no server and no faults.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol


class Dialect(Protocol):
    """The pieces of a streamed reply, as bytes."""

    content_type: str

    def token(self, model: str, text: str, thinking: str = "") -> bytes: ...

    def done(self, model: str, reason: str, metrics: Metrics) -> bytes: ...

    def not_done(self, model: str) -> bytes: ...

    def error(self, words: str) -> bytes: ...


@dataclass(frozen=True)
class Metrics:
    """Ollama's account of a call: nanoseconds from the handler's start, and tokens."""

    total: int
    load: int
    prompt: int
    generation: int
    prompt_tokens: int
    reply_tokens: int
    cached_tokens: int | None

    def native(self) -> dict[str, Any]:
        cached = {} if self.cached_tokens is None else {"prompt_eval_cached_count": self.cached_tokens}
        account = {
            "total_duration": self.total,
            "load_duration": self.load,
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": self.prompt,
            "eval_count": self.reply_tokens,
            "eval_duration": self.generation,
        }
        return cached | {name: value for name, value in account.items() if value}  # as Ollama leaves out zeros


class NativeDialect:
    """`/api/chat`: one JSON object a line."""

    content_type = "application/x-ndjson"

    def token(self, model: str, text: str, thinking: str = "") -> bytes:
        message = {"role": "assistant", "content": text} | ({"thinking": thinking} if thinking else {})
        return _line({"model": model, "message": message, "done": False})

    def done(self, model: str, reason: str, metrics: Metrics) -> bytes:
        message = {"role": "assistant", "content": ""}
        last = {"model": model, "message": message, "done": True, "done_reason": reason}
        return _line(last | metrics.native())

    def not_done(self, model: str) -> bytes:
        return self.token(model, "")

    def error(self, words: str) -> bytes:
        return _line({"error": words})


class GenerateDialect(NativeDialect):
    """`/api/generate`: one JSON object a line, with the text at its top."""

    def token(self, model: str, text: str, thinking: str = "") -> bytes:
        thought = {"thinking": thinking} if thinking else {}
        return _line({"model": model, "response": text, "done": False} | thought)

    def done(self, model: str, reason: str, metrics: Metrics) -> bytes:
        last = {"model": model, "response": "", "done": True, "done_reason": reason}
        return _line(last | metrics.native())


class OpenAIDialect:
    """`/v1/chat/completions`: server-sent events."""

    content_type = "text/event-stream"

    def token(self, model: str, text: str, thinking: str = "") -> bytes:
        delta = {"content": text} | ({"reasoning": thinking} if thinking else {})
        return _event({"model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    def done(self, model: str, reason: str, metrics: Metrics) -> bytes:
        choice = {"index": 0, "delta": {}, "finish_reason": reason}
        usage: dict[str, Any] = {"prompt_tokens": metrics.prompt_tokens, "completion_tokens": metrics.reply_tokens}
        if metrics.cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": metrics.cached_tokens}
        last = _event({"model": model, "choices": [choice]})
        return last + _event({"model": model, "choices": [], "usage": usage}) + b"data: [DONE]\n\n"

    def not_done(self, model: str) -> bytes:
        return self.token(model, "") + b"data: [DONE]\n\n"

    def error(self, words: str) -> bytes:
        return _event({"error": {"message": words}})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
