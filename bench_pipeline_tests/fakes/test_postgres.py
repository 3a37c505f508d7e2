"""The PostgreSQL server for tests starts, takes databases and leaves nothing running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from bench_pipeline_tests.fakes.postgres import create_database, postgres_server, server_programs

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


def test_the_server_listens_on_loopback_and_in_a_folder_of_its_own_alone(server: str) -> None:
    assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
    folder = str(ask(server, "SHOW unix_socket_directories"))
    assert folder == "" or Path(folder).stat().st_mode & 0o077 == 0


def test_programs_of_each_version_are_found_once() -> None:
    found = server_programs()
    assert len(set(found.values())) == len(found) >= 1
    assert [folder for folder in found.values() if not (folder / "initdb").exists()] == []


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
