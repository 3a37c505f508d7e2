"""The record of one call. Judging it is in tasks/verdict.py, screening its latency in validity.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Sample:
    """The record of one call: case, pass over the suite, outcome and the reply behind it.

    `take` is 1, or 2 for the repetition of a disturbed call, which belongs to the same pass.

    `latency_ns` excludes loading and is None unless a verdict was read; `elapsed_ns` is the client's whole waiting
    time; `first_token_ns` and `first_text_ns` are parts of it.
    `exclusion` is the validity rule that excludes the latency from the ranking. `attempts` are the
    infrastructure failures before this reply, or of the whole call.
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
    take: int = 1
    first_token_ns: int | None = None
    first_text_ns: int | None = None

    @property
    def ranks(self) -> bool:
        """Whether the latency counts in the ranking: a verdict was read, time passed, and no rule excludes it."""
        return self._is_timed and self.exclusion is None

    @property
    def decides(self) -> bool:
        """Whether the latency counts in the comparison of a final: that of a first take, disturbed or not.

        The order of a final is random, so a disturbance is as likely to hit either model, and the interval includes it.
        A model whose own calls are slow at times would look faster by its repetitions.
        """
        return self.take == 1 and self._is_timed and self.exclusion in (None, ValidityRule.DISTURBED)

    @property
    def _is_timed(self) -> bool:
        read = self.outcome in (Outcome.CORRECT, Outcome.WRONG)
        return read and self.latency_ns is not None and self.latency_ns > 0

    @property
    def failed_again(self) -> bool:
        """Whether it is a repetition without an answer, which counts for nothing: the first answer stands."""
        return self.take > 1 and self.outcome is Outcome.ERROR
