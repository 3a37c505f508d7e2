"""The PostgreSQL server for tests starts, takes databases and leaves nothing running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from bench_pipeline_tests.fakes.postgres import create_database, postgres_server

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


def ask(url: str, question: str) -> object:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(question)).scalar()
    finally:
        engine.dispose()


def test_the_server_is_a_recent_postgresql_that_does_not_wait_for_the_disk(server: str) -> None:
    assert int(str(ask(server, "SHOW server_version_num"))) >= 150000
    assert ask(server, "SHOW fsync") == "off"


def test_the_server_listens_on_loopback_alone(server: str) -> None:
    assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server, "SHOW unix_socket_directories") == ""


def test_a_created_database_is_empty_and_apart_from_the_others(server: str) -> None:
    first, second = create_database(server, "first"), create_database(server, 'second "with" quotes')
    engine = create_engine(first)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE only_here (id int)"))
    engine.dispose()
    count = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert (ask(first, count), ask(second, count)) == (1, 0)


def test_a_server_with_a_password_refuses_whoever_has_none(tmp_path: Path) -> None:
    with postgres_server(tmp_path, "pa ss@%", log_statement="all") as url:
        without = make_url(url)._replace(password=None).render_as_string()
        assert ask(url, "SHOW log_statement") == "all"
        with pytest.raises(OperationalError, match="no password supplied"):
            ask(without, "SELECT 1")


def test_the_server_is_gone_at_the_end(tmp_path: Path) -> None:
    with postgres_server(tmp_path) as url:
        assert ask(url, "SELECT 1") == 1
    with pytest.raises(OperationalError):
        ask(url, "SELECT 1")


def test_the_server_stops_when_the_block_fails(tmp_path: Path) -> None:
    urls = []

    def failing() -> None:
        with postgres_server(tmp_path) as url:
            urls.append(url)
            raise LookupError

    with pytest.raises(LookupError):
        failing()
    with pytest.raises(OperationalError):
        ask(urls[0], "SELECT 1")
