"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "benchmark_champions",
        sa.Column("conversation_id", sa.BigInteger(), nullable=False),
        sa.Column("task_type", sa.String(length=60), nullable=False),
        sa.Column("champion_actor_id", sa.BigInteger(), nullable=False),
        sa.Column("runner_up_actor_id", sa.BigInteger(), nullable=True),
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("avg_latency_ms", sa.Double(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_benchmark_champions")),
    )
    op.create_table(
        "benchmark_history",
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("task_type", sa.String(length=60), nullable=False),
        sa.Column("model_name", sa.String(length=300), nullable=False),
        sa.Column("correctness_score", sa.Double(), nullable=False),
        sa.Column("avg_latency_ms", sa.Double(), nullable=True),
        sa.Column("speed_score", sa.Double(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True, comment="NULL when not qualified"),
        sa.Column("benchmark_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("standing", sa.String(length=20), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column(
            "model_run_id",
            sa.BigInteger(),
            nullable=True,
            comment="the run that it rests on, maybe of an earlier benchmark",
        ),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("cases_correct", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("failures", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tied_with", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("family", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("benchmark_id", "model_name", name=op.f("pk_benchmark_history")),
    )
    with op.batch_alter_table("benchmark_history", schema=None) as batch_op:
        batch_op.create_index("ix_benchmark_history_task", ["task_type", "benchmark_date"], unique=False)

    op.create_table(
        "benchmark_plans",
        sa.Column("plan_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("task_type", sa.String(length=60), nullable=False),
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_benchmark_plans")),
    )
    op.create_table(
        "benchmark_promotions",
        sa.Column("promotion_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("task_type", sa.String(length=60), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False, comment="applied, validated, rolled_back"),
        sa.Column("evidence_hash", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("dagster_run_id", sa.String(length=60), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rolled_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rollback_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("promotion_id", name=op.f("pk_benchmark_promotions")),
        sa.UniqueConstraint("plan_hash", name=op.f("uq_benchmark_promotions_plan_hash")),
    )
    op.create_table(
        "benchmark_runs",
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("task_type", sa.String(length=60), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False, comment="benchmark, or validation of a promotion"),
        sa.Column("status", sa.String(length=20), nullable=False, comment="running, finished"),
        sa.Column(
            "evidence_key", sa.String(length=64), nullable=False, comment="hash of all that must be equal to compare"
        ),
        sa.Column("suite_version", sa.String(length=60), nullable=False),
        sa.Column("suite_hash", sa.String(length=64), nullable=False),
        sa.Column("suite", sa.JSON(), nullable=False, comment="the cases as they were run"),
        sa.Column("prompt_hash", sa.String(length=64), nullable=False),
        sa.Column("task", sa.JSON(), nullable=False, comment="task.yaml with the prompt that was used"),
        sa.Column("prompt_source", sa.String(length=200), nullable=False),
        sa.Column("reader_version", sa.String(length=20), nullable=False),
        sa.Column("protocol", sa.JSON(), nullable=False),
        sa.Column("protocol_hash", sa.String(length=64), nullable=False),
        sa.Column("hardware", sa.JSON(), nullable=False),
        sa.Column("tool_version", sa.String(length=40), nullable=False),
        sa.Column("dagster_run_id", sa.String(length=60), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("benchmark_id", name=op.f("pk_benchmark_runs")),
    )
    with op.batch_alter_table("benchmark_runs", schema=None) as batch_op:
        batch_op.create_index("ix_benchmark_runs_task", ["task_type", "started_at"], unique=False)

    op.create_table(
        "benchmark_candidates",
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("model_name", sa.String(length=300), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("execution_path", sa.Text(), nullable=True),
        sa.Column("exclusion", sa.String(length=40), nullable=True, comment="NULL for a model that was run"),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["benchmark_id"], ["benchmark_runs.benchmark_id"], name=op.f("fk_benchmark_candidates_benchmark_id")
        ),
        sa.PrimaryKeyConstraint("benchmark_id", "model_name", name=op.f("pk_benchmark_candidates")),
    )
    op.create_table(
        "benchmark_model_runs",
        sa.Column("model_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("benchmark_id", sa.String(length=120), nullable=False),
        sa.Column("model_name", sa.String(length=300), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("execution_path", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("identity", sa.JSON(), nullable=False),
        sa.Column("load_ns", sa.BigInteger(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("vram_bytes", sa.BigInteger(), nullable=True),
        sa.Column("context_length", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True, comment="what stopped the whole model run"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["benchmark_id"], ["benchmark_runs.benchmark_id"], name=op.f("fk_benchmark_model_runs_benchmark_id")
        ),
        sa.PrimaryKeyConstraint("model_run_id", name=op.f("pk_benchmark_model_runs")),
        sa.UniqueConstraint("benchmark_id", "model_name", name=op.f("uq_benchmark_model_runs_benchmark_id")),
    )
    op.create_table(
        "benchmark_promotion_rows",
        sa.Column("promotion_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("conversation_id", sa.BigInteger(), nullable=False),
        sa.Column("old_actor_id", sa.BigInteger(), nullable=True),
        sa.Column("new_actor_id", sa.BigInteger(), nullable=False),
        sa.Column("runner_up_actor_id", sa.BigInteger(), nullable=True),
        sa.Column("expected_gain", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("restored", sa.Boolean(), nullable=False),
        sa.Column("old_champion", sa.JSON(), nullable=True, comment="the registry's row before, for the way back"),
        sa.ForeignKeyConstraint(
            ["promotion_id"],
            ["benchmark_promotions.promotion_id"],
            name=op.f("fk_benchmark_promotion_rows_promotion_id"),
        ),
        sa.PrimaryKeyConstraint("promotion_id", "conversation_id", name=op.f("pk_benchmark_promotion_rows")),
    )
    op.create_table(
        "benchmark_validations",
        sa.Column("validation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("promotion_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("validated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["promotion_id"], ["benchmark_promotions.promotion_id"], name=op.f("fk_benchmark_validations_promotion_id")
        ),
        sa.PrimaryKeyConstraint("validation_id", name=op.f("pk_benchmark_validations")),
    )
    op.create_table(
        "benchmark_samples",
        sa.Column("sample_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("case_id", sa.String(length=100), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("expected", sa.String(length=20), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "latency_ns",
            sa.BigInteger(),
            nullable=True,
            comment="client side, without load; NULL without a complete reply",
        ),
        sa.Column("server_load_ns", sa.BigInteger(), nullable=True),
        sa.Column("server_prompt_ns", sa.BigInteger(), nullable=True),
        sa.Column("server_generation_ns", sa.BigInteger(), nullable=True),
        sa.Column("server_total_ns", sa.BigInteger(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cached_prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("generated_tokens", sa.BigInteger(), nullable=True),
        sa.Column("done_reason", sa.Text(), nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("thinking", sa.Text(), nullable=True),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_run_id"], ["benchmark_model_runs.model_run_id"], name=op.f("fk_benchmark_samples_model_run_id")
        ),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_benchmark_samples")),
        sa.UniqueConstraint("model_run_id", "case_id", "repeat", name=op.f("uq_benchmark_samples_model_run_id")),
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_table("benchmark_samples")
    op.drop_table("benchmark_validations")
    op.drop_table("benchmark_promotion_rows")
    op.drop_table("benchmark_model_runs")
    op.drop_table("benchmark_candidates")
    with op.batch_alter_table("benchmark_runs", schema=None) as batch_op:
        batch_op.drop_index("ix_benchmark_runs_task")

    op.drop_table("benchmark_runs")
    op.drop_table("benchmark_promotions")
    op.drop_table("benchmark_plans")
    with op.batch_alter_table("benchmark_history", schema=None) as batch_op:
        batch_op.drop_index("ix_benchmark_history_task")

    op.drop_table("benchmark_history")
    op.drop_table("benchmark_champions")
