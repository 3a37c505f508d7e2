"""Opening the database, its schema version, its transactions and its locks."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, column, create_engine, inspect, make_url, select, table, text, update
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.locks import LockPurpose, LockTaken
from bench_pipeline.storage.schema import SCHEMA_VERSION, VERSION_TABLE, is_ours, upgrade
from bench_pipeline.storage.tables import metadata
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL

VERSIONS = table(VERSION_TABLE, column("version_num"))
VERSION = select(VERSIONS.c.version_num)
REPOSITORY = Path(__file__).parents[2]
AMPLE_S = 60
BENCHMARK, DOCUMENTS = LockPurpose("benchmark"), LockPurpose("documents")

OPENS = """
import sys
from bench_pipeline.storage.database import open_database
print("ready", flush=True)
sys.stdin.readline()
open_database(sys.argv[1]).close()
print("open", flush=True)
"""
HOLDS_A_LOCK = """
import sys
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.locks import LockPurpose
with open_database(sys.argv[1]).exclusive(LockPurpose(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.readline()
"""

RACES_FOR_A_LOCK = """
import sys
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.locks import BENCHMARK, LockTaken
database = open_database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with database.exclusive(BENCHMARK):
        print("held", flush=True)
        sys.stdin.readline()
except LockTaken:
    print("taken", flush=True)
"""


@contextmanager
def another_process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


# The schema


def test_the_migrations_make_exactly_the_tables_of_the_code(database_url: str) -> None:
    """A fresh database is made from the code at once; an older one comes to the same by migrations."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection)
    with engine.connect() as connection:
        options = {"include_name": is_ours, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert connection.scalars(VERSION).all() == [SCHEMA_VERSION]
    engine.dispose()


def test_a_table_of_somebody_else_under_one_of_our_names_is_refused_and_kept(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE benchmark_history (note VARCHAR(9))"))
        connection.execute(text("INSERT INTO benchmark_history VALUES ('mine')"))
    with pytest.raises(InputError, match="benchmark_history that bench_pipeline did not create"):
        open_database(database_url)
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT note FROM benchmark_history")).all() == ["mine"]
    assert set(inspect(engine).get_table_names()) == {"benchmark_history"}
    engine.dispose()


def test_a_fresh_database_has_our_tables_and_no_others(database: Database) -> None:
    assert set(inspect(database.engine).get_table_names()) == metadata.tables.keys() | {VERSION_TABLE}


def test_the_version_of_the_schema_is_the_one_the_code_expects(database: Database) -> None:
    with database.engine.connect() as connection:
        assert connection.scalars(VERSION).all() == [SCHEMA_VERSION]


def test_opening_twice_changes_nothing(database: Database, database_url: str) -> None:
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE actors (actor_id INTEGER)"))
        connection.execute(text("INSERT INTO actors VALUES (7)"))
    before = tables_of(database)
    again = open_database(database_url)
    assert tables_of(again) == before
    with again.engine.connect() as connection:
        assert connection.scalars(text("SELECT actor_id FROM actors")).all() == [7]
    again.close()


def tables_of(database: Database) -> dict[str, list[str]]:
    inspector = inspect(database.engine)
    return {name: [found["name"] for found in inspector.get_columns(name)] for name in inspector.get_table_names()}


def test_two_processes_that_open_one_fresh_database_at_once_both_succeed(database_url: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(another_process(OPENS, database_url)) for _ in range(2)]
        assert [says(process) for process in processes] == ["ready", "ready"]
        for process in processes:
            tell(process)
        endings = [process.communicate(timeout=AMPLE_S) for process in processes]
    assert [(process.returncode, out) for process, (out, _) in zip(processes, endings, strict=True)] == [
        (0, "open\n")
    ] * 2, endings
    database = open_database(database_url)
    assert set(tables_of(database)) == metadata.tables.keys() | {VERSION_TABLE}
    database.close()


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(database: Database, database_url: str) -> None:
    with database.writing() as connection:
        connection.execute(update(VERSIONS).values(version_num="9999"))
    with pytest.raises(InputError, match=r"^BENCH_DATABASE_URL: .* newer version; update bench_pipeline"):
        open_database(database_url)
    with database.engine.connect() as connection:
        assert connection.scalars(VERSION).all() == ["9999"]


# Wrong addresses


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("", "must be a database address", id="empty"),
        pytest.param("bench.db", "must be a database address", id="a file without a scheme"),
        pytest.param(
            "postgresql://u:s3cret@127.0.0.1:port/db", "must be a database address", id="port that is no number"
        ),
        pytest.param("mysql://u:s3cret@127.0.0.1/db", "mysql is not supported", id="MySQL"),
        pytest.param("sqlite://", "SQLite needs a file", id="SQLite in memory"),
        pytest.param("sqlite:///:memory:", "SQLite needs a file", id="SQLite in memory by name"),
        pytest.param("sqlite:///file:x?mode=memory&uri=true", "SQLite needs a file", id="SQLite in memory by URI"),
        pytest.param("sqlite+nope:///x.db", "is not supported; write sqlite://", id="unknown driver of SQLite"),
        pytest.param("postgresql+psycopg://u:s3cret@h/db", "; write postgresql+psycopg2://", id="psycopg 3"),
        pytest.param("postgresql+nope://u:s3cret@127.0.0.1:1/db", "is not supported", id="unknown driver"),
        pytest.param("postgresql://u:s3cret@127.0.0.1:1/db", "cannot be used: connection", id="nobody listens"),
        pytest.param("postgres://u:s3cret@127.0.0.1:1/db", "cannot be used: connection", id="the old scheme"),
        pytest.param("postgresql://u@127.0.0.1:1/db?password=s3cret", "cannot be used", id="password in the query"),
        pytest.param("postgresql://u:s3cret@127.0.0.1:1/db?bogus=1", "cannot be used", id="unknown option"),
        pytest.param(
            "postgresql://u:s3cret@/db?host=/no/socket", 'socket "/no/socket/.s.PGSQL.5432" failed', id="no Unix socket"
        ),
    ],
)
def test_a_wrong_address_is_one_line_that_names_the_variable_and_not_the_password(
    url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        open_database(url)
    message = str(refused.value)
    assert message.startswith("BENCH_DATABASE_URL: ")
    assert says in message
    assert "\n" not in message
    assert "s3cret" not in message
    assert list(tmp_path.iterdir()) == []


@ONLY_POSTGRESQL
def test_a_unix_socket_is_an_address(database_url: str) -> None:
    url = make_url(database_url)
    with closing(open_database(database_url)) as database, database.engine.connect() as connection:
        folder = connection.scalar(text("SHOW unix_socket_directories"))
    if not folder:
        pytest.skip("the path of the server's folder is too long for a socket")
    address = f"postgresql://postgres@/{url.database}?host={folder}&port={url.port}"
    with closing(open_database(address)) as by_socket, by_socket.engine.connect() as connection:
        assert connection.scalar(text("SELECT inet_server_addr()")) is None


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are notes " * 100)
    with pytest.raises(InputError, match=r"notes\.txt cannot be used: file is not a database$"):
        open_database(f"sqlite:///{file}")
    assert file.read_text() == "these are notes " * 100


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"^BENCH_DATABASE_URL: sqlite:///.*bench\.db cannot be used: .*$"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'bench.db'}")


def test_the_folder_of_a_new_sqlite_file_is_made(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path / 'a' / 'b' / 'bench.db'}").close()
    assert (tmp_path / "a" / "b" / "bench.db").is_file()


# Transactions


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def write_half(connection: Connection) -> None:
        connection.execute(update(VERSIONS).values(version_num="half"))
        connection.execute(text("SELECT no_such_column"))

    with pytest.raises(DBAPIError), database.writing() as connection:
        write_half(connection)
    with database.engine.connect() as connection:
        assert connection.scalar(VERSION) == SCHEMA_VERSION


# Locks


def test_a_lock_is_refused_to_a_second_process_and_freed_when_its_holder_ends(
    database: Database, database_url: str
) -> None:
    with another_process(HOLDS_A_LOCK, database_url, "benchmark") as holder:
        assert says(holder) == "held"
        with (
            pytest.raises(LockTaken, match="another process holds the benchmark lock"),
            database.exclusive(BENCHMARK),
        ):
            pass
        tell(holder)
        assert holder.wait(AMPLE_S) == 0
    assert is_free(database, BENCHMARK)


def test_one_of_two_racing_processes_gets_the_lock(database_url: str) -> None:
    with ExitStack() as stack:
        racers = [stack.enter_context(another_process(RACES_FOR_A_LOCK, database_url)) for _ in range(2)]
        assert [says(racer) for racer in racers] == ["ready"] * 2
        for racer in racers:
            tell(racer)
        assert sorted(says(racer) for racer in racers) == ["held", "taken"]


def test_a_lock_is_freed_when_its_holder_is_killed(database: Database, database_url: str) -> None:
    with another_process(HOLDS_A_LOCK, database_url, "benchmark") as holder:
        assert says(holder) == "held"
        holder.kill()
        assert holder.wait(AMPLE_S) != 0
    assert is_free(database, BENCHMARK)


def is_free(database: Database, purpose: LockPurpose) -> bool:
    """Try until a server has noticed that the holder is gone."""
    give_up = time.monotonic() + AMPLE_S
    while time.monotonic() < give_up:
        try:
            with database.exclusive(purpose):
                return True
        except LockTaken:
            continue
    return False


def test_who_may_wait_gets_the_lock_when_its_holder_ends(database: Database, database_url: str) -> None:
    with another_process(HOLDS_A_LOCK, database_url, "documents") as holder, ThreadPoolExecutor(1) as pool:
        assert says(holder) == "held"

        def wait_for_it() -> bool:
            with database.exclusive(DOCUMENTS, AMPLE_S):
                return holder.poll() is not None or holder.wait(AMPLE_S) == 0

        waiting = pool.submit(wait_for_it)
        tell(holder)
        assert waiting.result(AMPLE_S)


def test_who_has_waited_long_enough_is_refused_and_may_try_again(database: Database, database_url: str) -> None:
    with another_process(HOLDS_A_LOCK, database_url, "documents") as holder:
        assert says(holder) == "held"
        with pytest.raises(LockTaken), database.exclusive(DOCUMENTS, 1):
            pass
        tell(holder)
    assert is_free(database, DOCUMENTS)


def test_locks_of_different_purposes_do_not_meet(database: Database, database_url: str) -> None:
    with another_process(HOLDS_A_LOCK, database_url, "benchmark") as holder:
        assert says(holder) == "held"
        with database.exclusive(DOCUMENTS):
            assert holder.poll() is None


def test_a_lock_is_freed_when_its_work_fails(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.exclusive(BENCHMARK):
        raise ZeroDivisionError
    with database.exclusive(BENCHMARK):
        pass


def test_a_lock_is_refused_to_the_same_process(database: Database) -> None:
    with database.exclusive(BENCHMARK), pytest.raises(LockTaken), database.exclusive(BENCHMARK):
        pass


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql+psycopg2://u:s3cret@gpu/bench", "postgresql+psycopg2://u:***@gpu/bench"),
        (
            "postgresql+psycopg2://u@gpu/bench?password=s3cret&sslmode=require",
            "postgresql+psycopg2://u@gpu/bench?sslmode=require",
        ),
        ("sqlite:///a/bench.db", "sqlite:///a/bench.db"),
    ],
)
def test_the_name_of_a_database_for_people_has_no_password(url: str, name: str) -> None:
    assert Database(create_engine(url)).name == name
