"""How certain the figures of a report are: statistics, comparisons, unranked latencies, outpaced models, the final.

Returns JSON-safe values for both forms of the report. The formulae are in domain/measuring/; nothing is decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.consistency import pass_hat
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import (
    TIE_LEVEL,
    ModelResult,
    Standing,
    ahead_by,
    comparable_medians_ms,
    compare_by_case,
    compare_means,
    met_in_final,
)
from bench_pipeline.domain.measuring.statistics import (
    MIN_CALLS_FOR_P90,
    exact_lower,
    steadiness,
    wilson_lower,
)
from bench_pipeline.domain.measuring.validity import MEANING, ValidityRule
from bench_pipeline.domain.tasks.outcome import Outcome


def certainty(ranked: RankedBenchmark) -> dict[str, Any]:
    """Return this module's part of the report, by the report's names."""
    results = ranked.scoreboard.results
    return {
        "statistics": [_statistics(result, ranked) for result in ranked.scoreboard.ranked],
        "repeats": [line for result in results if (line := _repeats(result, ranked.samples.get(result.model, ())))],
        "comparisons": _comparisons(ranked),
        "ties": _ties(ranked),
        "outpaced": [_outpaced(result) for result in results if result.standing is Standing.OUTPACED],
        "final": [_final(result, ranked) for result in results if result.final_passes],
        "unranked_latencies": [
            line for result in results if (line := _unranked(result.model, ranked.samples.get(result.model, ())))
        ],
        "rules": _rules(ranked),
    }


def _statistics(result: ModelResult, ranked: RankedBenchmark) -> dict[str, Any]:
    """Return a model's statistics. The bounds are over cases, because a repeat is not a new case."""
    return {
        "model": result.model,
        "valid_calls": result.valid_calls,
        "mean_ms": result.avg_latency_ms,
        "median_ms": result.median_ms,
        "p90_ms": result.p90_ms,
        "p90_is_indicative": result.valid_calls < MIN_CALLS_FOR_P90,
        "cv": result.cv,
        "steadiness": None if result.cv is None else steadiness(result.cv),
        "main_passes": int(ranked.benchmark.protocol["repeats"]),
        "final_passes": result.final_passes,
        "cases": result.cases,
        "cases_correct": result.cases_correct,
        "wilson_lower": wilson_lower(result.cases_correct, result.cases),
        "exact_lower": exact_lower(result.cases_correct, result.cases),
    }


def _repeats(result: ModelResult, samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Return how consistent a model is; None when no case was asked often enough to tell."""
    shares = pass_hat(samples)
    if len(shares) < 2 and not result.flaky:
        return None
    return {"model": result.model, "pass_hat": list(shares), "flaky": list(result.flaky)}


def _comparisons(ranked: RankedBenchmark) -> list[dict[str, Any]]:
    """Compare the champion with the runner-up, the incumbents, and its opponents in the final."""
    champion = ranked.scoreboard.champion
    if champion is None:
        return []
    others = [result for result in ranked.scoreboard.results if result is not champion]
    return [_comparison(champion, other, roles) for other in others if (roles := _roles(champion, other, ranked))]


def _roles(champion: ModelResult, other: ModelResult, ranked: RankedBenchmark) -> list[str]:
    roles = {
        "runner-up": other is ranked.scoreboard.runner_up,
        "incumbent": other.model in ranked.incumbents,
        "finalist": met_in_final(champion, other),
    }
    return [role for role, it_is in roles.items() if it_is]


def _comparison(champion: ModelResult, other: ModelResult, roles: Sequence[str]) -> dict[str, Any]:
    """Return how two models compare in the mean, pass by pass, and, as a description, case by case."""
    found = compare_means(champion, other, TIE_LEVEL)
    by_case = compare_by_case(champion, other, TIE_LEVEL)
    return {
        "champion": champion.model,
        "other": other.model,
        "roles": list(roles),
        "standing": other.standing.value,
        "passes": "final" if met_in_final(champion, other) else "main",
        "level": TIE_LEVEL,
        "pairs": found.n if found else 0,
        "ratio": found.ratio if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "cases": by_case.n if by_case else 0,
        "ratio_by_case": by_case.ratio if by_case else None,
        "slower_cases": _slower_cases(champion, other),
    }


def _slower_cases(champion: ModelResult, other: ModelResult) -> list[dict[str, Any]]:
    """Return the cases in which the champion is the slower one, by the medians in ms, the largest ratio first."""
    ours, theirs = comparable_medians_ms(champion, other)
    slower = [
        {"case_id": case_id, "champion_ms": ours[case_id], "other_ms": ms, "ratio": ours[case_id] / ms}
        for case_id, ms in theirs.items()
        if ours.get(case_id, 0) > ms
    ]
    return sorted(slower, key=lambda line: -float(line["ratio"]))


def _final(result: ModelResult, ranked: RankedBenchmark) -> dict[str, Any]:
    """Return what a model's passes of the final cost: calls, and the time spent waiting for replies."""
    main_passes = int(ranked.benchmark.protocol["repeats"])
    calls = [sample for sample in ranked.samples.get(result.model, ()) if sample.repeat > main_passes]
    seconds = sum(sample.elapsed_ns or 0 for sample in calls) / 1e9
    return {"model": result.model, "passes": result.final_passes, "calls": len(calls), "seconds": seconds}


def _ties(ranked: RankedBenchmark) -> list[dict[str, Any]]:
    return [
        {"ahead": ahead.model, "behind": behind.model, "ahead_by": ahead_by(ahead, behind, ranked.incumbents)}
        for ahead, behind in combinations(ranked.scoreboard.ranked, 2)
        if behind.model in ahead.tied_with
    ]


def _outpaced(result: ModelResult) -> dict[str, Any]:
    return {
        "model": result.model,
        "cases_seen": result.cases_seen,
        "cases": result.cases,
        "avg_latency_ms": result.avg_latency_ms,
        "valid_calls": result.valid_calls,
    }


def _unranked(model: str, samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Return a model's counts of excluded calls, errors and failed attempts; None when all are zero."""
    excluded = Counter(sample.exclusion for sample in samples if sample.exclusion)
    errors = sum(sample.outcome is Outcome.ERROR for sample in samples)
    failed_attempts = sum(len(sample.attempts) for sample in samples)
    if not (excluded or errors or failed_attempts):
        return None
    return {
        "model": model,
        "calls": len(samples),
        "excluded": dict(sorted(excluded.items())),
        "errors": errors,
        "failed_attempts": failed_attempts,
    }


def _rules(ranked: RankedBenchmark) -> dict[str, str]:
    """Return the rules that excluded a latency, each with its meaning."""
    used = {sample.exclusion for samples in ranked.samples.values() for sample in samples}
    return {rule.value: MEANING[rule] for rule in ValidityRule if rule.value in used}
