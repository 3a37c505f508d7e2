"""A history that other programs may fill: numbered rows, and the benchmark's identifier in a column of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLE = "benchmark_history"
_OF_OTHERS = ("task_type", "model_name", "correctness_score", "benchmark_date")
_NULLABLE = (*_OF_OTHERS, "standing", "cases", "cases_correct", "calls", "failures", "reason", "tied_with")
_COMMENTS = {
    "benchmark_run_id": "the benchmark; NULL in rows of other programs",
    "model": "the whole name, where model_name may be cut",
    "latency_ms": "the exact figure, where avg_latency_ms may be rounded",
}
_BY_DATE = "row_number() OVER (ORDER BY benchmark_date, benchmark_run_id, rank IS NULL, rank, model_name)"


def upgrade() -> None:
    """Number the rows by date and carry every value over."""
    if op.get_bind().dialect.name == "sqlite":
        _make_again()
    else:
        _change_in_place()
    op.create_index("uq_benchmark_history_run", _TABLE, ["benchmark_run_id", "model"], unique=True)


def _change_in_place() -> None:
    """Views of the table, and the rights on it, stay."""
    op.drop_constraint("pk_benchmark_history", _TABLE, type_="primary")
    op.alter_column(_TABLE, "benchmark_id", new_column_name="benchmark_run_id")
    for column in ("benchmark_run_id", *_NULLABLE):
        op.alter_column(_TABLE, column, nullable=True)
    op.alter_column(_TABLE, "benchmark_date", server_default=sa.func.current_timestamp())
    op.add_column(_TABLE, sa.Column("model", sa.Text()))
    op.add_column(_TABLE, sa.Column("latency_ms", sa.Double()))
    op.add_column(_TABLE, sa.Column("benchmark_id", sa.Integer()))
    op.execute(f"""
        UPDATE {_TABLE} h SET model = h.model_name, latency_ms = h.avg_latency_ms, benchmark_id = n.number
        FROM (SELECT benchmark_run_id, model_name, {_BY_DATE} AS number FROM {_TABLE}) n
        WHERE n.benchmark_run_id = h.benchmark_run_id AND n.model_name = h.model_name
    """)  # noqa: S608 - names of this module
    sequence = f"{_TABLE}_benchmark_id_seq"
    op.execute(f"CREATE SEQUENCE {sequence} AS integer OWNED BY {_TABLE}.benchmark_id")
    op.execute(f"SELECT setval('{sequence}', coalesce(max(benchmark_id), 0) + 1, false) FROM {_TABLE}")  # noqa: S608
    op.execute(f"ALTER TABLE {_TABLE} ALTER COLUMN benchmark_id SET DEFAULT nextval('{sequence}')")
    op.create_primary_key("pk_benchmark_history", _TABLE, ["benchmark_id"])
    for column, comment in _COMMENTS.items():
        op.alter_column(_TABLE, column, comment=comment)


def _make_again() -> None:
    """SQLite changes no primary key, so the table is copied. Its columns are those that it has by now."""
    old = sa.Table(_TABLE, sa.MetaData(), autoload_with=op.get_bind())
    kept = [column for column in old.columns if column.name != "benchmark_id"]
    first, rest = kept[:7], kept[7:]
    op.create_table(
        f"{_TABLE}_new",
        sa.Column("benchmark_id", sa.Integer(), nullable=False),
        *(_copy(column) for column in first),
        sa.Column("benchmark_run_id", sa.String(length=120)),
        sa.Column("model", sa.Text()),
        sa.Column("latency_ms", sa.Double()),
        *(_copy(column) for column in rest),
        sa.PrimaryKeyConstraint("benchmark_id", name="pk_benchmark_history"),
    )
    names = ", ".join(column.name for column in kept)
    number = _BY_DATE.replace("benchmark_run_id", "benchmark_id")
    op.execute(f"""
        INSERT INTO {_TABLE}_new (benchmark_id, benchmark_run_id, model, latency_ms, {names})
        SELECT {number}, benchmark_id, model_name, avg_latency_ms, {names} FROM {_TABLE}
    """)  # noqa: S608 - names of this module
    op.drop_table(_TABLE)
    op.execute("PRAGMA legacy_alter_table = ON")  # otherwise a view of the table forbids the renaming
    op.rename_table(f"{_TABLE}_new", _TABLE)
    op.execute("PRAGMA legacy_alter_table = OFF")
    op.create_index("ix_benchmark_history_task", _TABLE, ["task_type", "benchmark_date"])


def _copy(column: sa.Column[object]) -> sa.Column[object]:
    now = sa.func.current_timestamp()
    return sa.Column(
        column.name,
        column.type,
        nullable=column.name in _NULLABLE or column.nullable,
        server_default=now if column.name == "benchmark_date" else column.server_default,
    )
