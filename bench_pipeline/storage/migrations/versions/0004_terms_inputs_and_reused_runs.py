"""One name for each hash, the reused model run of a candidate, and column comments in plain English."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_RENAMED = (
    ("benchmark_plans", "policy_hash", "terms_hash"),
    ("benchmark_promotions", "policy_hash", "terms_hash"),
    ("benchmark_decisions", "evidence", "input"),
    ("benchmark_decisions", "evidence_hash", "input_hash"),
)
# Until now the ranking knew by itself which earlier run counts; its history says which one it was.
_REUSED = """
UPDATE benchmark_candidates SET reused_run_id = (
    SELECT h.model_run_id FROM benchmark_history h
    JOIN benchmark_model_runs r ON r.model_run_id = h.model_run_id
    WHERE h.benchmark_id = benchmark_candidates.benchmark_id AND h.model_name = benchmark_candidates.model_name
        AND r.benchmark_id <> h.benchmark_id
)
"""
_AT_THAT_TIME = "its name at that time"
_COMMENTS = {
    "benchmark_runs": {
        "evidence_key": "hash of all that must be equal to compare runs",
        "incumbents": "names of the models that production used for the task at that time",
        "invalid": "why no decision may rest on it, such as drift of the anchor",
        "rescored_from": "the benchmark whose stored replies were judged again",
        "evidence_hash": "SHA-256 of the scoreboard and its terms, as last ranked",
    },
    "benchmark_candidates": {"reason_code": "outcome for the model; see the elimination ledger"},
    "benchmark_model_runs": {"role": "candidate, or an anchor's run"},
    "benchmark_samples": {
        "exclusion": "the rule that keeps the latency out of the ranking",
        "attempts": "infrastructure failures before the reply",
    },
    "benchmark_history": {"model_run_id": "the model run behind it, possibly of an earlier benchmark"},
    "benchmark_plans": {"tasks": "names, comma-separated"},
    "benchmark_decisions": {
        "input": "scoreboard, incumbent and policy: everything it depends on",
        "input_hash": "SHA-256 of the input",
    },
    "benchmark_freezes": {"frozen": "the latest row counts"},
    "benchmark_promotions": {
        "undoes": "the change that it undoes",
        "bar": "how long the actor it removed is barred: evidence, benchmark",
        "approved_by": "NULL when no approval was needed",
    },
    "benchmark_promotion_rows": {
        "conversation": _AT_THAT_TIME,
        "old_actor": _AT_THAT_TIME,
        "new_actor": _AT_THAT_TIME,
        "changed": "false when a rollback left the row alone",
        "old_champion": "the registry's row before the change, for a rollback",
    },
    "benchmark_intents": {"done_at": "NULL until the documents are written"},
    "benchmark_validations": {"bar": "how long a failed champion is barred; NULL when it passed"},
}


def upgrade() -> None:
    """Rename in place, so that the rows and the triggers of the audit stay as they are."""
    for table, old, new in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    op.add_column(
        "benchmark_candidates",
        sa.Column(
            "reused_run_id",
            sa.BigInteger(),
            nullable=True,
            comment="the earlier model run that counts for it in the ranking",
        ),
    )
    op.execute(_REUSED)
    if op.get_bind().dialect.name == "postgresql":
        for table, columns in _COMMENTS.items():
            for column, comment in columns.items():
                quoted = comment.replace("'", "''")
                op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{quoted}'")
