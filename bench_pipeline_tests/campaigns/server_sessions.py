"""The sessions of the pipeline's two roles on a PostgreSQL server, as its owner sees and ends them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, text

from bench_pipeline_tests.campaigns.template_world import Copy

PATIENCE_S = 30.0
_GATE = 20261124
_OURS = "datname = current_database() AND usename IN ('bench_recorder', 'bench_promoter')"
_WAITS = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objsubid = 1 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32) | objid::bigint = :key"
)
_WAITS_FOR_PROMOTION = text(
    "SELECT count(*) FROM pg_locks WHERE relation = to_regclass('benchmark_promotions') "
    "AND mode = 'ShareRowExclusiveLock' AND NOT granted"
)
_GATE_FUNCTION = f"""
CREATE FUNCTION campaign_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_catalog.pg_advisory_xact_lock({_GATE}); RETURN NEW; END $$
"""


class Late(Exception):
    """What was waited for did not happen in time."""


@dataclass(frozen=True)
class Sessions:
    """The pipeline's sessions, through a connection of the owner."""

    connection: Connection

    def end_all(self) -> None:
        """Terminate every session of the pipeline and wait until they are gone."""
        self.connection.execute(
            text(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {_OURS}")  # noqa: S608
        ).all()

    def settle(self) -> None:
        """Wait until the last session of a killed client has ended, by itself."""
        query = text(f"SELECT count(*) FROM pg_stat_activity WHERE {_OURS}")  # noqa: S608
        wait_until(lambda: self.connection.scalar(query) == 0)

    def close_gate(self, conversation_id: int) -> None:
        """Make every writer of this conversation's row wait, in the middle of its transaction.

        A promotion gives way shortly before the server looks for deadlocks, which therefore comes late.
        """
        name = self.connection.scalar(text("SELECT current_database()"))
        for role in ("bench_recorder", "bench_promoter"):
            self.connection.exec_driver_sql(f"ALTER ROLE {role} IN DATABASE {name} SET deadlock_timeout = '20s'")
        self.connection.exec_driver_sql(_GATE_FUNCTION)
        self.connection.exec_driver_sql(
            "CREATE TRIGGER campaign_gate BEFORE UPDATE ON conversations FOR EACH ROW "
            f"WHEN (NEW.conversation_id = {conversation_id}) EXECUTE FUNCTION campaign_gate()"
        )
        self.connection.exec_driver_sql(f"SELECT pg_advisory_lock({_GATE})")

    def open_gate(self) -> None:
        """Let the waiting sessions go on."""
        self.connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_GATE})")

    @property
    def one_is_at_the_gate(self) -> bool:
        """Whether a session waits there."""
        return self.connection.scalar(_WAITS, {"key": _GATE}) == 1

    @property
    def one_waits_for_the_promotion(self) -> bool:
        """Whether a session waits for the end of another one's promotion."""
        return self.connection.scalar(_WAITS_FOR_PROMOTION) == 1


@contextmanager
def sessions_of(world: Copy) -> Iterator[Sessions]:
    """Yield the sessions of a world."""
    engine = create_engine(world.owner_url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield Sessions(connection)
    finally:
        engine.dispose()  # with it ends the session, and so does a gate that is still closed


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until the condition holds. Raises `Late`."""
    ends = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > ends:
            raise Late(f"waited {PATIENCE_S} s")
        time.sleep(0.002)
