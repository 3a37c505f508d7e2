"""Keys of production of any type, rows that the database signs, and what each task allows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEYS = {
    "benchmark_candidates": ("actor_id",),
    "benchmark_model_runs": ("actor_id",),
    "benchmark_history": ("actor_id",),
    "benchmark_decisions": ("conversation_id",),
    "benchmark_promotion_rows": ("conversation_id", "old_actor_id", "new_actor_id", "runner_up_actor_id"),
    "benchmark_champions": ("conversation_id", "champion_actor_id", "runner_up_actor_id"),
}
_COPIED = ("benchmark_decisions", "benchmark_promotion_rows", "benchmark_champions")
_REQUIRED = ("conversation_id", "champion_actor_id")
_SIGNED = {
    "benchmark_plans": ("requested_by", "made_at"),
    "benchmark_approvals": ("approved_by", "approved_at"),
    "benchmark_freezes": ("set_by", "set_at"),
    "benchmark_promotions": ("requested_by", "applied_at"),
}
_HAD_LOGIN = ("benchmark_approvals", "benchmark_freezes", "benchmark_promotions")
_APPEND_ONLY = ("benchmark_decisions", "benchmark_promotion_rows", *_SIGNED)
_LOGIN = "the login, set by the database; the account in SQLite"
_CLAIMED = "the account that the client named, which proves nothing"


def upgrade() -> None:
    """Bring the schema forward. Ids keep their values; a name that a client gave becomes the account."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        _upgrade_postgresql()
    else:
        _upgrade_sqlite()
    _add_tables()
    _add_triggers(postgresql)


def _upgrade_postgresql() -> None:
    """Change the columns in place: no trigger runs, so that the append-only tables allow it."""
    op.execute("ALTER TABLE benchmark_champions ALTER COLUMN conversation_id DROP DEFAULT")  # it had a sequence
    op.execute("DROP SEQUENCE IF EXISTS benchmark_champions_conversation_id_seq")
    for table, columns in _KEYS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE text USING {column}::text")
    for table, (who, _) in _SIGNED.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN account text")
        login = f"coalesce(database_role, {who})" if table in _HAD_LOGIN else who
        account = f"ALTER COLUMN account TYPE text USING {who}"
        op.execute(f"ALTER TABLE {table} {account}, ALTER COLUMN {who} TYPE text USING {login}")
        if table in _HAD_LOGIN:
            op.execute(f"ALTER TABLE {table} DROP COLUMN database_role")
        op.execute(f"COMMENT ON COLUMN {table}.account IS '{_CLAIMED}'")
        op.execute(f"COMMENT ON COLUMN {table}.{who} IS '{_LOGIN}'")


def _upgrade_sqlite() -> None:
    """Replace columns, and copy a table only where a key of its own changes: others refer to some of these tables."""
    for table in _APPEND_ONLY:
        _drop_triggers(table)
    for table, columns in _KEYS.items():
        if table in _COPIED:
            with op.batch_alter_table(table) as changed:
                for column in columns:
                    nullable = column not in _REQUIRED
                    changed.alter_column(
                        column, existing_type=sa.BigInteger(), type_=sa.Text(), existing_nullable=nullable
                    )
            continue
        for column in columns:
            op.execute(f"ALTER TABLE {table} ADD COLUMN key_of_any_type TEXT")
            op.execute(f"UPDATE {table} SET key_of_any_type = {column}")  # noqa: S608 - names of this module
            op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            op.execute(f"ALTER TABLE {table} RENAME COLUMN key_of_any_type TO {column}")
    for table, (who, _) in _SIGNED.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN account TEXT")
        op.execute(f"UPDATE {table} SET account = {who}")  # noqa: S608 - names of this module
        if table in _HAD_LOGIN:
            op.execute(f"ALTER TABLE {table} DROP COLUMN database_role")


def _drop_triggers(table: str) -> None:
    for verb in ("update", "delete"):
        op.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")


def _add_tables() -> None:
    op.create_table(
        "benchmark_task_terms",
        sa.Column("task_terms_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task_type", sa.String(60), nullable=False),
        sa.Column("terms_hash", sa.String(64), nullable=False, comment="SHA-256 of the document"),
        sa.Column(
            "document",
            sa.Text(),
            nullable=False,
            comment="what the task allows and measures, canonical JSON",
        ),
        sa.Column("recorded_by", sa.Text(), nullable=False, comment=_LOGIN),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task_terms_id", name=op.f("pk_benchmark_task_terms")),
    )
    op.create_index("ix_benchmark_task_terms_task", "benchmark_task_terms", ["task_type", "task_terms_id"])


def _add_triggers(postgresql: bool) -> None:
    if not postgresql:
        for table in (*_APPEND_ONLY, "benchmark_task_terms"):
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    op.execute(
        "CREATE TRIGGER benchmark_task_terms_no_change BEFORE UPDATE OR DELETE ON benchmark_task_terms "
        "FOR EACH ROW EXECUTE FUNCTION benchmark_refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER benchmark_task_terms_no_truncate BEFORE TRUNCATE ON benchmark_task_terms "
        "FOR EACH STATEMENT EXECUTE FUNCTION benchmark_refuse_change()"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION benchmark_sign() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RETURN pg_catalog.jsonb_populate_record(NEW, pg_catalog.jsonb_build_object("
        "TG_ARGV[0], session_user, TG_ARGV[1], pg_catalog.clock_timestamp())); END $$"
    )
    signed = {**_SIGNED, "benchmark_task_terms": ("recorded_by", "recorded_at")}
    del signed["benchmark_promotions"]  # only the promotion's function writes it
    for table, (who, when) in signed.items():
        op.execute(
            f"CREATE TRIGGER {table}_sign BEFORE INSERT ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION benchmark_sign('{who}', '{when}')"
        )
