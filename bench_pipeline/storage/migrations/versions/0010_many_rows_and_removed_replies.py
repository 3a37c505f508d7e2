"""Indexes for a database with many benchmarks and promotions, and when the replies of a benchmark were removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_benchmark_runs_evidence": ("benchmark_runs", "evidence_key"),
    "ix_benchmark_runs_suite": ("benchmark_runs", "suite_hash"),
    "ix_benchmark_candidates_actor": ("benchmark_candidates", "actor_id"),
    "ix_benchmark_candidates_exclusion": ("benchmark_candidates", "exclusion"),
    "ix_benchmark_decisions_plan": ("benchmark_decisions", "plan_hash"),
    "ix_benchmark_promotion_rows_task": ("benchmark_promotion_rows", "task_type"),
    "ix_benchmark_intents_promotion": ("benchmark_intents", "promotion_id"),
    "ix_benchmark_intents_open": ("benchmark_intents", "done_at"),
    "ix_benchmark_validations_promotion": ("benchmark_validations", "promotion_id"),
}


def upgrade() -> None:
    """Bring the schema forward. No reply was removed until now."""
    for name, (table, column) in _INDEXES.items():
        op.create_index(name, table, [column])
    op.add_column(
        "benchmark_runs",
        sa.Column(
            "pruned_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its replies were removed; NULL while it has them",
        ),
    )
