"""Limits how long a transaction in PostgreSQL waits for another one's lock, and names who holds it.

The limit is set in each transaction, because a pooler may give each one another session. A connection with the
option `own_lock_timeout` sets its own limit and explains it itself, as a promotion does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError

from bench_pipeline.domain.errors import DatabaseBusy

LOCK_TIMEOUT_MS = 10_000
_TIMED_OUT = "55P03"


def limit_lock_wait(connection: Connection) -> None:
    """Set the limit for the transaction that begins."""
    if not connection.get_execution_options().get("own_lock_timeout"):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")


def explain_lock_timeout(context: ExceptionContext) -> None:
    """Raise `DatabaseBusy` for a lock that did not come in time; it names the table and who holds the lock."""
    if getattr(context.original_exception, "pgcode", None) != _TIMED_OUT or context.engine is None:
        return
    if context.connection is not None and context.connection.get_execution_options().get("own_lock_timeout"):
        return
    values = context.parameters if isinstance(context.parameters, dict) else {}
    try:
        who = _blocker(context.engine, context.statement or "", values)
    except SQLAlchemyError:
        who = ""
    raise DatabaseBusy(
        f"the database gave no lock within {LOCK_TIMEOUT_MS / 1000:g} s{who}; wait until it is free, then run the same "
        "command again"
    ) from None


# A statement that only reads waits for ACCESS EXCLUSIVE alone, or behind a session that waits for it. The table may be
# one behind a view, which the statement does not name.
_BLOCKER = text("""
SELECT c.oid::regclass::text AS name, l.pid, l.mode, l.granted, a.usename,
    extract(epoch FROM clock_timestamp() - a.xact_start) AS age_s
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relpersistence <> 't'
    AND c.relkind IN ('r', 'p', 'v', 'm')
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
    AND (l.mode = 'AccessExclusiveLock'
        OR (NOT :reads AND c.relname = ANY (:names) AND l.mode <> 'AccessShareLock' AND l.granted))
ORDER BY c.relname = ANY (:names) DESC, l.mode = 'AccessExclusiveLock' DESC, l.granted DESC, a.xact_start
LIMIT 1
""")
_NAME = re.compile(r'"([^"]+)"|(\w+)')


def _blocker(engine: Engine, statement: str, values: Mapping[str, object]) -> str:
    """Return who holds the lock, as the end of a sentence; empty when it is free again, or a lock of another kind.

    The statement or its values name the table.
    """
    names = [quoted or plain for quoted, plain in _NAME.findall(statement)]
    names += [value for value in values.values() if isinstance(value, str)]
    reads = statement.lstrip().upper().startswith("SELECT") and not {"UPDATE", "SHARE"} & set(names)
    with engine.connect() as connection:
        row = connection.execute(_BLOCKER, {"names": names, "reads": reads}).first()
    if row is None:
        return ""
    if row.pid is None:
        return f": a prepared transaction holds {row.mode} on {row.name}, see pg_prepared_xacts"
    who = f": process {row.pid} of {row.usename} {'holds' if row.granted else 'waits for'} {row.mode} on {row.name}"
    if row.age_s is not None:
        return f"{who}, in a transaction that began {row.age_s:.0f} s ago"
    return f"{who}; this login may not see since when; a superuser can in pg_stat_activity"
