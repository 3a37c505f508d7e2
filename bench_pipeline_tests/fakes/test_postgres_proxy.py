"""The proxy is not noticed until it cuts; then the client knows nothing, and the server is where the cut says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError

from bench_pipeline_tests.fakes.postgres import postgres_server
from bench_pipeline_tests.fakes.postgres_proxy import Cut, PostgresProxy

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_url", ["postgres"], indirect=True)]
LONG_INSERT = "INSERT INTO notes SELECT 'wanted' FROM (SELECT count(*) FROM generate_series(1, 1000000)) AS counted"
AT_COMMIT = pytest.mark.parametrize("at", [Cut.BEFORE_COMMIT, Cut.AFTER_COMMIT])


@pytest.fixture
def server(database_url: str) -> Iterator[Engine]:
    """Straight to the server, where a table waits."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note text UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    yield engine
    engine.dispose()


@pytest.fixture
def proxy(server: Engine) -> Iterator[PostgresProxy]:
    with PostgresProxy(server.url.render_as_string(hide_password=False)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: PostgresProxy) -> Iterator[Engine]:
    engine = create_engine(proxy.url)
    yield engine
    engine.dispose()


def write(engine: Engine, *notes: str) -> None:
    with engine.begin() as connection:
        for note in notes:
            connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})


def notes(server: Engine) -> list[str]:
    with server.connect() as connection:
        return list(connection.execute(text("SELECT note FROM notes ORDER BY note")).scalars())


def processes(server: Engine) -> dict[int, tuple[str, str]]:
    """Return each process of the server, with its last statement and what it waits for."""
    with server.connect() as connection:
        rows = connection.execute(text("SELECT pid, query, wait_event_type FROM pg_stat_activity"))
        return {row.pid: (row.query, row.wait_event_type) for row in rows}


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


def raw_client(url: str, *statements: str, size: int = 100_000) -> socket.socket:
    """Return a connection on which everything was sent, `size` bytes at a time, without waiting for an answer."""
    address = make_url(url)
    start = (196608).to_bytes(4) + f"user\0postgres\0database\0{address.database}\0\0".encode()
    questions = b"".join(message(b"Q", f"{statement}\0".encode()) for statement in statements)
    sent = message(b"", (80877103).to_bytes(4)) + message(b"", start) + questions
    client = socket.create_connection((str(address.host), int(address.port or 0)))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for begin in range(0, len(sent), size):
        client.sendall(sent[begin : begin + size])
    return client


# Nothing planned


def test_large_statements_and_results_pass_unchanged(client: Engine) -> None:
    words = [f"{number} ä" * 100 for number in range(20_000)]
    with client.begin() as connection:
        sent = connection.execute(text("SELECT unnest(CAST(:words AS text[]))"), {"words": words})
        assert list(sent.scalars()) == words


def test_connections_do_not_mix(client: Engine, server: Engine) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(client.connect()) for _ in range(5)]
        for number, connection in enumerate(connections):
            connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": str(number)})
        for connection in connections[::2]:
            connection.commit()
    assert notes(server) == ["0", "2", "4"]


def test_an_error_of_the_server_arrives_and_the_connection_stays(client: Engine) -> None:
    with client.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        with pytest.raises(OperationalError, match="canceling statement due to statement timeout"):
            connection.execute(text("SET LOCAL statement_timeout = 1; SELECT pg_sleep(600)"))
        connection.rollback()
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar() == pid


def test_a_password_in_the_address_is_asked_for_through_the_proxy(tmp_path: Path, database_url: str) -> None:
    with postgres_server(tmp_path) as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE ROLE guarded LOGIN PASSWORD 's3c:ret'"))
            rules = connection.execute(text("SHOW hba_file")).scalar()
            rule = "host all guarded 127.0.0.1/32 scram-sha-256"
            connection.exec_driver_sql(f"COPY (SELECT '{rule}') TO '{rules}'")
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()
        address = make_url(url).set(username="guarded", password="s3c:ret").render_as_string(hide_password=False)  # noqa: S106
        with PostgresProxy(address) as proxy:
            asked = create_engine(proxy.url)
            with asked.connect() as connection:
                assert connection.execute(text("SELECT current_user")).scalar() == "guarded"
            asked.dispose()
            with pytest.raises(OperationalError, match="password authentication failed"):
                create_engine(make_url(proxy.url).set(password="wrong")).connect()  # noqa: S106


