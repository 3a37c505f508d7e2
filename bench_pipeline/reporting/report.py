"""The report of one benchmark, as Markdown and as JSON: the same data gives the same bytes. Reads no clock.

Its statistics are in report_statistics.py, its sentences in insights.py, what disturbed it in machine_load.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.hashing import canonical_json
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing
from bench_pipeline.domain.measuring.twins import twin_flips
from bench_pipeline.domain.measuring.verdict_quality import verdict_quality
from bench_pipeline.reporting.files import path_in, slug
from bench_pipeline.reporting.insights import has_own_classes, insights
from bench_pipeline.reporting.machine_load import machine_load
from bench_pipeline.reporting.markdown import number, render
from bench_pipeline.reporting.reply_times import reply_times, runs_on
from bench_pipeline.reporting.report_statistics import certainty
from bench_pipeline.storage.benchmarks import BenchmarkRow, ModelRun
from bench_pipeline.storage.history import PastBenchmark

_NOTED = 5


def render_report(ranked: RankedBenchmark, review: str = "") -> str:
    """Return the report in Markdown; `review` marks it as that of a review, in a sentence."""
    facts = render_report_json(ranked)
    terms = {name: _flat(facts[name]) for name in ("protocol", "hardware")}
    return render("report.md.j2", review=review, **(facts | terms))


def render_report_json(ranked: RankedBenchmark) -> dict[str, Any]:
    """Return the content of the report as a JSON-safe value; latencies in ms, sizes in bytes, times in UTC."""
    results = ranked.scoreboard.results
    return {
        **_terms(ranked.benchmark),
        "invalid": ranked.scoreboard.invalid or None,
        "result": result_line(ranked.scoreboard),
        "replies_removed": _moment(ranked.benchmark.pruned_at) if ranked.benchmark.pruned_at else None,
        "rankings": [_ranking(result) for result in ranked.scoreboard.ranked],
        "top_five": [_notes(result, ranked) for result in ranked.scoreboard.ranked[:_NOTED]],
        "before": [_before(one) for one in ranked.before],
        "disqualified": [_failed(result) for result in results if result.standing is Standing.DISQUALIFIED],
        "inconclusive": [_failed(result) for result in results if result.standing is Standing.INCONCLUSIVE],
        **certainty(ranked),
        **machine_load(ranked),
        "verdicts": [_verdicts(result.model, ranked) for result in results if ranked.samples.get(result.model)],
        "has_own_classes": has_own_classes(ranked.samples),
        "injection_twins": _injection_twins(ranked),
        "not_run": [
            {"model": one.model, "reason": one.exclusion.value, "detail": one.detail} for one in ranked.excluded
        ],
        "insights": insights(ranked.scoreboard, ranked.samples),
        "identities": [_identity(result.model, ranked) for result in results if result.model in ranked.runs],
    }


def report_path(reports_dir: Path, ranked: RankedBenchmark) -> Path:
    """Return `<reports_dir>/<task>/<date>-<benchmark id>.md`, date in UTC. Raises `InputError` for a link out."""
    row = ranked.benchmark
    return report_file(reports_dir, row.task_type, row.benchmark_id, row.started_at)


def report_file(reports_dir: Path, task: str, benchmark_id: str, started_at: datetime) -> Path:
    """Return where the report on a benchmark is, as `report_path` does."""
    day = started_at.astimezone(UTC).date().isoformat()
    return path_in(reports_dir, slug(task), f"{day}-{slug(benchmark_id)}.md")


def result_line(scoreboard: Scoreboard) -> str:
    """Return champion and runner-up with their latencies, or why there is none."""
    if scoreboard.invalid:
        return f"This run is invalid: {scoreboard.invalid}; it must not be used for a decision."
    if not scoreboard.results:
        return "No champion: no model was run. Production is unchanged."
    first, second = scoreboard.champion, scoreboard.runner_up
    if first is None:
        unfinished = sum(result.standing is Standing.INCONCLUSIVE for result in scoreboard.results)
        rest = f"; {unfinished} could not be measured to the end" if unfinished else ""
        return (
            f"No champion: none of {len(scoreboard.results)} models was correct in all "
            f"{scoreboard.results[0].cases} cases{rest}. Production is unchanged."
        )
    follower = f"Runner-up: {second.model}, {_speed(second)}." if second else "There is no runner-up."
    return f"Champion: {first.model}, {first.cases_correct}/{first.cases} correct, {_speed(first)}. {follower}"


def _speed(result: ModelResult) -> str:
    return f"{number(result.avg_latency_ms)} ms per case (n={result.valid_calls} calls)"


def _ranking(result: ModelResult) -> dict[str, Any]:
    return {
        "rank": result.rank,
        "model": result.model,
        "actor_id": result.actor_id,
        "cases_correct": result.cases_correct,
        "cases": result.cases,
        "avg_latency_ms": result.avg_latency_ms,
        "calls": result.calls,
        "valid_calls": result.valid_calls,
        "speed_score": result.speed_score,
        "size_bytes": result.size_bytes,
        "tied_with": list(result.tied_with),
    }


def _notes(result: ModelResult, ranked: RankedBenchmark) -> dict[str, Any]:
    run = ranked.runs.get(result.model)
    samples = ranked.samples.get(result.model, ())
    latencies = [sample.latency_ns / 1e6 for sample in samples if sample.latency_ns is not None and sample.ranks]
    return {
        "rank": result.rank,
        "model": result.model,
        "family": result.family,
        "quantization": run.identity.quantization if run else None,
        "size_bytes": result.size_bytes,
        "load_ms": run.load_ns / 1e6 if run and run.load_ns is not None else None,
        "p50_ms": median(latencies) if latencies else None,
        "min_ms": min(latencies, default=None),
        "max_ms": max(latencies, default=None),
        "tokens_per_s": _tokens_per_s(samples),
        "runs_on": runs_on(run),
        **reply_times(samples),
        "reused": _reused(ranked.reused.get(result.model)),
    }


def _before(past: PastBenchmark) -> dict[str, Any]:
    return asdict(past) | {"date": _moment(past.date)}


def _tokens_per_s(samples: Sequence[Sample]) -> float | None:
    known = [
        (timings.generated_tokens, timings.generation_ns)
        for timings in (sample.timings for sample in samples)
        if timings.generated_tokens and timings.generation_ns
    ]
    nanoseconds = sum(pair[1] for pair in known)
    return sum(pair[0] for pair in known) / (nanoseconds / 1e9) if nanoseconds else None


def _reused(run: ModelRun | None) -> dict[str, str] | None:
    return {"benchmark_id": run.benchmark_id, "date": _moment(run.started_at)} if run else None


def _failed(result: ModelResult) -> dict[str, Any]:
    return {
        "model": result.model,
        "standing": result.standing.value,
        "cases_correct": result.cases_correct,
        "cases": result.cases,
        "cases_seen": result.cases_seen,
        "reason": result.reason,
        "failures": [
            {"case_id": failure.case_id, "outcome": failure.outcome.value, "reason": failure.reason}
            for failure in result.failures
        ],
    }


def _verdicts(model: str, ranked: RankedBenchmark) -> dict[str, Any]:
    quality = verdict_quality(ranked.samples[model])
    shares = {"format_compliance": quality.format_compliance, "verdict_accuracy": quality.verdict_accuracy}
    confusions = [asdict(pair) for pair in quality.confusions]
    return {"model": model} | shares | asdict(quality) | {"confusions": confusions}


def _injection_twins(ranked: RankedBenchmark) -> list[dict[str, Any]]:
    """Return one entry per model that was run; none if the suite has no twins."""
    cases = ranked.benchmark.suite["test_cases"]
    twins = {case["id"]: case["twin_of"] for case in cases if case.get("twin_of") is not None}
    if not twins:
        return []
    found = [
        (result.model, twin_flips(twins, ranked.samples.get(result.model, ())))
        for result in ranked.scoreboard.results
        if result.model in ranked.runs
    ]
    return [
        {
            "model": model,
            "twins": len(twins),
            "compared": flips.compared,
            "flipped": list(flips.flipped),
            "lost": list(flips.lost),
        }
        for model, flips in found
    ]


def _terms(row: BenchmarkRow) -> dict[str, Any]:
    return {
        "task": row.task_type,
        "benchmark_id": row.benchmark_id,
        "date": _moment(row.started_at),
        "suite_version": row.suite_version,
        "suite_hash": row.suite_hash,
        "prompt_source": row.prompt_source,
        "prompt_hash": row.prompt_hash,
        "protocol": dict(row.protocol),
        "reader_version": row.reader_version,
        "hardware": dict(row.hardware),
        "tool_version": row.tool_version,
    }


def _identity(model: str, ranked: RankedBenchmark) -> dict[str, Any]:
    run = ranked.runs[model]
    identity = run.identity
    return {
        "model": model,
        "actor_id": run.actor_id,
        "execution_path": run.ref.execution_path,
        "digest": identity.digest,
        "quantization": identity.quantization,
        "runtime": identity.runtime,
        "runtime_version": identity.runtime_version,
        "memory_bytes": run.memory_bytes,
        "vram_bytes": run.vram_bytes,
        "runs_on": runs_on(run),
        "context_length": run.context_length,
        "longest_context_length": identity.context_length,
    }


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _flat(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested terms under dotted names such as `decoding.seed`; deeper levels become JSON."""
    lines: dict[str, Any] = {}
    for name, value in terms.items():
        inner = value.items() if isinstance(value, Mapping) else ()
        lines |= {f"{name}.{key}": canonical_json(v) if isinstance(v, dict | list) else v for key, v in inner}
        if not inner:
            lines[name] = value
    return lines
