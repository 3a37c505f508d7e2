"""What a login's sessions are like: read-only, cut short, behind a pooler, on a standby, in which database."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, text

from bench_pipeline.storage.identifiers import quoted
from bench_pipeline.storage.inspection.findings import Finding, Stops

_SETTINGS = """
SELECT name, CAST(setting AS bigint) * CASE unit WHEN 's' THEN 1000 ELSE 1 END AS ms FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout',
    'statement_timeout')
"""
_SHORT_MS = 10_000  # a migration, or the ranking of a large benchmark, takes seconds
"""No statement and no transaction of a benchmark takes as long."""


def session(connection: Connection, variable: str, stops: Stops) -> Iterator[Finding]:
    """Find what ends or forbids the work of the login of this connection, whose address is in `variable`."""
    login, settle = _login(connection)
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        yield Finding(
            stops, "the server is a standby, which cannot be written", f"set {variable} to the address of the primary"
        )
    if connection.scalar(text("SELECT current_setting('default_transaction_read_only')")) == "on":
        yield Finding(
            stops,
            f"the sessions of {login} are read-only (default_transaction_read_only)",
            f"as {login}: `BEGIN READ WRITE; {settle} default_transaction_read_only = off; COMMIT`",
        )
    level = connection.scalar(text("SELECT current_setting('default_transaction_isolation')"))
    if level != "read committed":
        yield Finding(Stops.NOTHING, f"the sessions of {login} are {level} by default; a promotion sets its own level")


def time_limits(connection: Connection) -> Iterator[Finding]:
    """Find the limits that could end a benchmark of the recorder."""
    login, settle = _login(connection)
    for name, ms in connection.execute(text(_SETTINGS)):
        if ms and ms < _SHORT_MS:
            yield Finding(
                Stops.BENCHMARK,
                f"{name} is {ms / 1000:g} s for {login}, which is short enough to end a benchmark",
                f"as {login}: `{settle} {name} = 0`",
            )


def _login(connection: Connection) -> tuple[str, str]:
    """Return the login, and how the statement begins that changes one of its settings, which it may do itself."""
    login, database = connection.execute(text("SELECT session_user, current_database()")).one()
    return login, f"ALTER ROLE {quoted(login)} IN DATABASE {quoted(database)} SET"


def pooler(engine: Engine) -> Iterator[Finding]:
    """Find a pooler that gives each transaction another session of the server.

    It does so only while the session before is in use, so a second connection takes that one.
    """
    query = text("SELECT pg_backend_pid()")
    with engine.connect() as connection, engine.connect() as other:
        first = connection.scalar(query)
        connection.rollback()
        other.execute(query)
        if connection.scalar(query) != first:
            yield Finding(
                Stops.NOTHING, "a pooler in transaction mode is in front of the server; nothing depends on a session"
            )
