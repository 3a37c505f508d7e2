"""A call and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome


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
    timings: ServerTimings = field(default_factory=ServerTimings)

    @property
    def ranks(self) -> bool:
        """Whether the latency may count."""
        return self.latency_ns is not None and self.exclusion is None
