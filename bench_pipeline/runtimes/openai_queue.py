"""How OpenAI-compatible servers tell how many requests they have, each by a route of its own outside of the API."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, TypeAdapter, ValidationError

from bench_pipeline.runtimes.activity import Activity
from bench_pipeline.runtimes.ollama_wire import Residents

# A line of Prometheus' text format: name, labels, value.
_METRIC = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{.*\})?[ \t]+(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Queue:
    """A route at the server's root, and how its answer is read; what cannot be read tells nothing."""

    route: str
    read: Callable[[bytes], Activity]


class _Slot(BaseModel):
    is_processing: bool


_SLOTS = TypeAdapter(list[_Slot])


def _slots(body: bytes) -> Activity:
    try:
        return Activity(sum(slot.is_processing for slot in _SLOTS.validate_json(body)))
    except ValidationError:
        return Activity()


def _gauges(*names: str) -> Callable[[bytes], Activity]:
    def read(body: bytes) -> Activity:
        found = [_number(value) for name, value in _METRIC.findall(body.decode(errors="replace")) if name in names]
        return Activity(sum(found)) if found else Activity()

    return read


def _number(text: str) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError):  # NaN and infinity
        return 0


def _residents(body: bytes) -> Activity:
    try:
        return Residents.model_validate_json(body).activity
    except ValidationError:
        return Activity()


# docs/usage/metrics.md of vllm-project/vllm
VLLM = Queue("/metrics", _gauges("vllm:num_requests_running", "vllm:num_requests_waiting"))
# docs/references/production_metrics.md of sgl-project/sglang; only with --enable-metrics
SGLANG = Queue("/metrics", _gauges("sglang:num_running_reqs", "sglang:num_queue_reqs"))
# docs/source/reference/metrics.md of huggingface/text-generation-inference
TGI = Queue("/metrics", _gauges("tgi_batch_current_size", "tgi_queue_size"))
# tools/server/README.md of ggml-org/llama.cpp: on by default since August 2025, unless --no-slots
LLAMA_CPP = Queue("/slots", _slots)
# PsHandler in server/routes.go and processCompleted in server/sched.go of ollama/ollama, 09f1587
OLLAMA = Queue("/api/ps", _residents)
