"""One model while its runtime holds it: load, warm up, call, and retry after an infrastructure failure.

Knows nothing of cases, verdicts or tables; replies are judged in model_run.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bench_pipeline.benchmark.patience import Patience
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.validity import misplaced
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import Request
from bench_pipeline.domain.strict_json import begins_like_json
from bench_pipeline.runtimes.base import Runtime

# Failures that may be temporary. A deadline is not one: waiting as long again would show nothing new.
_RETRIED = (FailureKind.BUSY, FailureKind.SERVER_ERROR, FailureKind.CONNECTION_LOST, FailureKind.UNAVAILABLE)
# After these the model may be gone from memory, or its runtime may still be working on the abandoned call.
_UNSETTLING = (
    FailureKind.SERVER_ERROR,
    FailureKind.CONNECTION_LOST,
    FailureKind.UNAVAILABLE,
    FailureKind.DEADLINE,
)

OnLoad = Callable[[LoadReport], None]
OnRetry = Callable[[int, str], None]
"""Called with the number of failed attempts and the last failure; with 0 once before a server is waited for."""

_Found = TypeVar("_Found")


class AttemptsSpent(Exception):
    """Every attempt failed. `attempts` holds one text per failure, `last` the last failure itself."""

    def __init__(self, attempts: tuple[str, ...], last: RuntimeFailure) -> None:
        self.attempts = attempts
        self.last = last
        super().__init__(attempts[-1])


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply, where the model was (None if the runtime could not say), and the failed attempts before it."""

    reply: Reply
    placement: Placement | None
    attempts: tuple[str, ...]


class LoadedModel:
    """A model of one runtime, under one protocol; `warm_up` contains no text of any case."""

    def __init__(self, runtime: Runtime, ref: ModelRef, protocol: Protocol, warm_up: Request, on_load: OnLoad) -> None:
        self._runtime = runtime
        self._ref = ref
        self._protocol = protocol
        self._warm_up = warm_up
        self._on_load = on_load
        self._unsettled = False

    def load(self, on_retry: OnRetry) -> None:
        """Load the model and warm it up. Raises `RuntimeFailure`, `unsupported` when it is not fully on the GPU."""
        try:
            self._persist(self._settle, on_retry)
        except AttemptsSpent as spent:
            raise spent.last from spent

    def reply_to(self, request: Request, on_retry: OnRetry) -> Answered:
        """Return the reply; every attempt restarts the clock.

        Raises `AttemptsSpent` when every attempt of this call failed, `RuntimeFailure` when the model could not be
        reloaded after the previous call: then no further call can be made.
        """
        if self._unsettled:
            self.load(on_retry)
        reply, attempts = self._persist(lambda: self._call(request), on_retry)
        return Answered(reply, self._placement(), attempts)

    def warm_up(self, on_retry: OnRetry) -> None:
        """Call the warm-up prompt, so that no cache holds the prompt of a case. Raises `RuntimeFailure`."""
        try:
            self._persist(lambda: self._call(self._warm_up), on_retry)
        except AttemptsSpent as spent:
            raise spent.last from spent

    def identity(self, on_retry: OnRetry) -> ModelIdentity:
        """Return the model's current identity. Raises `RuntimeFailure`."""
        try:
            return self._persist(lambda: self._runtime.describe(self._ref), on_retry)[0]
        except AttemptsSpent as spent:
            raise spent.last from spent

    def unload(self) -> None:
        """Free the model's memory; a server that is gone has freed it already."""
        try:
            self._runtime.unload(self._ref)
        except RuntimeFailure:
            return

    def _persist(self, action: Callable[[], _Found], on_retry: OnRetry) -> tuple[_Found, tuple[str, ...]]:
        """Return the result of `action` and the failed attempts before it, within the protocol's retries.

        A pause that the server asks for does not count as a failed attempt; the load limit bounds such pauses.
        """
        attempts: list[str] = []
        pause_s = self._protocol.retry_pause_s
        patience = Patience(self._protocol.load_time_limit_s)
        waits = False
        while True:
            try:
                return action(), tuple(attempts)
            except RuntimeFailure as failure:
                self._unsettled = self._unsettled or failure.kind in _UNSETTLING
                asked_s = patience.pause_for(failure)
                if asked_s is None:
                    attempts.append(f"{failure.kind}: {_told(failure)}")
                    if not self._is_retried(failure, len(attempts)):
                        raise AttemptsSpent(tuple(attempts), failure) from failure
                elif not waits:
                    on_retry(0, f"{failure.kind}: {failure}")
            if asked_s is not None:
                waits = True
                time.sleep(asked_s)
                continue
            on_retry(len(attempts), attempts[-1])
            time.sleep(pause_s)
            pause_s *= 2

    def _is_retried(self, failure: RuntimeFailure, attempts: int) -> bool:
        return failure.retry_after_s is None and failure.kind in _RETRIED and attempts <= self._protocol.retries

    def _settle(self) -> None:
        """Load and warm up, outside every latency, so that exactly what production keeps warm is warm.

        A runtime that is still working on an abandoned call queues the warm-up behind it.
        """
        protocol = self._protocol
        report = self._runtime.load(self._ref, protocol.decoding, protocol.load_time_limit_s)
        self._on_load(report)
        if misplaced(report, protocol):
            on_gpu = f"{(report.vram_bytes or 0) / 1e9:.1f} of {(report.memory_bytes or 0) / 1e9:.1f} GB"
            raise RuntimeFailure(
                FailureKind.UNSUPPORTED,
                f"{self._ref.address}: the server reports only {on_gpu} on its GPU; free its memory or restart the "
                "server, or set BENCH_PLACEMENT=any to measure it anyway",
            )
        for _ in range(max(protocol.warm_up_calls, 1 if self._unsettled else 0)):
            self._check_constraint(self._answer(self._warm_up))
        self._unsettled = False

    def _check_constraint(self, reply: Reply) -> None:
        """Raise `RuntimeFailure` if the server did not hold the reply to JSON: a model under constraint cannot differ.

        Some servers accept a schema and ignore it while thinking is off (ollama/ollama issues 14645 and 15260).
        """
        decoding = self._protocol.decoding
        text = reply.text.strip()
        if (decoding.json_schema is None and decoding.format is None) or not text or begins_like_json(text):
            return
        remedy = "set decoding.think to default or a level" if decoding.think == "off" else "update the server"
        raise RuntimeFailure(
            FailureKind.UNSUPPORTED,
            f"{self._ref.address}: the server ignores the response format: a reply that must be JSON does not begin "
            f"like JSON; {remedy}, or leave out the format",
        )

    def _call(self, request: Request) -> Reply:
        if self._unsettled:
            self._settle()
        return self._answer(request)

    def _answer(self, request: Request) -> Reply:
        """Return the model's answer. Raises `RuntimeFailure`, also for a reply that is none."""
        reply = self._runtime.call(self._ref, request, self._protocol.decoding, self._protocol.time_limit_s)
        if reply.fault:
            raise RuntimeFailure(FailureKind.SERVER_ERROR, f"{self._ref.address}: {reply.fault}")
        return reply

    def _placement(self) -> Placement | None:
        # The reply can still be judged; only its latency cannot be screened.
        try:
            return self._runtime.placement(self._ref)
        except RuntimeFailure:
            return None


def _told(failure: RuntimeFailure) -> str:
    """Return the failure's text, and that the server asks for a longer pause than there is time for."""
    asked_s = failure.retry_after_s
    return (
        str(failure)
        if asked_s is None
        else (f"{failure}; it asks for a pause of {asked_s:.0f} s, more than is left of BENCH_LOAD_TIME_LIMIT_S")
    )