def test_a_server_that_is_down_is_down_through_the_proxy(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    address = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
    with PostgresProxy(address) as proxy, pytest.raises(OperationalError):
        create_engine(proxy.url).connect()


# Cuts


@pytest.mark.parametrize(("at", "kept"), [(Cut.BEFORE_COMMIT, []), (Cut.AFTER_COMMIT, ["a", "b"])])
def test_at_a_commit_the_client_cannot_tell_but_the_outcome_is_certain(
    proxy: PostgresProxy, client: Engine, server: Engine, at: Cut, kept: list[str]
) -> None:
    proxy.cut(at)
    with pytest.raises(OperationalError, match="server closed the connection unexpectedly"):
        write(client, "a", "b")
    assert notes(server) == kept
    assert proxy.cuts == 1


@AT_COMMIT
def test_the_server_is_through_when_the_client_sees_that_its_commit_was_cut(
    proxy: PostgresProxy, client: Engine, server: Engine, at: Cut
) -> None:
    proxy.cut(at)
    with client.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with pytest.raises(OperationalError):
            connection.commit()
    assert pid not in processes(server)


@AT_COMMIT
def test_the_cuts_are_as_many_as_planned_and_then_an_attempt_works(
    proxy: PostgresProxy, client: Engine, server: Engine, at: Cut
) -> None:
    proxy.cut(at, times=2)
    for note in ("a", "b"):
        with pytest.raises(OperationalError):
            write(client, note)
    write(client, "c")
    assert notes(server) == (["c"] if at is Cut.BEFORE_COMMIT else ["a", "b", "c"])
    assert proxy.cuts == 2


@AT_COMMIT
def test_only_the_commit_of_a_transaction_that_contains_the_text_is_cut(
    proxy: PostgresProxy, client: Engine, at: Cut
) -> None:
    write(client, "wanted before the plan")
    proxy.cut(at, containing="wanted")
    write(client, "other")
    with client.begin() as connection:
        connection.execute(text("SELECT 1"))
    assert proxy.cuts == 0
    with pytest.raises(OperationalError):
        write(client, "wanted", "the last")
    assert proxy.cuts == 1


def test_a_transaction_that_was_rolled_back_does_not_count_for_the_next_commit(
    proxy: PostgresProxy, client: Engine, server: Engine
) -> None:
    proxy.cut(Cut.AFTER_COMMIT, containing="wanted")
    with client.connect() as connection:
        connection.execute(text("SELECT 'wanted'"))
        connection.rollback()
        connection.execute(text("INSERT INTO notes VALUES ('other')"))
        connection.commit()
    assert (notes(server), proxy.cuts) == (["other"], 0)


def test_a_commit_that_fails_is_told_and_leaves_the_cut_for_the_next(
    proxy: PostgresProxy, client: Engine, server: Engine
) -> None:
    proxy.cut(Cut.AFTER_COMMIT)
    with pytest.raises(IntegrityError):
        write(client, "twice", "twice")
    assert proxy.cuts == 0
    with pytest.raises(OperationalError):
        write(client, "once")
    assert (notes(server), proxy.cuts) == (["once"], 1)


@pytest.mark.parametrize(("isolation", "kept"), [("AUTOCOMMIT", ["wanted"]), ("READ COMMITTED", [])])
def test_a_statement_whose_client_is_cut_off_is_carried_out_and_its_transaction_is_not(
    proxy: PostgresProxy, client: Engine, server: Engine, isolation: str, kept: list[str]
) -> None:
    proxy.cut(Cut.DURING_STATEMENT, containing="wanted")
    with client.connect() as connection, server.connect() as other:
        connection.execution_options(isolation_level=isolation)
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        other.execute(text("LOCK TABLE notes"))
        with pytest.raises(OperationalError):
            connection.execute(text(LONG_INSERT))
        assert pid in processes(server)
        other.rollback()
        proxy.settle()
    assert pid not in processes(server)
    assert (notes(server), proxy.cuts) == (kept, 1)


def test_a_later_plan_takes_the_place_of_an_earlier_one(proxy: PostgresProxy, client: Engine, server: Engine) -> None:
    proxy.cut(Cut.BEFORE_COMMIT, times=3)
    proxy.cut(Cut.AFTER_COMMIT)
    with pytest.raises(OperationalError):
        write(client, "a")
    write(client, "b")
    assert notes(server) == ["a", "b"]


# A server that is down


def test_new_connections_are_refused_while_open_ones_stay(proxy: PostgresProxy, client: Engine, server: Engine) -> None:
    with client.connect() as connection:
        proxy.refuse = True
        with pytest.raises(OperationalError):
            client.connect()
        connection.execute(text("INSERT INTO notes VALUES ('open')"))
        connection.commit()
    proxy.refuse = False
    with client.connect(), client.connect():
        assert notes(server) == ["open"]


def test_the_server_can_be_down_from_the_last_cut_on(proxy: PostgresProxy, client: Engine) -> None:
    proxy.cut(Cut.AFTER_COMMIT, times=2, then_refuse=True)
    for note in ("a", "b"):
        assert not proxy.refuse
        with pytest.raises(OperationalError):
            write(client, note)
    with pytest.raises(OperationalError):
        client.connect()
    assert proxy.cuts == 2


# Messages that do not arrive one by one


@pytest.mark.parametrize("size", [1, 7, 100_000], ids=["byte by byte", "in pieces", "all at once"])
@pytest.mark.parametrize(("at", "kept"), [(Cut.BEFORE_COMMIT, []), (Cut.AFTER_COMMIT, ["a"])])
def test_messages_may_be_split_or_joined(
    proxy: PostgresProxy, server: Engine, at: Cut, kept: list[str], size: int
) -> None:
    proxy.cut(at, containing="'a'")
    statements = [
        "BEGIN",
        "COMMIT",
        "BEGIN",
        "INSERT INTO notes VALUES ('a')",
        "COMMIT",
        "INSERT INTO notes VALUES (0)",
    ]
    with raw_client(proxy.url, *statements, size=size) as raw, raw.makefile("rb") as stream:
        answers = stream.read()
    assert (notes(server), proxy.cuts) == (kept, 1)
    assert answers.count(b"COMMIT\0") == 1


# The end


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in the middle of a statement"])
def test_the_end_of_the_proxy_ends_its_connections_and_threads(server: Engine, busy: bool) -> None:
    threads = set(threading.enumerate())
    with PostgresProxy(server.url.render_as_string(hide_password=False)) as proxy:
        engine = create_engine(proxy.url)
        first, second = engine.connect(), engine.connect()
        if busy:
            proxy.cut(Cut.DURING_STATEMENT, containing="pg_sleep")
            with pytest.raises(OperationalError):
                second.execute(text("SELECT pg_sleep(600)"))
    assert set(threading.enumerate()) == threads
    with pytest.raises(OperationalError):
        first.execute(text("SELECT 1"))
    with pytest.raises(OperationalError):
        create_engine(proxy.url).connect()
    engine.dispose()


def test_the_end_of_the_proxy_does_not_wait_for_a_commit_that_waits(server: Engine) -> None:
    threads = set(threading.enumerate())
    note = "INSERT INTO notes VALUES ('a')"
    with server.connect() as other:
        other.execute(text(note))
        with PostgresProxy(server.url.render_as_string(hide_password=False)) as proxy:
            proxy.cut(Cut.AFTER_COMMIT)
            with raw_client(proxy.url, "BEGIN", note, "COMMIT"):
                while ("COMMIT", "Lock") not in processes(server).values():
                    assert proxy.cuts == 0
    assert set(threading.enumerate()) == threads
