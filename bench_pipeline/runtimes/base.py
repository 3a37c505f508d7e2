"""The one protocol that every runtime keeps, so that the runner never asks which one it talks to."""

from __future__ import annotations

from typing import Protocol

from bench_pipeline.domain.measuring.protocol import Protocol as Terms
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.reply import Reply


class Runtime(Protocol):
    """What answers a call. Every method raises `RuntimeFailure` when the runtime is at fault, never the model."""

    def describe(self, model: ModelRef) -> ModelIdentity:
        """Say who `model` is, without loading it. Kind `not_found` when it is not installed."""
        ...

    def refusal(self, terms: Terms) -> str | None:
        """Return which of the terms this runtime cannot keep and what to do, None when it keeps all."""
        ...

    def load(self, model: ModelRef, decoding: DecodingOptions, time_limit_s: float) -> LoadReport:
        """Unload every other model, then load this one, within `time_limit_s` seconds."""
        ...

    def call(self, model: ModelRef, prompt: str, decoding: DecodingOptions, time_limit_s: float) -> Reply:
        """Send `prompt` as one user message; the whole reply must arrive within `time_limit_s` seconds."""
        ...

    def placement(self, model: ModelRef) -> Placement:
        """Say where the loaded model is, and what is in memory beside it."""
        ...

    def unload(self, model: ModelRef) -> None:
        """Give the model's memory back; no error when it was not loaded."""
        ...

    def close(self) -> None:
        """Release connections and memory."""
        ...
