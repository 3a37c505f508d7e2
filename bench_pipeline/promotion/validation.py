"""Validates a promotion: runs the test cases on the new champions and compares them with the replaced incumbents.

The team's own runner is called in validation_hook.py, the rollback is made in rollback.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.ranking import measured_alone, read_ranked
from bench_pipeline.benchmark.runner import RunTerms, run_benchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.measuring.benchmark import Purpose
from bench_pipeline.domain.measuring.scoreboard import TIE_LEVEL, ModelResult, Standing
from bench_pipeline.domain.measuring.statistics import compare_cases, interval_text
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow, Status
from bench_pipeline.domain.promoting.plan import Bar
from bench_pipeline.promotion.rollback import Rollback, change_to_undo, undo
from bench_pipeline.promotion.validation_hook import run_hook
from bench_pipeline.storage import promotions
from bench_pipeline.storage.promotions import Validation


@dataclass(frozen=True, slots=True)
class ChampionCheck:
    """The check of one new champion: its result on the test cases, and its faults.

    `lasting` distinguishes a fault of the model from one of the machine or the runtime, which may be temporary.
    """

    task: str
    model: str
    result: ModelResult | None
    faults: tuple[str, ...] = ()
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The outcome, its reasons in words, and the rollback when it failed.

    There is no rollback if a person undid an earlier rollback of this promotion; that person decides.
    """

    promotion: Promotion
    passed: bool
    reasons: tuple[str, ...]
    champions: tuple[ChampionCheck, ...]
    rollback: Rollback | None = None


def validate_promotion(
    bench: Workbench,
    promotion: Promotion,
    requested_by: str,
    on_event: OnEvent,
    dagster_run_id: str | None = None,
) -> ValidationResult:
    """Run each task's suite again on its new champion and undo the promotion if one fails.

    A champion passes if every case is correct, if it is not significantly slower than a qualified incumbent (95 %,
    paired by case), if its memory is below the limit, and if the team's own runner, when there is one, agrees. A
    champion that cannot be called fails. After a failure of speed alone, or of the infrastructure, it is barred for
    this benchmark only; the next benchmark measures both again.
    A promotion that a person restored after a rollback is validated but not undone.
    """
    lines = candidates(bench, {row.new_actor_id for row in promotion.changed if row.new_actor_id is not None})
    checks = [_check(bench, promotion, row, lines, on_event) for row in _new_champions(promotion)]
    reasons = [fault for one in checks for fault in one.faults]
    lasting = any(one.faults and one.lasting for one in checks)
    details: dict[str, object] = {"champions": [_details(one) for one in checks]}
    if not reasons and bench.settings.validation_hook is not None:
        answer = run_hook(
            bench.settings.validation_hook, _question(promotion, lines), bench.settings.validation_hook_limit_s
        )
        details["hook"] = {"passed": answer.passed, "answered": answer.answered, "details": dict(answer.details)}
        if not answer.passed:
            reasons += answer.reasons or ("the validation hook did not pass it",)
            lasting = answer.answered
    bar = (Bar.EVIDENCE if lasting else Bar.BENCHMARK) if reasons else None
    found = Validation(promotion.promotion_id, not reasons, bar, details | {"reasons": reasons}, datetime.now(UTC))
    with bench.database.writing() as connection:
        promotions.insert_validation(connection, found)
    undone = None
    if reasons and promotion.status is not Status.REAPPLIED:
        undone = undo_failed(bench, promotion, found, requested_by, dagster_run_id)
    return ValidationResult(promotion, not reasons, tuple(reasons), tuple(checks), undone)


def undo_failed(
    bench: Workbench,
    promotion: Promotion,
    failed: Validation,
    requested_by: str,
    dagster_run_id: str | None = None,
) -> Rollback:
    """Undo a promotion whose validation failed."""
    reason = f"validation failed: {'; '.join(failed.details['reasons'])}"
    with bench.database.engine.connect() as connection:
        undone = change_to_undo(connection, promotion.promotion_id)
    return undo(bench, undone, reason, failed.bar, requested_by, dagster_run_id)


