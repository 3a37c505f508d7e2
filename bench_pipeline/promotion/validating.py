"""After a promotion: the known cases against the new champion, compared with the incumbent it replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.ranking import measured_alone, read_ranked
from bench_pipeline.benchmark.runner import run_benchmark
from bench_pipeline.domain.actor import Candidate
from bench_pipeline.domain.scoreboard import TIE_LEVEL, ModelResult
from bench_pipeline.domain.statistics import compare_paired
from bench_pipeline.promotion.applying import Rollback, roll_back
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.storage import promotions
from bench_pipeline.storage.benchmarks import VALIDATION
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotions import Promotion, Validation


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The outcome, its reasons in words, and the rollback when it failed."""

    promotion: Promotion
    passed: bool
    reasons: tuple[str, ...]
    champion: ModelResult | None
    rollback: Rollback | None = None


def validate_promotion(
    database: Database,
    production: Production,
    prepared: PreparedTask,
    promotion: Promotion,
    candidates: Sequence[Candidate],
    runtimes: Runtimes,
    max_model_bytes: int,
    on_event: OnEvent,
) -> ValidationResult:
    """Run the suite once more on the new champion and undo the promotion when it does not hold.

    It holds when every case is correct, when it is not slower than an incumbent that qualified beyond what chance
    explains (95 %, paired by case), and when its memory is below `max_model_bytes`. A champion that cannot be
    called does not hold either.
    """
    new_actor_id, name = promotion.plan.changes[0].new_actor_id, promotion.plan.changes[0].new_actor
    line = next((candidate for candidate in candidates if candidate.actor_id == new_actor_id), None)
    champion: ModelResult | None = None
    if line is None or not line.eligible:
        reasons = [f"{name} cannot be called: {line.detail if line else 'it is no actor any more'}"]
    else:
        run_id = run_benchmark(database, prepared, [line], runtimes, on_event, resume_hours=0, purpose=VALIDATION)
        champion, memory_bytes = measured_alone(database, run_id)
        reasons = _faults(champion, memory_bytes, _incumbents(database, promotion), max_model_bytes)
    with database.writing() as connection:
        promotions.insert_validation(connection, _record(promotion, champion, reasons))
        if not reasons:
            promotions.mark_validated(connection, promotion.promotion_id)
    undone = None
    if reasons:
        undone = roll_back(database, production, f"validation failed: {'; '.join(reasons)}", promotion.promotion_id)
    return ValidationResult(promotion, not reasons, tuple(reasons), champion, undone)


def _record(promotion: Promotion, champion: ModelResult | None, reasons: Sequence[str]) -> Validation:
    details = {
        "reasons": list(reasons),
        "model": champion.model if champion else None,
        "cases_correct": champion.cases_correct if champion else None,
        "cases": champion.cases if champion else None,
        "avg_latency_ms": champion.avg_latency_ms if champion else None,
    }
    return Validation(promotion.promotion_id, not reasons, details, datetime.now(UTC))


def _incumbents(database: Database, promotion: Promotion) -> list[ModelResult]:
    """Return what the promotion's benchmark found of the actors that were replaced, where they qualified."""
    scoreboard = read_ranked(database, promotion.benchmark_id).scoreboard
    replaced = {row.old_actor_id for row in promotion.plan.changes}
    return [result for result in scoreboard.ranked if result.actor_id in replaced]


def _faults(
    champion: ModelResult, memory_bytes: int | None, incumbents: Sequence[ModelResult], max_model_bytes: int
) -> list[str]:
    faults = []
    if not champion.qualified:
        faults.append(f"{champion.model} got {champion.cases_correct}/{champion.cases} cases right: {champion.why}")
    for incumbent in incumbents:
        # One pass proves no gain of a few percent: the final did. It would show that the final was wrong.
        found = compare_paired(champion.case_medians_ms, incumbent.case_medians_ms, TIE_LEVEL)
        if found is not None and found.low > 1:
            interval = f"{TIE_LEVEL:.0%} interval {found.low - 1:.1%} to {found.high - 1:.1%}, n={found.cases} cases"
            faults.append(f"{champion.model} is {found.ratio - 1:.1%} slower than {incumbent.model} was ({interval})")
    if memory_bytes is not None and memory_bytes > max_model_bytes:
        faults.append(
            f"{champion.model} holds {memory_bytes / 1e9:.1f} GB, the limit is {max_model_bytes / 1e9:.1f} GB"
        )
    return faults
