"""Scoreboards of many models, made by hand: what a page must be able to show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench_pipeline.assets.metadata import SHOWN
from bench_pipeline.assets.scoreboard import ScoreboardPage
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing
from bench_pipeline.storage.history import PastBenchmark
from bench_pipeline.storage.ledger import LedgerEntry
from bench_pipeline_tests.reporting.examples import benchmark

BEFORE = PastBenchmark("grading-0", datetime(2025, 2, 1, tzinfo=UTC), "old:7b", 4600.678197499999, None, 1, 2)


def page(models: int) -> dict[str, Any]:
    """The metadata of a scoreboard on which every model is tied with all the others, and every text is long."""
    names = [f"hf.co/somebody/a-model-with-a-long-name-{number:03}-GGUF:Q4_K_M" for number in range(models)]
    results = [_tied(names, place) for place in range(min(SHOWN, models))]
    results += [replace(_tied(names, place), standing=Standing.DISQUALIFIED) for place in range(SHOWN, models)]
    reason = "said PASS although its gold is FAIL; " * 20
    ledger = [LedgerEntry(BEFORE.date, "grading", "g1", name, "wrong", reason) for name in names]
    ranked = RankedBenchmark(benchmark(), Scoreboard(tuple(results)), {}, {}, [], before=[BEFORE])
    return ScoreboardPage(ranked, ledger, None, Path("reports"), "all wait; " * 40).metadata()


def _tied(names: list[str], place: int) -> ModelResult:
    return ModelResult(
        model=names[place],
        standing=Standing.QUALIFIED,
        cases=10,
        cases_correct=10,
        correctness_score=100.0,
        calls=30,
        avg_latency_ms=1000.123456789 + place,
        speed_score=999.87654321,
        rank=place + 1,
        tied_with=tuple(name for name in names if name != names[place]),
        valid_calls=30,
        median_ms=990.0,
        p90_ms=1100.0,
        pass_means_ms=(1000.0, 990.0, 1010.0),
    )
