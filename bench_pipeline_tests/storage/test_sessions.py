"""What cannot be made with one real server: a pooler in front of it, and a standby."""

from __future__ import annotations

from typing import Self, cast

import pytest
from sqlalchemy import Engine, text

from bench_pipeline.storage.inspection.sessions import pooler
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World


class Pooled:
    """A server with two sessions behind a pooler: a transaction takes the first that is free and gives it back."""

    def __init__(self) -> None:
        self.free = [1, 2]

    def connect(self) -> PooledConnection:
        return PooledConnection(self)


class PooledConnection:
    """A connection to the pooler."""

    def __init__(self, pooled: Pooled) -> None:
        self.pooled = pooled
        self.session: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.rollback()

    def scalar(self, query: object) -> int:
        assert str(query) == "SELECT pg_backend_pid()"
        self.session = self.session or self.pooled.free.pop(0)
        return self.session

    execute = scalar

    def rollback(self) -> None:
        if self.session is not None:
            self.pooled.free.insert(0, self.session)
            self.session = None


def test_a_pooler_in_transaction_mode_is_mentioned() -> None:
    (found,) = pooler(cast("Engine", Pooled()))

    assert "a pooler in transaction mode is in front of the server" in found.problem
    assert found.remedy == ""


@ONLY_POSTGRESQL
def test_without_a_pooler_none_is_mentioned(world: World) -> None:
    assert list(pooler(world.database.engine)) == []


@ONLY_POSTGRESQL
@pytest.mark.parametrize("variable", ["BENCH_DATABASE_URL", "BENCH_PROMOTER_URL"])
def test_a_standby_is_reported_with_the_variable_to_change(typed: Typed, world: World, variable: str) -> None:
    """The function of the server is hidden by another one, as only a login's own search path allows."""
    role = "bench_recorder" if variable == "BENCH_DATABASE_URL" else "bench_promoter"
    world.change(
        text("CREATE FUNCTION pg_is_in_recovery() RETURNS boolean LANGUAGE sql RETURN true"),
        text(f"ALTER ROLE {role} IN DATABASE {world.owner.engine.url.database} SET search_path = public, pg_catalog"),
    )

    done = typed("doctor")

    says = f"the server is a standby, which cannot be written; set {variable} to the address of the primary"
    assert says in done.stdout
    assert done.returncode == (1 if variable == "BENCH_DATABASE_URL" else 0)
