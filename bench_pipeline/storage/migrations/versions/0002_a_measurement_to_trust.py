"""The validity screen, races and finals, statistics, and decisions that can be replayed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NEW_COLUMNS: dict[str, list[sa.Column[Any]]] = {
    "benchmark_runs": [
        sa.Column(
            "incumbents",
            sa.JSON(),
            nullable=True,
            comment="names of the models that production used for the task then",
        ),
        sa.Column(
            "invalid",
            sa.Text(),
            nullable=True,
            comment="why nothing may be decided from it, such as the anchor's drift",
        ),
        sa.Column(
            "rescored_from",
            sa.String(length=120),
            nullable=True,
            comment="the benchmark whose stored replies were read again",
        ),
    ],
    "benchmark_candidates": [
        sa.Column(
            "reason_code", sa.String(length=40), nullable=True, comment="what became of it; see the elimination ledger"
        ),
        sa.Column("reason", sa.Text(), nullable=True),
    ],
    "benchmark_model_runs": [
        sa.Column(
            "role",
            sa.String(length=20),
            nullable=False,
            server_default="candidate",
            comment="candidate, or the anchor's two",
        ),
        sa.Column("stopped", sa.String(length=20), nullable=True, comment="why a race stopped it: failed, outpaced"),
        sa.Column(
            "final_passes", sa.Integer(), nullable=False, server_default="0", comment="passes beyond the repeats"
        ),
    ],
    "benchmark_samples": [
        sa.Column(
            "elapsed_ns",
            sa.BigInteger(),
            nullable=True,
            comment="client side, from sending to the last byte, with load",
        ),
        sa.Column(
            "exclusion", sa.String(length=40), nullable=True, comment="the rule by which the latency does not rank"
        ),
        sa.Column("attempts", sa.JSON(), nullable=True, comment="failures of infrastructure before the reply"),
    ],
    "benchmark_history": [
        sa.Column("cases_seen", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("valid_calls", sa.Integer(), nullable=False, server_default="0", comment="calls whose latency ranks"),
        sa.Column("median_ms", sa.Double(), nullable=True),
        sa.Column("p90_ms", sa.Double(), nullable=True),
        sa.Column("cv", sa.Double(), nullable=True),
        sa.Column("case_medians_ms", sa.JSON(), nullable=True),
        sa.Column("final_case_medians_ms", sa.JSON(), nullable=True),
        sa.Column("final_passes", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("flaky", sa.JSON(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
    ],
}


def upgrade() -> None:
    """Bring the schema forward."""
    for table, columns in _NEW_COLUMNS.items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "benchmark_decisions",
        sa.Column("decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("task_type", sa.String(length=60), nullable=False),
        sa.Column("conversation_id", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "evidence",
            sa.JSON(),
            nullable=False,
            comment="scoreboard, incumbent and policy: all that it is a function of",
        ),
        sa.Column("evidence_hash", sa.String(length=64), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_benchmark_decisions")),
    )
    op.create_index("ix_benchmark_decisions_benchmark", "benchmark_decisions", ["benchmark_id"])
