"""SQL triggers of our own tables: recorded rows cannot be changed, and the database signs them. Tables: tables.py."""

from __future__ import annotations

from sqlalchemy import Connection, Table, event

from bench_pipeline.storage.tables import AUDIT, approvals, freezes, plans, task_terms

REFUSAL = "benchmark_refuse_change()"
"""The function that refuses a change, in PostgreSQL."""
SIGNATURE = "benchmark_sign()"
"""The function that writes who and when into a new row, in PostgreSQL."""
SIGNED = {
    task_terms.name: ("recorded_by", "recorded_at"),
    plans.name: ("requested_by", "made_at"),
    approvals.name: ("approved_by", "approved_at"),
    freezes.name: ("set_by", "set_at"),
}
"""The columns of who and when that the database sets, by table. A client's values for them count for nothing."""


def append_only_ddl(table: str, dialect: str) -> list[str]:
    """Return the statements that make a database refuse any change of a row of `table`."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    return [
        f"CREATE OR REPLACE FUNCTION {REFUSAL} RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {REFUSAL}",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {REFUSAL}",
    ]


def signing_ddl(table: str, dialect: str) -> list[str]:
    """Return the statements that make a database sign each new row of `table`; SQLite has no logins to sign with."""
    if dialect == "sqlite" or table not in SIGNED:
        return []
    who, when = SIGNED[table]
    return [
        f"CREATE OR REPLACE FUNCTION {SIGNATURE} RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RETURN pg_catalog.jsonb_populate_record(NEW, pg_catalog.jsonb_build_object("
        "TG_ARGV[0], session_user, TG_ARGV[1], pg_catalog.clock_timestamp())); END $$",
        f"CREATE TRIGGER {table}_sign BEFORE INSERT ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {SIGNATURE[:-2]}('{who}', '{when}')",
    ]


def _add_triggers(table: Table, connection: Connection, **_: object) -> None:
    for ddl in (append_only_ddl, signing_ddl):
        for statement in ddl(table.name, connection.dialect.name):
            connection.exec_driver_sql(statement)


for _table in AUDIT:
    event.listen(_table, "after_create", _add_triggers)
