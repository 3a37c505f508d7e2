"""A log kept by triggers of the application: every change that was made, by which login, in which order.

PostgreSQL tells the order by the moment of each commit (`track_commit_timestamp`). SQLite has one writer at a time,
so that the order of the lines is the order of the commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, text

from bench_pipeline_tests.campaigns.contenders import OPERATOR

SETTINGS = {"track_commit_timestamp": "on", "deadlock_timeout": "50ms"}
_WATCHED = (
    ("conversation", "conversations", "UPDATE OF actor_id", "conversation_id", "actor_id"),
    ("actor", "actors", "UPDATE OF enabled", "actor_id", "enabled"),
    ("freeze", "benchmark_freezes", "INSERT", "freeze_id", "frozen"),
    ("promotion", "benchmark_promotions", "INSERT", "promotion_id", "promotion_id"),
)
_TABLE = "CREATE TABLE campaign_log (log_id {key}, what text, key bigint, old text, new text, login text, xid {xid})"
_NOTE = """
CREATE FUNCTION campaign_note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE old_row jsonb := CASE TG_OP WHEN 'UPDATE' THEN to_jsonb(OLD) END; new_row jsonb := to_jsonb(NEW);
BEGIN
    INSERT INTO campaign_log (what, key, old, new, login, xid) VALUES (TG_ARGV[0], (new_row->>TG_ARGV[1])::bigint,
        old_row->>TG_ARGV[2], new_row->>TG_ARGV[2], session_user, pg_current_xact_id()::xid);
    RETURN NULL;
END $$
"""


@dataclass(frozen=True)
class Line:
    """One row that was changed. `old` and `new` are the value as text; `committed` is None in SQLite."""

    log_id: int
    what: str
    key: int
    old: str | None
    new: str | None
    login: str
    xid: str | None
    committed: datetime | None

    @property
    def new_id(self) -> int | None:
        """The new value of an actor or a promotion."""
        return None if self.new is None else int(self.new)

    @property
    def old_id(self) -> int | None:
        """The old value of an actor."""
        return None if self.old is None else int(self.old)

    @property
    def holds(self) -> bool:
        """The new value of a switch."""
        return self.new in ("true", "1")


def install(connection: Connection) -> None:
    """Make the log, its triggers, and an operator's login."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_TABLE.format(key="integer PRIMARY KEY", xid="text"))
        for what, table, when, key, value in _WATCHED:
            old = f"OLD.{value}" if when.startswith("UPDATE") else "NULL"
            connection.exec_driver_sql(
                f"CREATE TRIGGER campaign_{what} AFTER {when} ON {table} BEGIN INSERT INTO campaign_log "  # noqa: S608
                f"(what, key, old, new, login) VALUES ('{what}', NEW.{key}, {old}, NEW.{value}, campaign_login()); END"
            )
        return
    connection.exec_driver_sql(_TABLE.format(key="bigserial PRIMARY KEY", xid="xid"))
    connection.exec_driver_sql(_NOTE)
    for what, table, when, key, value in _WATCHED:
        connection.exec_driver_sql(
            f"CREATE TRIGGER campaign_{what} AFTER {when} ON {table} FOR EACH ROW "
            f"EXECUTE FUNCTION campaign_note('{what}', '{key}', '{value}')"
        )
    connection.exec_driver_sql(f"CREATE ROLE {OPERATOR} LOGIN")
    connection.exec_driver_sql(f"GRANT SELECT, UPDATE ON conversations, actors TO {OPERATOR}")


def mark(connection: Connection) -> int:
    """Return the last line."""
    return connection.scalar(text("SELECT coalesce(max(log_id), 0) FROM campaign_log")) or 0


def transactions_since(connection: Connection, log_id: int) -> list[list[Line]]:
    """Return what was committed after a line: transactions in the order of their commits, each with its lines."""
    committed = "pg_xact_commit_timestamp(xid)" if connection.dialect.name == "postgresql" else "NULL"
    query = text(
        f"SELECT log_id, what, key, old, new, login, CAST(xid AS text), {committed} "  # noqa: S608
        "FROM campaign_log WHERE log_id > :log_id ORDER BY log_id"
    )
    lines = [Line(*row) for row in connection.execute(query, {"log_id": log_id})]
    if connection.dialect.name == "sqlite":
        return list(_in_turn(lines))
    in_order = sorted(lines, key=lambda line: (line.committed, line.xid, line.log_id))
    return [list(group) for _, group in groupby(in_order, key=lambda line: line.xid)]


def _in_turn(lines: list[Line]) -> Iterator[list[Line]]:
    """Divide SQLite's lines: a promotion's own line is the last of its transaction, any other stands alone."""
    rows: list[Line] = []
    for line in lines:
        if line.what == "conversation" and line.login != OPERATOR:
            rows.append(line)
        elif line.what == "promotion":
            yield [*rows, line]
            rows = []
        else:
            yield [line]
    if rows:
        yield rows
