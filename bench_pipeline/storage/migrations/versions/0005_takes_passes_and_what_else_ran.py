"""The repetition of a disturbed call, the latencies of each pass, and what else ran during a pass."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ONE_PER_CALL = "uq_benchmark_samples_model_run_id"


def upgrade() -> None:
    """Bring the schema forward. Every call made until now is the first take of its pass."""
    with op.batch_alter_table("benchmark_samples") as samples:
        samples.add_column(
            sa.Column(
                "take",
                sa.Integer(),
                nullable=False,
                server_default="1",
                comment="1, or 2 for the repetition of a disturbed call",
            )
        )
        samples.alter_column("expected", existing_type=sa.String(20), type_=sa.String(60), existing_nullable=False)
        samples.alter_column("verdict", existing_type=sa.String(20), type_=sa.String(60), existing_nullable=True)
        samples.drop_constraint(_ONE_PER_CALL, type_="unique")
        samples.create_unique_constraint(_ONE_PER_CALL, ["model_run_id", "case_id", "repeat", "take"])
    op.add_column(
        "benchmark_history",
        sa.Column("pass_means_ms", sa.JSON(), nullable=True, comment="mean latency of each main pass"),
    )
    op.add_column(
        "benchmark_history",
        sa.Column(
            "final_latencies_ms",
            sa.JSON(),
            nullable=True,
            comment="latencies of the final: one object per pass, by case",
        ),
    )
    op.create_table(
        "benchmark_pass_loads",
        sa.Column("model_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column(
            "other_cores",
            sa.Double(),
            nullable=False,
            comment="mean number of CPU cores that other processes kept busy",
        ),
        sa.Column(
            "gpu_others",
            sa.JSON(),
            nullable=True,
            comment="other processes' use of the GPU as the driver reports it",
        ),
        sa.ForeignKeyConstraint(
            ["model_run_id"], ["benchmark_model_runs.model_run_id"], name=op.f("fk_benchmark_pass_loads_model_run_id")
        ),
        sa.PrimaryKeyConstraint("model_run_id", "repeat", name=op.f("pk_benchmark_pass_loads")),
    )
