"""What a runtime returns for one call, with the timings that it reports, and whether the model answered at all.

Judging an answer is in tasks/verdict.py.
"""

from __future__ import annotations

from dataclasses import dataclass

# Why a model ends its reply. Any other word is the runtime's own, such as load, unload, abort, error or timeout.
_ENDS_OF_A_MODEL = frozenset({"stop", "length", "content_filter", "tool_calls", "function_call"})
# Endings that only generated tokens can cause, for runtimes that count none.
_ENDS_AFTER_TOKENS = frozenset({"length", "tool_calls", "function_call"})
_LONGEST_WORD = 40


@dataclass(frozen=True, slots=True)
class ServerTimings:
    """What the runtime reports about a call: durations in nanoseconds, counts in tokens.

    `thinking_tokens` are among the `generated_tokens`.
    """

    load_ns: int | None = None
    prompt_ns: int | None = None
    generation_ns: int | None = None
    total_ns: int | None = None
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    generated_tokens: int | None = None
    thinking_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a runtime returned for one call.

    `elapsed_ns` is from sending to the last byte on the client's monotonic clock. `complete` is False when the reply
    ended without the runtime's mark that it was finished. `done_reason` is `stop`, `length` (cut off) or another
    word of the runtime. `first_token_ns` is from sending to the first piece of thinking or text, `first_text_ns` to
    the first piece of text; None for a reply that came in one piece.
    """

    text: str
    elapsed_ns: int
    complete: bool = True
    done_reason: str = "stop"
    thinking: str = ""
    timings: ServerTimings = ServerTimings()
    first_token_ns: int | None = None
    first_text_ns: int | None = None

    @property
    def latency_ns(self) -> int:
        """Client-side time minus the time that the runtime spent loading the model, nanoseconds.

        A reported load time longer than the whole call is ignored: a latency of zero would win every ranking.
        """
        without_load = self.elapsed_ns - (self.timings.load_ns or 0)
        return without_load if without_load > 0 else self.elapsed_ns

    @property
    def fault(self) -> str:
        """Why this is a failure of the runtime and no answer of the model; empty when the model answered.

        A model that answers generates tokens. So a reply without a token, visible or thought, is a failure of the
        runtime; an empty reply with tokens is an answer, and an unreadable one.
        """
        if self.complete and self.done_reason not in _ENDS_OF_A_MODEL:
            return f"the server ended the reply with {self.done_reason[:_LONGEST_WORD]!r}"
        return "" if self._has_tokens else "the server answered without a single token"

    @property
    def _has_tokens(self) -> bool:
        if self.text.strip() or self.thinking.strip():
            return True
        if self.timings.generated_tokens is not None:
            return self.timings.generated_tokens > 0
        return bool(self.text or self.thinking) or self.done_reason in _ENDS_AFTER_TOKENS
