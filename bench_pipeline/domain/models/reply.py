"""What a runtime returns for one call, with its own account of it. What the reply is worth is in tasks/verdict.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTimings:
    """The runtime's own account of a call: durations in nanoseconds, counts in tokens."""

    load_ns: int | None = None
    prompt_ns: int | None = None
    generation_ns: int | None = None
    total_ns: int | None = None
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    generated_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a runtime returned for one call.

    `elapsed_ns` runs from sending to the last byte on the client's monotonic clock. `complete` is False
    when the runtime ended the reply without saying that it was finished. `done_reason` is `stop`,
    `length` (cut off) or what else the runtime said.
    """

    text: str
    elapsed_ns: int
    complete: bool = True
    done_reason: str = "stop"
    thinking: str = ""
    timings: ServerTimings = ServerTimings()

    @property
    def latency_ns(self) -> int:
        """Client-side time without the time that the runtime spent loading the model, nanoseconds.

        A runtime that says it loaded for longer than the whole call took is not believed: a latency of
        zero would win every ranking.
        """
        without_load = self.elapsed_ns - (self.timings.load_ns or 0)
        return without_load if without_load > 0 else self.elapsed_ns
