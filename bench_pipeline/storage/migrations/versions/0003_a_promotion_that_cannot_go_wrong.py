"""Promotions of several tasks, approvals, freezes, intents, and an audit that nobody can rewrite."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Row = dict[str, Any]
_AUDIT = (
    "benchmark_plans",
    "benchmark_decisions",
    "benchmark_approvals",
    "benchmark_freezes",
    "benchmark_promotions",
    "benchmark_promotion_rows",
    "benchmark_validations",
)


def upgrade() -> None:
    """Bring the schema forward. Plans that were never applied are dropped: they must be made again."""
    op.add_column(
        "benchmark_runs",
        sa.Column(
            "evidence_hash",
            sa.String(length=64),
            nullable=True,
            comment="of the scoreboard and its terms, as last ranked",
        ),
    )
    promotions, rows = _all("benchmark_promotions"), _all("benchmark_promotion_rows")
    validations = _all("benchmark_validations")
    tables = ("benchmark_validations", "benchmark_promotion_rows", "benchmark_promotions", "benchmark_plans")
    for table in tables:
        op.drop_table(table)
    made = _create()
    _refill(made, promotions, rows, validations)
    _append_only()


def _all(table: str) -> list[_Row]:
    lines = op.get_bind().execute(sa.text(f"SELECT * FROM {table}"))  # noqa: S608 - names of this module
    return [dict(line) for line in lines.mappings()]


def _create() -> dict[str, sa.Table]:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = sa.DateTime(timezone=True)
    made = [
        op.create_table(
            "benchmark_plans",
            sa.Column("plan_id", number, nullable=False),
            sa.Column("plan_hash", sa.String(length=64), nullable=False, comment="SHA-256 of the document"),
            sa.Column("kind", sa.String(length=20), nullable=False, comment="promotion, rollback, failover"),
            sa.Column("policy_hash", sa.String(length=64), nullable=False, comment="SHA-256 of its terms"),
            sa.Column("tasks", sa.Text(), nullable=False, comment="names, by commas"),
            sa.Column("document", sa.Text(), nullable=False, comment="the plan as canonical JSON"),
            sa.Column("requested_by", sa.Text(), nullable=False),
            sa.Column("made_at", moment, nullable=False),
            sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_benchmark_plans")),
        ),
        op.create_table(
            "benchmark_approvals",
            sa.Column("approval_id", number, nullable=False),
            sa.Column("plan_hash", sa.String(length=64), nullable=False),
            sa.Column("approved_by", sa.Text(), nullable=False),
            sa.Column("database_role", sa.String(length=63), comment="the login; NULL in SQLite"),
            sa.Column("approved_at", moment, nullable=False),
            sa.PrimaryKeyConstraint("approval_id", name=op.f("pk_benchmark_approvals")),
        ),
        op.create_table(
            "benchmark_freezes",
            sa.Column("freeze_id", number, nullable=False),
            sa.Column("frozen", sa.Boolean(), nullable=False, comment="the last row counts"),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.Column("set_by", sa.Text(), nullable=False),
            sa.Column("database_role", sa.String(length=63), comment="the login; NULL in SQLite"),
            sa.Column("set_at", moment, nullable=False),
            sa.PrimaryKeyConstraint("freeze_id", name=op.f("pk_benchmark_freezes")),
        ),
        op.create_table(
            "benchmark_promotions",
            sa.Column("promotion_id", number, nullable=False),
            sa.Column("kind", sa.String(length=20), nullable=False, comment="promotion, rollback, failover"),
            sa.Column("plan_hash", sa.String(length=64), nullable=False),
            sa.Column("policy_hash", sa.String(length=64), nullable=False, comment="SHA-256 of the plan's terms"),
            sa.Column("plan", sa.JSON(), nullable=False),
            sa.Column("undoes", number, comment="the change that it takes back"),
            sa.Column("bar", sa.String(length=20), comment="how long what it took back stays out: evidence, benchmark"),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.Column("requested_by", sa.Text(), nullable=False),
            sa.Column("approved_by", sa.Text(), comment="NULL when nobody had to"),
            sa.Column("database_role", sa.String(length=63), comment="the login; NULL in SQLite"),
            sa.Column("dagster_run_id", sa.String(length=60)),
            sa.Column("applied_at", moment, nullable=False),
            sa.ForeignKeyConstraint(
                ["undoes"], ["benchmark_promotions.promotion_id"], name=op.f("fk_benchmark_promotions_undoes")
            ),
            sa.PrimaryKeyConstraint("promotion_id", name=op.f("pk_benchmark_promotions")),
            sa.UniqueConstraint("plan_hash", name=op.f("uq_benchmark_promotions_plan_hash")),
            sa.UniqueConstraint("undoes", name=op.f("uq_benchmark_promotions_undoes")),
        ),
        op.create_table(
            "benchmark_promotion_rows",
            sa.Column("promotion_id", number, nullable=False),
            sa.Column("conversation_id", sa.BigInteger(), nullable=False),
            sa.Column("task_type", sa.String(length=60), nullable=False),
            sa.Column("benchmark_id", sa.String(length=120), comment="NULL in a rollback"),
            sa.Column("evidence_hash", sa.String(length=64), comment="NULL in a rollback"),
            sa.Column("conversation", sa.Text(), nullable=False, comment="its name then"),
            sa.Column("old_actor_id", sa.BigInteger()),
            sa.Column("old_actor", sa.Text(), comment="its name then"),
            sa.Column("new_actor_id", sa.BigInteger()),
            sa.Column("new_actor", sa.Text(), comment="its name then"),
            sa.Column("identity_hash", sa.String(length=64), comment="of the new actor's model as measured"),
            sa.Column("runner_up_actor_id", sa.BigInteger()),
            sa.Column("expected_gain", sa.Double()),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.Column(
                "changed",
                sa.Boolean(),
                nullable=False,
                comment="false: a rollback left it, because it was changed since",
            ),
            sa.Column("old_champion", sa.JSON(), comment="the registry's row before, for the way back"),
            sa.ForeignKeyConstraint(
                ["promotion_id"],
                ["benchmark_promotions.promotion_id"],
                name=op.f("fk_benchmark_promotion_rows_promotion_id"),
            ),
            sa.PrimaryKeyConstraint("promotion_id", "conversation_id", name=op.f("pk_benchmark_promotion_rows")),
        ),
        op.create_table(
            "benchmark_intents",
            sa.Column("intent_id", number, nullable=False),
            sa.Column("promotion_id", number, nullable=False),
            sa.Column("made_at", moment, nullable=False),
            sa.Column("done_at", moment, comment="NULL until the documents say what the promotion did"),
            sa.ForeignKeyConstraint(
                ["promotion_id"], ["benchmark_promotions.promotion_id"], name=op.f("fk_benchmark_intents_promotion_id")
            ),
            sa.PrimaryKeyConstraint("intent_id", name=op.f("pk_benchmark_intents")),
        ),
        op.create_table(
            "benchmark_validations",
            sa.Column("validation_id", number, nullable=False),
            sa.Column("promotion_id", number, nullable=False),
            sa.Column("passed", sa.Boolean(), nullable=False),
            sa.Column(
                "bar", sa.String(length=20), comment="how long a champion that failed stays out; NULL when it passed"
            ),
            sa.Column("details", sa.JSON(), nullable=False),
            sa.Column("validated_at", moment, nullable=False),
            sa.ForeignKeyConstraint(
                ["promotion_id"],
                ["benchmark_promotions.promotion_id"],
                name=op.f("fk_benchmark_validations_promotion_id"),
            ),
            sa.PrimaryKeyConstraint("validation_id", name=op.f("pk_benchmark_validations")),
        ),
    ]
    op.create_index("ix_benchmark_plans_hash", "benchmark_plans", ["plan_hash"])
    op.create_index("ix_benchmark_approvals_hash", "benchmark_approvals", ["plan_hash"])
    return {table.name: table for table in made if table is not None}


def _refill(
    made: dict[str, sa.Table], promotions: Iterable[_Row], rows: Iterable[_Row], validations: Iterable[_Row]
) -> None:
    """Carry the promotions over. One that was undone gets a rollback of its own, numbered after all others."""
    old = {row["promotion_id"]: row for row in promotions}
    of_old: dict[int, list[_Row]] = {number: [] for number in old}
    for row in rows:
        of_old[row["promotion_id"]].append(row)
    undone = sorted((row for row in old.values() if row["rolled_back_at"]), key=lambda row: str(row["rolled_back_at"]))
    numbers = dict(zip([row["promotion_id"] for row in undone], range(max(old, default=0) + 1, 1 << 31), strict=False))
    new = [_promotion(row) for row in old.values()] + [_rollback(row, numbers[row["promotion_id"]]) for row in undone]
    lines = [_line(old[n], line) for n, found in of_old.items() for line in found]
    lines += [_line_back(old[n], numbers[n], line) for n in numbers for line in of_old[n]]
    judged = [
        row | {"passed": bool(row["passed"]), "bar": None if row["passed"] else "benchmark",
               "details": _json(row["details"]), "validated_at": _moment(row["validated_at"])}
        for row in validations
    ]  # fmt: skip
    for table, content in (
        ("benchmark_promotions", new),
        ("benchmark_promotion_rows", lines),
        ("benchmark_validations", judged),
    ):
        if content:
            op.bulk_insert(made[table], content)
    if op.get_bind().dialect.name == "postgresql":
        for table, key in (("benchmark_promotions", "promotion_id"), ("benchmark_validations", "validation_id")):
            highest = f"(SELECT coalesce(max({key}), 0) + 1 FROM {table})"  # noqa: S608 - names of this module
            op.execute(f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), {highest}, false)")


def _promotion(row: _Row) -> _Row:
    return {
        "promotion_id": row["promotion_id"],
        "kind": "promotion",
        "plan_hash": row["plan_hash"],
        "policy_hash": "",
        "plan": _json(row["plan"]),
        "undoes": None,
        "bar": None,
        "reason": "",
        "requested_by": row["requested_by"],
        "approved_by": None,
        "database_role": None,
        "dagster_run_id": row["dagster_run_id"],
        "applied_at": _moment(row["applied_at"]),
    }


def _rollback(row: _Row, number: int) -> _Row:
    return _promotion(row) | {
        "promotion_id": number,
        "kind": "rollback",
        "plan_hash": f"rollback of {row['promotion_id']}",
        "undoes": row["promotion_id"],
        "bar": "benchmark",
        "reason": row["rollback_reason"] or "",
        "dagster_run_id": None,
        "applied_at": _moment(row["rolled_back_at"]),
    }


def _line(promotion: _Row, row: _Row) -> _Row:
    planned = next(r for r in _json(promotion["plan"])["rows"] if r["conversation_id"] == row["conversation_id"])
    return {
        "promotion_id": row["promotion_id"],
        "conversation_id": row["conversation_id"],
        "task_type": promotion["task_type"],
        "benchmark_id": promotion["benchmark_id"],
        "evidence_hash": promotion["evidence_hash"],
        "conversation": planned["conversation"],
        "old_actor_id": row["old_actor_id"],
        "old_actor": planned["old_actor"],
        "new_actor_id": row["new_actor_id"],
        "new_actor": planned["new_actor"],
        "identity_hash": None,
        "runner_up_actor_id": row["runner_up_actor_id"],
        "expected_gain": row["expected_gain"],
        "reason": row["reason"],
        "changed": True,
        "old_champion": _json(row["old_champion"]),
    }


def _line_back(promotion: _Row, number: int, row: _Row) -> _Row:
    there = _line(promotion, row)
    return there | {
        "promotion_id": number,
        "benchmark_id": None,
        "evidence_hash": None,
        "old_actor_id": there["new_actor_id"],
        "old_actor": there["new_actor"],
        "new_actor_id": there["old_actor_id"],
        "new_actor": there["old_actor"],
        "runner_up_actor_id": None,
        "expected_gain": None,
        "reason": promotion["rollback_reason"] or "",
        "changed": bool(row["restored"]),
        "old_champion": None,
    }


def _json(value: Any) -> Any:  # noqa: ANN401 - SQLite gives text, PostgreSQL the value
    return json.loads(value) if isinstance(value, str) else value


def _moment(value: Any) -> datetime:  # noqa: ANN401 - SQLite gives text, PostgreSQL the value
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in _AUDIT:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    refuse = "benchmark_refuse_change()"
    op.execute(
        f"CREATE OR REPLACE FUNCTION {refuse} RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$"
    )
    for table in _AUDIT:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {refuse}"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {refuse}"
        )
