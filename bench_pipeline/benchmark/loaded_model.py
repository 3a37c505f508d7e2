"""One model while its runtime holds it: loaded, warmed up, called, and tried again when infrastructure failed.

Knows no case, no verdict and no table; what a reply is worth stands in model_run.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.validity import misplaced
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.runtimes.base import Runtime

# What may pass by itself. A deadline is not among them: a second wait as long would tell nothing new.
_RETRIED = (FailureKind.BUSY, FailureKind.SERVER_ERROR, FailureKind.CONNECTION_LOST, FailureKind.UNAVAILABLE)
# After these the model may be gone from memory, or its runtime still at work on the call that was given up.
_UNSETTLING = (
    FailureKind.SERVER_ERROR,
    FailureKind.CONNECTION_LOST,
    FailureKind.UNAVAILABLE,
    FailureKind.DEADLINE,
)

OnLoad = Callable[[LoadReport], None]
OnRetry = Callable[[int, str], None]
"""Told how many attempts have failed, and what the last one failed of."""

_Found = TypeVar("_Found")


class AttemptsSpent(Exception):
    """Nothing came of any attempt. `attempts` holds what each failed of, `last` is the last failure itself."""

    def __init__(self, attempts: tuple[str, ...], last: RuntimeFailure) -> None:
        self.attempts = attempts
        self.last = last
        super().__init__(attempts[-1])


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply, where the model was (None: the runtime failed to say), and what failed before it."""

    reply: Reply
    placement: Placement | None
    attempts: tuple[str, ...]


class LoadedModel:
    """A model of one runtime, under one protocol; `warm_up_prompt` holds no case's text."""

    def __init__(
        self, runtime: Runtime, ref: ModelRef, protocol: Protocol, warm_up_prompt: str, on_load: OnLoad
    ) -> None:
        self._runtime = runtime
        self._ref = ref
        self._protocol = protocol
        self._warm_up_prompt = warm_up_prompt
        self._on_load = on_load
        self._unsettled = False

    def load(self, on_retry: OnRetry) -> None:
        """Load the model and warm it up. Raises `RuntimeFailure`, `unsupported` when it is not where it should be."""
        try:
            self._persist(self._settle, on_retry)
        except AttemptsSpent as spent:
            raise spent.last from spent

    def reply_to(self, prompt: str, on_retry: OnRetry) -> Answered:
        """Return the reply; the clock starts anew in every attempt.

        Raises `AttemptsSpent` when this call came to nothing, and `RuntimeFailure` when the model could not be
        settled after the call before: then no further call can be made.
        """
        if self._unsettled:
            self.load(on_retry)
        reply, attempts = self._persist(lambda: self._call(prompt), on_retry)
        return Answered(reply, self._placement(), attempts)

    def identity(self, on_retry: OnRetry) -> ModelIdentity:
        """Return who the model is now. Raises `RuntimeFailure`."""
        try:
            return self._persist(lambda: self._runtime.describe(self._ref), on_retry)[0]
        except AttemptsSpent as spent:
            raise spent.last from spent

    def unload(self) -> None:
        """Give the memory back; a server that is gone has given it back already."""
        try:
            self._runtime.unload(self._ref)
        except RuntimeFailure:
            return

    def _persist(self, action: Callable[[], _Found], on_retry: OnRetry) -> tuple[_Found, tuple[str, ...]]:
        """Return what `action` returns and what failed before, within the retries of the protocol."""
        attempts: list[str] = []
        pause_s = self._protocol.retry_pause_s
        while True:
            try:
                return action(), tuple(attempts)
            except RuntimeFailure as failure:
                self._unsettled = self._unsettled or failure.kind in _UNSETTLING
                attempts.append(f"{failure.kind}: {failure}")
                if failure.kind not in _RETRIED or len(attempts) > self._protocol.retries:
                    raise AttemptsSpent(tuple(attempts), failure) from failure
            on_retry(len(attempts), attempts[-1])
            time.sleep(pause_s)
            pause_s *= 2

    def _settle(self) -> None:
        """Load and warm up, outside every latency: what is warm in production is warm, and nothing else is going on.

        A runtime that still works on a call that was given up does the warm-up after it.
        """
        protocol = self._protocol
        report = self._runtime.load(self._ref, protocol.decoding, protocol.load_time_limit_s)
        self._on_load(report)
        if misplaced(report, protocol):
            on_gpu = f"{(report.vram_bytes or 0) / 1e9:.1f} of {(report.memory_bytes or 0) / 1e9:.1f} GB"
            raise RuntimeFailure(
                FailureKind.UNSUPPORTED,
                f"{self._ref.address}: only {on_gpu} are on the GPU; free its memory or restart the server, or set "
                "BENCH_PLACEMENT=any to measure it all the same",
            )
        for _ in range(max(protocol.warm_up_calls, 1 if self._unsettled else 0)):
            self._runtime.call(self._ref, self._warm_up_prompt, protocol.decoding, protocol.time_limit_s)
        self._unsettled = False

    def _call(self, prompt: str) -> Reply:
        if self._unsettled:
            self._settle()
        return self._runtime.call(self._ref, prompt, self._protocol.decoding, self._protocol.time_limit_s)

    def _placement(self) -> Placement | None:
        # The reply is as right or wrong as it was; only its latency cannot be screened.
        try:
            return self._runtime.placement(self._ref)
        except RuntimeFailure:
            return None
