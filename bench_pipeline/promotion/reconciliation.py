"""Completes what an interrupted run left open: a failed validation that was not undone, outdated documents.

What the documents say is in reporting/workflow_docs.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.promoting.changes import Promotion, Status
from bench_pipeline.promotion.rollback import Rollback
from bench_pipeline.promotion.validation import undo_failed
from bench_pipeline.reporting.workflow_docs import write_documents
from bench_pipeline.storage import promotions
from bench_pipeline.storage.locks import DOCUMENTS
from bench_pipeline.storage.promotions import Validation

_WAIT_S = 60  # for another process that writes the same documents


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was completed, and which promotions still wait for their validation."""

    undone: tuple[Rollback, ...]
    documents: tuple[Path, ...]
    intents: int
    waiting: tuple[Promotion, ...]


def reconcile(bench: Workbench, requested_by: str, dagster_run_id: str | None = None) -> Reconciliation:
    """Undo promotions whose validation failed, then bring the documents up to date with the database."""
    with bench.database.engine.connect() as connection:
        failed = [
            (one, validation)
            for one in promotions.all_promotions(connection)
            if one.status is Status.FAILED
            and (validation := promotions.last_validation(connection, one.promotion_id)) is not None
        ]
    undone: list[Rollback] = []
    for promotion, validation in failed:
        undone += _undo(bench, promotion, validation, requested_by, dagster_run_id)
    documents, intents = write_open_documents(bench)
    with bench.database.engine.connect() as connection:
        waiting = promotions.unvalidated(connection)
    return Reconciliation(tuple(undone), documents, intents, tuple(waiting))


def _undo(
    bench: Workbench, promotion: Promotion, failed: Validation, requested_by: str, dagster_run_id: str | None
) -> list[Rollback]:
    """Undo a promotion whose validation failed, unless another process has done so in the meantime."""
    try:
        return [undo_failed(bench, promotion, failed, requested_by, dagster_run_id)]
    except GateFailed:
        with bench.database.engine.connect() as connection:
            now = promotions.promotion_by_id(connection, promotion.promotion_id)
        if now is None or now.in_force:
            raise
        return []


def write_open_documents(bench: Workbench) -> tuple[tuple[Path, ...], int]:
    """Write the documents from the database and mark the open intents as done; return the files and their number.

    There is one writer at a time, and a waiting one reads the database afterwards. Raises `InputError` when a file
    cannot be written or the database does not show what the documents need; the intents then stay open.
    """
    settings = bench.settings
    with bench.database.exclusive(DOCUMENTS, _WAIT_S):
        with bench.database.engine.connect() as connection:
            intents = promotions.open_intents(connection)
        changed = write_documents(bench.database, bench.production, settings.production_dir, settings.max_model_bytes)
        if intents:
            with bench.database.writing() as connection:
                promotions.mark_intents_done(connection, intents, datetime.now(UTC))
    return tuple(changed), len(intents)
