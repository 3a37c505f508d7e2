"""What starts benchmarks, what people are told, and which of several hosts measured a model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_HOSTS = {
    "host": "the named host that measured it; NULL for another server",
    "final_host": "the named host of its passes in the final",
}


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Bring the schema forward. Nothing is carried over: until now Dagster's run keys remembered."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "benchmark_triggers",
        sa.Column("trigger_id", _id(), nullable=False),
        sa.Column("task_type", sa.String(60), nullable=False),
        sa.Column("cause", sa.String(40), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="what the cause is about; empty for the whole task"),
        sa.Column(
            "evidence", sa.String(64), nullable=False, comment="what is wanted; another value is another trigger"
        ),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=True, comment="the actors to measure; NULL for all"),
        sa.Column("terms", sa.JSON(), nullable=False, comment="terms of the protocol that this benchmark changes"),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="failed ones since the cause was noticed"),
        sa.Column("lost", sa.Integer(), nullable=False, comment="runs that ended without a word since then"),
        sa.Column("claims", sa.Integer(), nullable=False, comment="runs requested so far"),
        sa.Column("due_at", moment, nullable=False, comment="not before this moment"),
        sa.Column("note", sa.Text(), nullable=True, comment="the last failure, or what it waits for"),
        sa.Column("dagster_run_id", sa.String(60), nullable=True, comment="the run that carries it"),
        sa.Column("benchmark_id", sa.String(120), nullable=True, comment="what was measured for it"),
        sa.Column("noticed_at", moment, nullable=False),
        sa.Column("changed_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("trigger_id", name="pk_benchmark_triggers"),
        sa.UniqueConstraint("task_type", "cause", "subject", "evidence", name="uq_benchmark_triggers_task_type"),
    )
    op.create_index("ix_benchmark_triggers_state", "benchmark_triggers", ["state"])
    op.create_table(
        "benchmark_alerts",
        sa.Column("alert_id", _id(), nullable=False),
        sa.Column("cause", sa.String(40), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="what it is about; empty where the cause says it all"),
        sa.Column(
            "day", sa.String(10), nullable=False, comment="UTC, as 2026-12-01: at most one per cause, subject and day"
        ),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("made_at", moment, nullable=False),
        sa.Column("due_at", moment, nullable=False, comment="no sender takes it before; who takes it moves this on"),
        sa.Column("sent_at", moment, nullable=True, comment="NULL until a receiver accepted it"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True, comment="why it was not sent, without addresses"),
        sa.PrimaryKeyConstraint("alert_id", name="pk_benchmark_alerts"),
        sa.UniqueConstraint("cause", "subject", "day", name="uq_benchmark_alerts_cause"),
    )
    op.create_index("ix_benchmark_alerts_sent", "benchmark_alerts", ["sent_at"])
    for name, comment in _HOSTS.items():
        op.add_column("benchmark_model_runs", sa.Column(name, sa.String(100), nullable=True, comment=comment))
