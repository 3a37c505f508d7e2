"""A call and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The four outcomes of a sample. Never a fifth, never merged."""

    CORRECT = "correct"
    WRONG = "wrong"
    INVALID = "invalid"
    ERROR = "error"


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


@dataclass(frozen=True, slots=True)
class Sample:
    """One call's record: the case, the pass over the suite, the outcome and what it rests on.

    `latency_ns` is without load and None unless a verdict was read, `elapsed_ns` with all that the client
    waited. `exclusion` is the rule that keeps the latency out of the ranking. `attempts` are the failures of
    infrastructure before this reply, or all of them.
    """

    case_id: str
    repeat: int
    batch: int
    outcome: Outcome
    expected: str
    verdict: str | None = None
    reason: str | None = None
    latency_ns: int | None = None
    elapsed_ns: int | None = None
    exclusion: str | None = None
    attempts: tuple[str, ...] = ()
    done_reason: str | None = None
    reply_text: str | None = None
    thinking: str | None = None
    timings: ServerTimings = ServerTimings()

    @property
    def ranks(self) -> bool:
        """Whether the latency may count."""
        return self.latency_ns is not None and self.exclusion is None
