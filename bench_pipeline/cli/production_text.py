"""Plans, promotions, validations and rollbacks as text for several commands. JSON and tables are in output.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench_pipeline.cli.output import safe, table
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.promotion.rollback import Rollback
from bench_pipeline.promotion.validation import ValidationResult


def plan_text(found: PromotionPlan) -> str:
    """Return a plan as a table with its benchmarks and its hash."""
    rows = [
        (
            f"{row.conversation_id} {row.conversation}",
            row.decision.value.upper() if row.decision else found.kind.value.upper(),
            f"{row.old_actor or 'none'} → {row.new_actor or 'none'}" if row.changes else row.old_actor or "none",
            row.runner_up or "none",
            row.reason,
        )
        for row in found.rows
    ]
    header = ("conversation", "decision", "actor", "runner-up", "why")
    rests_on = [f"benchmark {one.benchmark_id}" for one in found.evidence]
    undoes = [f"undoes {found.undoes}"] if found.undoes is not None else []
    return f"{table(header, rows)}\n\n{', '.join([*rests_on, *undoes, f'plan {found.hash[:12]}'])}"


def rollback_text(undone: Rollback) -> str:
    """Return what a rollback did."""
    lines = [f"↩️  promotion {undone.undone.promotion_id} is undone by {undone.promotion.promotion_id}"]
    lines += [f"   {_change(row)}" for row in undone.restored]
    lines += [
        f"   {row.conversation_id} {row.conversation}: left alone, changed in the meantime or its old actor was removed"
        for row in undone.left
    ]
    return "\n".join(safe(line) for line in lines)


def promotion_text(promotion: Promotion, already: bool = False) -> str:
    """Return what a change did, one line per row; `already` says that it was applied before."""
    head = f"✅ {promotion.kind.value} {promotion.promotion_id} {'was already applied' if already else 'applied'}"
    return "\n".join([head, *(safe(f"   {_change(row)}") for row in promotion.changed)])


def _change(row: PromotionRow) -> str:
    return f"{row.conversation_id} {row.conversation}: {row.old_actor or 'none'} → {row.new_actor or 'none'}"


def validation_lines(result: ValidationResult) -> Iterable[str]:
    """Return the outcome of a validation, what it compared, and the rollback when it failed."""
    if result.passed:
        yield f"✅ validation passed: {safe(', '.join(one.model for one in result.champions))}"
    else:
        yield f"❌ validation failed: {safe('; '.join(result.reasons))}"
    yield from (safe(f"   {one.model}: {words}") for one in result.champions for words in one.speed)
    if result.passed:
        return
    number = result.promotion.promotion_id
    if result.rollback is not None:
        yield rollback_text(result.rollback)
    else:
        yield f"👉 promotion {number} stays: a person restored it after a rollback; bench rollback {number} undoes it"


def document_lines(written: Sequence[Path]) -> Iterable[str]:
    """Return the documents that changed."""
    return [f"📝 {path}" for path in written] or ["📝 documents are up to date"]
