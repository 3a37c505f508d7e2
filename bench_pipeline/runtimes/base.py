"""The protocol that every runtime implements, so that no caller depends on a particular one."""

from __future__ import annotations

from typing import Protocol

from bench_pipeline.domain.measuring.protocol import Protocol as Terms
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import Request
from bench_pipeline.runtimes.activity import Activity
from bench_pipeline.runtimes.wire import WireRequest


class Runtime(Protocol):
    """What answers a call. Every method raises `RuntimeFailure` when the runtime, not the model, is at fault."""

    def describe(self, model: ModelRef) -> ModelIdentity:
        """Return the identity of `model` without loading it. Raises kind `not_found` when it is not installed."""
        ...

    def refusal(self, terms: Terms) -> str | None:
        """Return which of the terms this runtime does not support and what to do; None if it supports all."""
        ...

    def load(self, model: ModelRef, decoding: DecodingOptions, time_limit_s: float) -> LoadReport:
        """Unload every other model, then load this one, within `time_limit_s` seconds."""
        ...

    def call(self, model: ModelRef, request: Request, decoding: DecodingOptions, time_limit_s: float) -> Reply:
        """Send the request; the whole reply must arrive within `time_limit_s` seconds."""
        ...

    def wire(self, model: ModelRef, request: Request, decoding: DecodingOptions) -> WireRequest:
        """Return exactly what `call` sends, without sending it."""
        ...

    def placement(self, model: ModelRef) -> Placement:
        """Return where the loaded model is, and which other models are in memory."""
        ...

    def survey(self, first: ModelRef, smallest: ModelRef | None, terms: Terms, has_gpu: bool) -> bool | None:
        """Return whether the server has an accelerator; None if it does not tell.

        It may load `first`, the model that runs first, and the `smallest` of the others. `has_gpu` says that the
        server is on this machine, which has one.
        """
        ...

    def activity(self, limit_s: float) -> Activity:
        """Return what the server does now, asked within `limit_s` seconds."""
        ...

    def unload(self, model: ModelRef) -> None:
        """Free the model's memory; does nothing when it is not loaded."""
        ...

    def close(self) -> None:
        """Release connections and memory."""
        ...
