"""Whether two connections lead to the same PostgreSQL database, and not to a copy of it. Nothing is written."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, text

from bench_pipeline.storage.database import Database

_IS_LOCKED_HERE = text(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database "
    "WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted "
    "AND l.classid = CAST(:high AS bigint)::oid AND l.objid = CAST(:low AS bigint)::oid)"
)


def is_same_database(database: Database, other: Connection) -> bool:
    """Whether `other` sees a lock that is taken for a moment in `database`, under a random key.

    An id kept in a table would not do: a copy of a database has it too. Raises `DBAPIError`.
    """
    key = secrets.randbits(63)
    halves = {"high": key >> 32, "low": key & 0xFFFFFFFF}  # as pg_locks shows a key of 64 bits
    with database.engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        return bool(other.scalar(_IS_LOCKED_HERE, halves))
