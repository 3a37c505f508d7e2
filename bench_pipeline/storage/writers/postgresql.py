"""Applies plans in PostgreSQL, by one call of the installed function. Its rules are in `apply.sql`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.refusal import OutcomeUnknown, PlanRefused
from bench_pipeline.storage.database import Database, connect_to
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.identifiers import in_schema
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotions import promotion_by_plan
from bench_pipeline.storage.same_database import is_same_database
from bench_pipeline.storage.writers.function import FUNCTION, SIGNATURE, installed_fault, may_promote

_REFUSED = "BP001"
_GAVE_WAY = ("55P03", "40P01", "40001")  # a lock that did not come in time, a deadlock, a failed serialization
_NO_RIGHT = "42501"
_ATTEMPTS = 2
LOCK_TIMEOUT_S = 10.0
"""How long a promotion tries to get its locks in all; the function gives way sooner, see apply.sql."""
_PAUSE_S = 0.05
_RUNNING = text(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.relation = to_regclass(:promotions) "
    "AND l.mode = 'ShareRowExclusiveLock')"
)
"""Whether a promotion has, or waits for, the lock that there is one at a time."""


class PostgresqlWriter:
    """Writes `conversations.actor_id` in PostgreSQL.

    `database` is the recorder's; it also reads how a lost attempt ended. `promoter_url` is the promoter's address,
    None to use the recorder's.
    """

    def __init__(self, database: Database, production: Production, promoter_url: str | None) -> None:
        self._database = database
        self._production = production
        self._promoter_url = promoter_url
        self._engine: Engine | None = None

    def apply(
        self, plan_hash: str, account: str, dagster_run_id: str | None, observed: Sequence[Observed]
    ) -> int | None:
        """See `PromotionWriter`. Raises `InputError` when the function is not installed or may not be called."""
        self.check_target()
        self._check_installed()
        values = {
            "plan": plan_hash,
            "by": account,
            "run": dagster_run_id,
            "observed": json.dumps([asdict(one) for one in observed]),
        }
        for _ in range(_ATTEMPTS):
            try:
                return self._call_until_free(values)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise told(error) from None
            # The connection may have been lost at the commit: find out how that ended before trying again.
            if (known := self._outcome(plan_hash)) is not None:
                return known
        raise GateFailed(f"the connection was lost {_ATTEMPTS} times before the commit; nothing was changed, try again")

    def _check_installed(self) -> None:
        if fault := installed_fault(self._database.engine, self._production):
            raise InputError(f"{self._database.name}: {fault}; run `bench db install` as the owner of the tables")

    def check_target(self) -> None:
        """See `PromotionWriter`."""
        if self._promoter_url is None:
            return
        same = False
        for attempt in range(_ATTEMPTS):
            try:
                with self._connected() as promoter:
                    same = is_same_database(self._database, promoter)
                break
            except DBAPIError as error:
                if not error.connection_invalidated or attempt == _ATTEMPTS - 1:
                    raise InputError(f"BENCH_PROMOTER_URL: cannot be checked: {driver_message(error)}") from None
        if not same:
            raise InputError(
                "BENCH_PROMOTER_URL: leads to a different database than BENCH_DATABASE_URL; "
                "write the same host, port and name"
            )

    def check(self) -> None:
        """See `PromotionWriter`."""
        self.check_target()
        self._check_installed()
        with self._connected() as connection:
            if not may_promote(connection, in_schema(self._database.engine, SIGNATURE)):
                raise InputError("BENCH_PROMOTER_URL: this login may not promote; set it to the promoter's login")

    def _call_until_free(self, values: dict[str, str | None]) -> int | None:
        """Call the function again while it gives way to the locks of others, up to the limit."""
        until = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                return self._call(values)
            except DBAPIError as error:
                if not _gave_way(error) or time.monotonic() > until:
                    raise
            time.sleep(_PAUSE_S)

    def _call(self, values: dict[str, str | None]) -> int | None:
        with self._connected() as raw:
            # The function sees what others commit; a database may have another isolation as its default.
            connection = raw.execution_options(isolation_level="READ COMMITTED", own_lock_timeout=True)
            with connection.begin():
                return call_function(connection, self._database.engine, values)

    def _connected(self) -> Connection:
        try:
            return self._promoter().connect()
        except DBAPIError as error:
            raise InputError(
                f"BENCH_PROMOTER_URL: cannot be used: {driver_message(error)}; nothing was changed"
            ) from None

    def _outcome(self, plan_hash: str) -> int | None:
        """Return the promotion that a lost attempt made, None when it made none.

        The attempt holds the promotion's lock until it ends, so its result is visible once that lock is gone.
        """
        try:
            with self._database.engine.connect() as raw:
                connection = raw.execution_options(isolation_level="AUTOCOMMIT", own_lock_timeout=True)
                until = time.monotonic() + LOCK_TIMEOUT_S
                promotions = {"promotions": in_schema(self._database.engine, "benchmark_promotions")}
                while connection.scalar(_RUNNING, promotions):
                    if time.monotonic() > until:
                        raise _unknown(plan_hash, self._database)
                    time.sleep(_PAUSE_S)
                known = promotion_by_plan(connection, plan_hash)
        except DBAPIError:
            raise _unknown(plan_hash, self._database) from None
        return known.promotion_id if known else None

    def _promoter(self) -> Engine:
        if self._promoter_url is None:
            return self._database.engine
        if self._engine is None:
            self._engine = connect_to("BENCH_PROMOTER_URL", self._promoter_url)
        return self._engine

    def close(self) -> None:
        """Close the promoter's connections."""
        if self._engine is not None:
            self._engine.dispose()