def _new_champions(promotion: Promotion) -> list[PromotionRow]:
    """Return one row per task and new actor."""
    return list({(row.task, row.new_actor_id): row for row in promotion.changed}.values())


def _check(
    bench: Workbench,
    promotion: Promotion,
    row: PromotionRow,
    lines: Sequence[Candidate],
    on_event: OnEvent,
) -> ChampionCheck:
    name = row.new_actor or f"actor {row.new_actor_id}"
    line = next((candidate for candidate in lines if candidate.actor_id == row.new_actor_id), None)
    if line is None or not line.eligible:
        fault = f"{name} cannot be called: {line.detail if line else 'the actor no longer exists'}"
        return ChampionCheck(row.task, name, None, (fault,), lasting=False)
    prepared = prepare(bench, row.task)
    benchmark_id = run_benchmark(
        bench, prepared, Field((line,)), on_event, RunTerms(Purpose.VALIDATION, resume_hours=0.0)
    )
    champion, memory_bytes = measured_alone(bench.database, benchmark_id)
    lasting = list(_lasting_faults(champion, memory_bytes, bench.settings.max_model_bytes))
    slow = list(_slowness(champion, _incumbents(bench, promotion, row)))
    known = champion.standing is not Standing.INCONCLUSIVE
    return ChampionCheck(row.task, name, champion, (*lasting, *slow), lasting=bool(lasting) and known)


def _details(one: ChampionCheck) -> dict[str, object]:
    result = one.result
    return {
        "task": one.task,
        "model": one.model,
        "cases_correct": result.cases_correct if result else None,
        "cases": result.cases if result else None,
        "avg_latency_ms": result.avg_latency_ms if result else None,
    }


def _question(promotion: Promotion, lines: Sequence[Candidate]) -> dict[str, object]:
    names = ("conversation_id", "conversation", "task", "old_actor_id", "old_actor", "new_actor_id", "new_actor")
    paths = {line.actor_id: line.ref.execution_path for line in lines if line.ref}
    return {
        "promotion_id": promotion.promotion_id,
        "plan_hash": promotion.plan_hash,
        "conversations": [
            {name: getattr(row, name) for name in names} | {"execution_path": paths.get(row.new_actor_id)}
            for row in promotion.changed
        ],
    }


def _incumbents(bench: Workbench, promotion: Promotion, new: PromotionRow) -> list[ModelResult]:
    """Return the benchmark's results of the actors that this one replaced, if they qualified."""
    if new.benchmark_id is None:
        return []
    replaced = {row.old_actor_id for row in promotion.changed if row.task == new.task}
    scoreboard = read_ranked(bench.database, new.benchmark_id).scoreboard
    return [result for result in scoreboard.ranked if result.actor_id in replaced]


def _lasting_faults(champion: ModelResult, memory_bytes: int | None, max_model_bytes: int) -> Iterator[str]:
    if not champion.qualified:
        yield f"{champion.model} got {champion.cases_correct}/{champion.cases} cases right: {champion.why}"
    if memory_bytes is not None and memory_bytes > max_model_bytes:
        yield f"{champion.model} uses {memory_bytes / 1e9:.1f} GB, the limit is {max_model_bytes / 1e9:.1f} GB"


def _slowness(champion: ModelResult, incumbents: Sequence[ModelResult]) -> Iterator[str]:
    for incumbent in incumbents:
        # One pass cannot confirm a gain of a few percent, as the final did, but it can show that the final was wrong.
        found = compare_cases(champion.case_medians_ms, incumbent.case_medians_ms, TIE_LEVEL)
        if found is not None and found.low > 1:
            interval = interval_text(found, lambda ratio: ratio - 1)
            yield f"{champion.model} is {found.ratio - 1:.1%} slower than {incumbent.model} was ({interval})"
