"""A ranked benchmark made by hand: two qualified models, a hostile one, one that could not be measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.benchmark.results import model_results
from bench_pipeline.domain.measuring.benchmark import Purpose, RunStatus
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import rank, score_model
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.model_ref import ollama_ref
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.storage.benchmarks import BenchmarkRow, ExcludedModel, ModelRun

STARTED = datetime(2025, 3, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))
HOSTILE = "evil|model[x](http://evil.example/a)<img src=x>`rm`\n# Title"
GOLD = {"GRADE_PASS_001": "PASS", "GRADE_PASS_002": "PASS", "GRADE_FAIL_001": "FAIL", "GRADE_FAIL_002": "FAIL"}


def benchmark(**changes: Any) -> BenchmarkRow:  # noqa: ANN401
    row = BenchmarkRow(
        benchmark_id="grading-20250301T233000Z-ab12",
        task_type="grading",
        purpose=Purpose.BENCHMARK,
        status=RunStatus.FINISHED,
        evidence_key="e" * 64,
        suite_version="1.0",
        suite_hash="a" * 64,
        suite={"test_cases": [{"id": case} for case in GOLD]},
        prompt_hash="b" * 64,
        task={"task": "grading", "conversations": [3336, 3337]},
        prompt_source="conversation 3336",
        reader_version="1",
        protocol=Protocol().model_dump(mode="json"),
        protocol_hash="c" * 64,
        hardware={"processor": "Example CPU", "cores": 2, "memory_gib": 8, "system": "Linux x86_64"},
        tool_version="0.1.0",
        dagster_run_id=None,
        started_at=STARTED,
        finished_at=STARTED + timedelta(minutes=3),
    )
    return replace(row, **changes)


def model_run(number: int, model: str, benchmark_id: str, failure: str | None = None) -> ModelRun:
    identity = ModelIdentity(
        name=model,
        runtime="ollama",
        runtime_version="0.17.1",
        digest=f"sha256:{str(number) * 64}",
        size_bytes=number * 1_200_000_000,
        family="qwen2" if number == 1 else "llama",
        quantization="Q4_K_M",
        context_length=32768,
    )
    return ModelRun(
        model_run_id=number,
        benchmark_id=benchmark_id,
        model=model,
        actor_id=10 + number,
        ref=ollama_ref(f"example:{number}"),
        identity=identity,
        failure=failure,
        memory_bytes=number * 1_500_000_000,
        vram_bytes=number * 1_500_000_000,
        context_length=4096,
        started_at=STARTED,
        finished_at=STARTED,
        load_ns=number * 1_500_000_000,
    )


def right_samples(latency_ms: int) -> list[Sample]:
    timings = ServerTimings(prompt_ns=40_000_000, generation_ns=(latency_ms - 40) * 1_000_000, generated_tokens=8)
    return [
        Sample(case, 1, 1, Outcome.CORRECT, gold, gold, latency_ns=(latency_ms + i) * 1_000_000, timings=timings)
        for i, (case, gold) in enumerate(GOLD.items())
    ]


def hostile_samples(reason: str) -> list[Sample]:
    wrong = {"GRADE_FAIL_001", "GRADE_FAIL_002"}
    return [
        Sample(case, 1, 1, Outcome.WRONG if case in wrong else Outcome.CORRECT, gold, "PASS", reason, 60_000_000)
        for case, gold in GOLD.items()
    ]


def failed_samples() -> list[Sample]:
    return [Sample(case, 1, 1, Outcome.ERROR, gold, reason="no reply in 120 s") for case, gold in GOLD.items()]


def ranked_example(
    hostile: str = HOSTILE, reason: str = "said PASS, gold is FAIL | see <b>www.evil.example</b>"
) -> RankedBenchmark:
    row = benchmark()
    samples: dict[str, Sequence[Sample]] = {
        "qwen2.5-coder:0.5b": right_samples(120),
        "hf.co/User/Model-GGUF:Q4_K_M": right_samples(480),
        hostile: hostile_samples(reason),
        "llama3.1:8b": failed_samples(),
    }
    owners = [row.benchmark_id, "grading-20250201T030000Z-00ff", row.benchmark_id, row.benchmark_id]
    failures = [None, None, None, "the server was lost after 4 calls"]
    runs = {
        model: model_run(number, model, owner, failure)
        for number, (model, owner, failure) in enumerate(zip(samples, owners, failures, strict=True), start=1)
    }
    results = [
        replace(
            score_model(model, list(GOLD), taken, 1),
            reason=runs[model].failure or "",
            actor_id=runs[model].actor_id,
            size_bytes=runs[model].identity.size_bytes,
            family=runs[model].identity.family,
        )
        for model, taken in samples.items()
    ]
    excluded = [
        ExcludedModel("big:70b", Exclusion.TOO_LARGE, "40.0 GB, the limit is 8.0 GB"),
        ExcludedModel("nomic-embed-text:latest", Exclusion.SPECIALIST, ""),
    ]
    return RankedBenchmark(row, rank(results), runs, samples, excluded)


def unranked_example() -> RankedBenchmark:
    return RankedBenchmark(benchmark(started_at=datetime(2025, 3, 1, tzinfo=UTC)), rank([]), {}, {}, [])


def passes(latencies_ms: Iterable[int], first: int = 1) -> list[Sample]:
    """A pass over the suite for each latency, right in every case; case by case it takes 1 ms longer."""
    return [
        replace(sample, repeat=repeat)
        for repeat, latency_ms in enumerate(latencies_ms, start=first)
        for sample in right_samples(latency_ms)
    ]


def ranked_of(
    samples: Mapping[str, Sequence[Sample]],
    repeats: int = 1,
    final_passes: Mapping[str, int] = {},
    stopped: Mapping[str, StopReason] = {},
    incumbents: frozenset[str] = frozenset(),
    invalid: str = "",
) -> RankedBenchmark:
    """A benchmark of these samples, as the runner would have ranked it."""
    protocol = Protocol(repeats=repeats)
    row = benchmark(protocol=protocol.model_dump(mode="json"), invalid=invalid or None, incumbents=sorted(incumbents))
    runs = {
        model: replace(
            model_run(number, model, row.benchmark_id),
            final_passes=final_passes.get(model, 0),
            stopped=stopped.get(model),
        )
        for number, model in enumerate(samples, start=1)
    }
    board = rank(model_results(list(GOLD), protocol, runs, samples), incumbents)
    return RankedBenchmark(row, replace(board, invalid=invalid), runs, samples, [])
