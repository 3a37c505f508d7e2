"""What a runtime returns for one call, with the timings that it reports. Judging a reply is in tasks/verdict.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTimings:
    """What the runtime reports about a call: durations in nanoseconds, counts in tokens."""

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

    `elapsed_ns` is from sending to the last byte on the client's monotonic clock. `complete` is False when the reply
    ended without the runtime's mark that it was finished. `done_reason` is `stop`, `length` (cut off) or another
    word of the runtime.
    """

    text: str
    elapsed_ns: int
    complete: bool = True
    done_reason: str = "stop"
    thinking: str = ""
    timings: ServerTimings = ServerTimings()

    @property
    def latency_ns(self) -> int:
        """Client-side time minus the time that the runtime spent loading the model, nanoseconds.

        A reported load time longer than the whole call is ignored: a latency of zero would win every ranking.
        """
        without_load = self.elapsed_ns - (self.timings.load_ns or 0)
        return without_load if without_load > 0 else self.elapsed_ns
