"""Latencies that a test decides: the models answer over the real runtime; clock and counts of tokens are fakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from unittest.mock import patch

from bench_pipeline.domain.measuring import disturbance
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import Request
from bench_pipeline.runtimes.activity import Activity
from bench_pipeline.runtimes.base import Runtime
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.runtimes.wire import WireRequest
from bench_pipeline.settings import Settings
from bench_pipeline_tests.kit.tasks import case_of

LatencyMs = Callable[[str, str, int], float]
"""The latency of a call, milliseconds, by model, case and how often the model was asked the case, from 1."""
NOTICED_NS = 100_000_000


@dataclass
class _Timed:
    """A runtime on whose clock every reply takes as long as the test says."""

    runtime: Runtime
    latency_ms: LatencyMs
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    def call(self, model: ModelRef, request: Request, decoding: DecodingOptions, time_limit_s: float) -> Reply:
        case = case_of(request.prompt)
        self.asked[model.address, case] += 1
        reply = self.runtime.call(model, request, decoding, time_limit_s)
        ns = round(1e6 * self.latency_ms(model.address, case, self.asked[model.address, case]))
        spent = {"load_ns": 0, "prompt_ns": ns // 4, "generation_ns": ns - ns // 4, "total_ns": ns}
        timings = replace(reply.timings, **spent, prompt_tokens=100, generated_tokens=20)
        return replace(reply, elapsed_ns=ns, timings=timings)

    def wire(self, model: ModelRef, request: Request, decoding: DecodingOptions) -> WireRequest:
        return self.runtime.wire(model, request, decoding)

    def describe(self, model: ModelRef) -> ModelIdentity:
        return self.runtime.describe(model)

    def refusal(self, terms: Protocol) -> str | None:
        return self.runtime.refusal(terms)

    def load(self, model: ModelRef, decoding: DecodingOptions, time_limit_s: float) -> LoadReport:
        return self.runtime.load(model, decoding, time_limit_s)

    def survey(self, first: ModelRef, smallest: ModelRef | None, terms: Protocol, has_gpu: bool) -> bool | None:
        return self.runtime.survey(first, smallest, terms, has_gpu)

    def placement(self, model: ModelRef) -> Placement:
        return self.runtime.placement(model)

    def activity(self, limit_s: float) -> Activity:
        return self.runtime.activity(limit_s)

    def unload(self, model: ModelRef) -> None:
        self.runtime.unload(model)

    def close(self) -> None:
        self.runtime.close()


class SimulatedRuntimes(Runtimes):
    """The runtimes of these settings, on the test's clock."""

    def __init__(self, settings: Settings, latency_ms: LatencyMs) -> None:
        super().__init__(settings)
        self._latency_ms = latency_ms

    def _make(self, model: ModelRef) -> Runtime:
        return _Timed(super()._make(model), self._latency_ms)


noticing = patch.object(disturbance, "MIN_EXTRA_NS", NOTICED_NS)
"""As a context: disturbed calls are noticed, which a world ignores on the real clock."""
