"""Latencies that a test sets, in place of measured ones, which depend on how busy the machine is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.reply import Reply, ServerTimings
from bench_pipeline.runtimes.ollama import OllamaRuntime


class Latencies(dict[str, float]):
    """Milliseconds of a call by the model's name on the server; they may be changed at any time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, latencies_ms: Mapping[str, float]) -> None:
        super().__init__(latencies_ms)
        real = OllamaRuntime.call

        def call(
            runtime: OllamaRuntime, model: ModelRef, prompt: str, decoding: DecodingOptions, limit: float
        ) -> Reply:
            reply = real(runtime, model, prompt, decoding, limit)
            elapsed_ns = round(self[model.address] * 1e6)
            counted = ServerTimings(generated_tokens=reply.timings.generated_tokens)
            return replace(reply, elapsed_ns=elapsed_ns, timings=counted)

        monkeypatch.setattr(OllamaRuntime, "call", call)

    def slow_down(self, factor: float) -> None:
        """Let every model take so many times as long."""
        self.update({name: factor * latency_ms for name, latency_ms in self.items()})
