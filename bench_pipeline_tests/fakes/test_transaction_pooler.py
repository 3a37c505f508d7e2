"""The pooler keeps what is in one transaction together, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DataError, OperationalError

from bench_pipeline_tests.fakes.transaction_pooler import transaction_pooler

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_url", ["postgres"], indirect=True)]


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    with transaction_pooler(database_url) as url:
        yield url


@pytest.fixture
def client(pooled_url: str) -> Iterator[Connection]:
    engine = create_engine(pooled_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def sessions_of(connection: Connection, statements: int) -> set[int]:
    return {connection.scalar(text("SELECT pg_backend_pid()")) or 0 for _ in range(statements)}


def test_a_transaction_stays_in_one_session_and_the_next_one_gets_another(client: Connection) -> None:
    first = sessions_of(client, 3)
    client.commit()
    second = sessions_of(client, 3)
    assert (len(first), len(second), first & second) == (1, 1, set())


def test_a_failed_transaction_stays_in_its_session_until_it_is_rolled_back(client: Connection) -> None:
    first = sessions_of(client, 1)
    with pytest.raises(DataError, match="division by zero"):
        client.execute(text("SELECT 1 / 0"))
    client.rollback()
    assert sessions_of(client, 1) != first


def test_a_sessions_lock_is_not_found_again(client: Connection) -> None:
    for call, result in [("pg_try_advisory_lock", True), ("pg_advisory_unlock", False)]:
        assert client.scalar(text(f"SELECT {call}(1)")) is result
        client.commit()


def test_options_of_a_session_are_refused(pooled_url: str) -> None:
    engine = create_engine(pooled_url, connect_args={"options": "-c lock_timeout=1s"})
    with pytest.raises(OperationalError, match="unsupported startup parameter"):
        engine.connect()
