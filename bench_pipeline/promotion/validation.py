"""Validates a promotion: every new champion is checked, the team's own runner is asked, a failure is undone.

A champion is measured in champion_check.py, the runner is called in validation_hook.py, the rollback made in
rollback.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow, Status
from bench_pipeline.domain.promoting.plan import Bar
from bench_pipeline.promotion.champion_check import ChampionCheck, check_champion
from bench_pipeline.promotion.rollback import Rollback, change_to_undo, undo
from bench_pipeline.promotion.validation_hook import run_hook
from bench_pipeline.storage import promotions
from bench_pipeline.storage.promotions import Validation


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

    A champion passes if every case is correct in every pass, if a session of both does not show it to be slower than an
    incumbent that it replaced, if its memory is below the limit, and if the team's own runner, when there is one,
    agrees. A champion that cannot be called fails; an incumbent that cannot be called fails nothing. After a failure of
    speed alone, or of the infrastructure, the champion is barred for this benchmark only; the next one measures both
    again.
    A promotion that a person restored after a rollback is validated but not undone.
    """
    actors = {actor_id for row in promotion.changed for actor_id in (row.old_actor_id, row.new_actor_id)}
    asked = {actor_id for actor_id in actors if actor_id is not None}
    lines = candidates(bench, asked, bench.settings.load_time_limit_s)
    checks = [check_champion(bench, promotion, row, lines, on_event) for row in _new_champions(promotion)]
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


def _details(one: ChampionCheck) -> dict[str, object]:
    result = one.result
    return {
        "task": one.task,
        "model": one.model,
        "cases_correct": result.cases_correct if result else None,
        "cases": result.cases if result else None,
        "avg_latency_ms": result.avg_latency_ms if result else None,
        "speed": list(one.speed),
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
