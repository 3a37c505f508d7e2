"""When a model's replies begin, how much of them is thinking, and what the model ran on. Latencies are in report.py."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.validity import ON_GPU_SHARE
from bench_pipeline.storage.benchmarks import ModelRun


def reply_times(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return medians over the calls that rank: ms to the first token and to the first text, and tokens.

    `timed` is the number of calls with a first token; `thought` that of calls with thinking tokens.
    """
    ranking = [sample for sample in samples if sample.ranks]
    first_token = [sample.first_token_ns / 1e6 for sample in ranking if sample.first_token_ns is not None]
    first_text = [sample.first_text_ns / 1e6 for sample in ranking if sample.first_text_ns is not None]
    thoughts = [sample.timings.thinking_tokens for sample in ranking if sample.timings.thinking_tokens]
    generated = [sample.timings.generated_tokens for sample in ranking if sample.timings.generated_tokens]
    return {
        "first_token_ms": median(first_token) if first_token else None,
        "first_text_ms": median(first_text) if first_text else None,
        "timed": len(first_token),
        "thinking_tokens": median(thoughts) if thoughts else None,
        "thought": len(thoughts),
        "generated_tokens": median(generated) if generated else None,
    }


def runs_on(run: ModelRun | None) -> str | None:
    """Return what an Ollama server held the model on: GPU, CPU or both; None where no server tells."""
    if run is None or run.vram_bytes is None or not run.memory_bytes:
        return None
    if run.vram_bytes == 0:
        return "CPU"
    return "GPU" if run.vram_bytes >= ON_GPU_SHARE * run.memory_bytes else "CPU and GPU"
