"""Locks as rows, which need no session of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward. A lock of an older version is an advisory lock, which nothing looks at any longer."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "benchmark_locks",
        sa.Column("purpose", sa.String(300), nullable=False, comment="what only its holder does, and on which host"),
        sa.Column("token", sa.String(32), nullable=False, comment="random, new for each holding"),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("process_started", sa.Double(), nullable=False, comment="seconds since 1970"),
        sa.Column("pid_namespace", sa.String(60), nullable=False, comment="tells a container's pids from the host's"),
        sa.Column("login", sa.String(63), nullable=True, comment="NULL in SQLite"),
        sa.Column("benchmark_id", sa.String(120), nullable=True, comment="what its holder measures"),
        sa.Column("taken_at", moment, nullable=False),
        sa.Column("renewed_at", moment, nullable=False),
        sa.Column("lease_s", sa.Integer(), nullable=False, comment="how long it stays taken after renewed_at"),
        sa.PrimaryKeyConstraint("purpose", name="pk_benchmark_locks"),
    )
