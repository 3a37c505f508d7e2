"""The report keeps thinking apart from text, and says what a model ran on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.reporting.reply_times import reply_times, runs_on
from bench_pipeline.reporting.report import render_report
from bench_pipeline_tests.reporting.examples import model_run, ranked_example, right_samples

MS = 1_000_000
CHAMPION = "qwen2.5-coder:0.5b"


def thinking(ranked: RankedBenchmark) -> RankedBenchmark:
    """Let the champion have thought before each reply."""
    samples = [
        replace(
            sample,
            first_token_ns=(20 + number) * MS,
            first_text_ns=(90 + number) * MS,
            timings=replace(sample.timings, thinking_tokens=30 + number, generated_tokens=40 + number),
        )
        for number, sample in enumerate(ranked.samples[CHAMPION])
    ]
    return replace(ranked, samples={**ranked.samples, CHAMPION: samples})


def test_thinking_is_shown_apart_from_the_text() -> None:
    report = render_report(thinking(ranked_example()))
    assert "First token after 22 ms, first text after 92 ms (medians, n=4)" in report
    assert "Thinking: 32 of 42 tokens (medians, n=4)" in report


def test_a_model_that_does_not_think_has_no_line_about_it() -> None:
    assert "Thinking:" not in render_report(ranked_example())


def test_only_calls_that_rank_count() -> None:
    first, *others = right_samples(100)
    slow = replace(first, first_token_ns=9000 * MS, exclusion=ValidityRule.CONTENTION)
    timed = [replace(sample, first_token_ns=10 * MS) for sample in others]
    assert reply_times([slow, *timed])["first_token_ms"] == 10
    assert reply_times([slow, *timed])["timed"] == 3


def test_without_a_call_nothing_is_known() -> None:
    assert set(reply_times([]).values()) == {None, 0}


@pytest.mark.parametrize(
    ("memory", "vram", "place"),
    [
        (100, 100, "GPU"),
        (100, 95, "GPU"),
        (100, 50, "CPU and GPU"),
        (100, 0, "CPU"),
        (100, None, None),
        (None, 0, None),
    ],
)
def test_the_place_of_a_model_is_named(memory: int | None, vram: int | None, place: str | None) -> None:
    run = replace(model_run(1, CHAMPION, "b"), memory_bytes=memory, vram_bytes=vram)
    assert runs_on(run) == place


def test_the_report_of_a_server_without_a_gpu_says_cpu() -> None:
    ranked = ranked_example()
    runs = {model: replace(run, vram_bytes=0) for model, run in ranked.runs.items()}
    assert "Ran on the CPU" in render_report(replace(ranked, runs=runs))