def _unknown(plan_hash: str, database: Database) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the connection was lost while plan {plan_hash[:12]} was applied, and {database.name} does not "
        f"tell how it ended; when it answers, `bench promote --plan {plan_hash[:12]}` finds out first"
    )


def _gave_way(error: DBAPIError) -> bool:
    said = getattr(error.orig, "diag", None)
    return getattr(error.orig, "pgcode", None) in _GAVE_WAY or (said is not None and said.message_primary == "busy")


def call_function(connection: Connection, owner: Engine, values: Mapping[str, str | None]) -> int | None:
    """Call the function, which is in the first schema that `owner` sees, within the transaction of the caller.

    `values` are `plan`, `by`, `run` and `observed`. Raises `DBAPIError`, which `told` explains.
    """
    function = in_schema(owner, FUNCTION).replace(":", r"\:")
    call = text(f"SELECT {function}(:plan, :by, :run, CAST(:observed AS json))")
    promotion_id: int | None = connection.scalar(call, values)
    return promotion_id


def told(error: DBAPIError) -> Exception:
    """Return what an error of the function means, as the exception to raise."""
    code = getattr(error.orig, "pgcode", None)
    if code == _REFUSED:
        said = error.orig.diag  # type: ignore[union-attr]
        facts = json.loads(str(said.message_detail))
        return PlanRefused(str(said.message_primary), facts | ({"seconds": LOCK_TIMEOUT_S} if _gave_way(error) else {}))
    if code in _GAVE_WAY:
        return PlanRefused("busy", {"seconds": LOCK_TIMEOUT_S, "blockers": ""})
    cause = driver_message(error)
    if code == _NO_RIGHT:
        remedy = "set BENCH_PROMOTER_URL to the promoter's login, or run `bench db install` as the owner of the tables"
        return InputError(f"the promotion may not be called: {cause}; {remedy}")
    if code is not None and code.startswith("42"):  # no such table or column
        return InputError(f"the promotion cannot be called: {cause}; run `bench db install` as the owner of the tables")
    return GateFailed(f"the database refused the promotion and changed nothing: {cause}")
