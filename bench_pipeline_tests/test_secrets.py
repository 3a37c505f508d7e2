"""A canary in the place of every password is found nowhere: in no file, no output, no table and no log."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from bench_pipeline.cli.main import COMMANDS
from bench_pipeline_tests.fakes.postgres import create_database
from bench_pipeline_tests.kit.models import FAST, FINAL_PASSES, SLOW
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.tasks import GRADE_A
from bench_pipeline_tests.kit.world import World, as_role, open_world

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent
CANARY = "c4n4ry"
"""Letters and figures alone: it stands unchanged in every encoding of a password, and no word of ours holds it."""
PASSWORDS = {"bench_recorder": f"{CANARY}-r@/:%?#& é\"'", "bench_promoter": f"{CANARY}-p@/:%?#& é\"'"}
COMMAND_LINES = {
    "run": "run --task grading --models fast",
    "models": "models",
    "cases": "cases check",
    "history": "history --task grading",
    "rescore": "rescore --task grading",
    "why": "why fast",
    "plan": "plan --task grading",
    "decide": "decide --task grading",
    "promote": "promote --task grading",
    "approve": "approve 0123456789ab",
    "freeze": "freeze --reason fair",
    "thaw": "thaw",
    "rollback": "rollback",
    "failover": f"failover {GRADE_A}",
    "validate": "validate --task grading",
    "reconcile": "reconcile",
    "log": "log --plans",
    "blame": f"blame {GRADE_A}",
    "docs": "docs",
    "db": "db install",
    "triggers": "triggers",
    "retry": "retry",
    "heal": "heal",
    "alerts": "alerts",
    "doctor": "doctor",
    "completion": "completion bash",
}
IN_NEED_OF_NO_DATABASE = {"completion", "heal"}


@pytest.fixture
def world(guarded_postgres: str, tmp_path: Path) -> Iterator[World]:
    """A world whose every login has a password, on a server that logs every statement."""
    url = create_database(guarded_postgres, f"secrets_{secrets.token_hex(4)}")
    with open_world(url, tmp_path, PASSWORDS) as world:
        yield world


@pytest.fixture
def shell(world: World, guarded_postgres: str) -> Shell:
    """The command line with a canary in every variable that holds a secret."""
    address = make_url(world.url)
    owner = make_url(guarded_postgres).set(database=address.database)
    server = world.server.url.replace("http://", f"http://someone:{CANARY}-o@")
    return Shell(
        world.folder,
        {
            "BENCH_DATABASE_URL": world.url,
            "BENCH_PROMOTER_URL": str(world.promoter_url),
            "BENCH_OWNER_URL": owner.render_as_string(hide_password=False),
            "BENCH_RECORDER_PASSWORD": PASSWORDS["bench_recorder"],
            "BENCH_PROMOTER_PASSWORD": PASSWORDS["bench_promoter"],
            "BENCH_OPENAI_API_KEY": f"sk-{CANARY}",
            "BENCH_ALERT_URLS": f"json://someone:{CANARY}@127.0.0.1:1/{CANARY} slack://{CANARY}",
            "BENCH_OLLAMA_HOST": server,
            "BENCH_CACHE_DIR": str(world.folder / "cache"),
            "BENCH_RETRIES": "0",
            "BENCH_FINAL_PASSES": str(FINAL_PASSES),
        },
    )


def with_password(url: str | None, password: str) -> str:
    return make_url(str(url)).set(password=password).render_as_string(hide_password=False)


# Where it is looked for


def everything_in(file: Path) -> Iterator[bytes]:
    """The bytes of a file, and what a SQLite file keeps compressed."""
    content = file.read_bytes()
    yield content
    if content.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a name of its own
                    yield from (unpacked(cell) for cell in row if isinstance(cell, bytes))


def unpacked(cell: bytes) -> bytes:
    try:
        return zlib.decompress(cell)
    except zlib.error:
        return cell


def files_with_it(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if any(CANARY.encode() in it for it in everything_in(path))]


def tables_with_it(world: World) -> list[str]:
    """The tables of the database, production's and ours, in which any row holds it."""
    holds_it = f"reverse(t::text) LIKE '%{CANARY[::-1]}%'"  # backwards, for the server logs the question
    with world.owner.engine.connect() as connection:
        names = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        return [
            name
            for name in names
            if connection.scalar(text(f'SELECT count(*) FROM "{name}" t WHERE {holds_it}'))  # noqa: S608 - as above
        ]


def log_of_the_server(world: World) -> str:
    with world.owner.engine.connect() as connection:
        return str(connection.scalar(text("SELECT pg_read_file(current_setting('data_directory') || '/../log')")))


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(f"password: {CANARY}", encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.execute("CREATE TABLE snapshots (body BLOB)")
        connection.execute("INSERT INTO snapshots VALUES (?)", [zlib.compress(f"{{url: {CANARY}}}".encode() * 9)])
        connection.commit()
    (tmp_path / "innocent.txt").write_text("nothing", encoding="utf-8")

    assert sorted(files_with_it(tmp_path)) == ["notes.txt", "runs.db"]


# The commands


def test_every_command_is_tried() -> None:
    assert COMMAND_LINES.keys() == COMMANDS.keys() - {"demo", "ui"}  # a database of its own; a server


def said(typed: Typed, as_json: bool) -> dict[str, str]:
    """What every command says on both streams."""
    words = {}
    for name, line in COMMAND_LINES.items():
        done = typed(*line.split(), *(["--json"] if as_json else []))
        words[name] = done.stdout + done.stderr
    return words


def test_no_command_that_works_says_it(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")

    for as_json in (False, True):
        assert {name for name, words in said(typed, as_json).items() if CANARY in words} == set()

    assert world.holds(GRADE_A) in ([FAST], [SLOW])
    assert files_with_it(world.folder) == []
    assert tables_with_it(world) == []


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param({"password": f"{CANARY}@/%"}, "password authentication failed", id="wrong password"),
        pytest.param({"port": 1}, "onnection refused", id="server down"),
        pytest.param({"username": "nobody_at_all"}, "password authentication failed", id="no such role"),
        pytest.param({"database": "no_such_database"}, "does not exist", id="no such database"),
        pytest.param({"query": {"sslmode": "require"}}, "server does not support SSL", id="no encryption"),
        pytest.param({"query": {"bogus": "1"}}, "invalid connection option", id="unknown option"),
        pytest.param({"drivername": "postgresql+asyncpg"}, "write postgresql+psycopg2://", id="another driver"),
        pytest.param({"drivername": "mysql"}, "is not supported", id="another engine"),
    ],
)  # fmt: skip
def test_no_command_that_fails_says_it(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch, broken: Mapping[str, object], says: str
) -> None:
    for name in ("BENCH_DATABASE_URL", "BENCH_PROMOTER_URL", "BENCH_OWNER_URL"):
        address = make_url(world.url)._replace(**broken)
        monkeypatch.setenv(name, address.render_as_string(hide_password=False))

    words = said(typed, as_json=False)
    as_json = said(typed, as_json=True)

    assert {name for name in words if CANARY in words[name] + as_json[name]} == set()
    assert {name for name in words if says not in words[name]} == IN_NEED_OF_NO_DATABASE
    assert {name for name in words if says not in as_json[name]} == IN_NEED_OF_NO_DATABASE


AT = f"postgresql+psycopg2://bench_recorder:half@{CANARY}@127.0.0.1:5432/jobs"


@pytest.mark.parametrize(
    ("variable", "form", "command"),
    [
        pytest.param("BENCH_DATABASE_URL", AT, "models", id="an @ that is not encoded"),
        pytest.param("BENCH_PROMOTER_URL", AT, "promote --task grading", id="the promoter's"),
        pytest.param("BENCH_OWNER_URL", AT, "db install", id="the owner's"),
        pytest.param("BENCH_DATABASE_URL", AT.replace(f"{CANARY}@", f"{CANARY}/x@"), "models", id="and a slash"),
        pytest.param("BENCH_DATABASE_URL", AT.replace(f"{CANARY}@", f"{CANARY}:x@"), "models", id="and a colon"),
        pytest.param("BENCH_DATABASE_URL", f"postgresql://u@127.0.0.1:1/d?password={CANARY}", "models", id="parameter"),
        pytest.param("BENCH_DATABASE_URL", f"postgresql://127.0.0.1:{CANARY}/jobs", "models", id="in the port's place"),
        pytest.param("BENCH_DATABASE_URL", f"postgresql//u:{CANARY}@127.0.0.1/jobs", "models", id="a slip of typing"),
        pytest.param("BENCH_DATABASE_URL", f"host=127.0.0.1 password={CANARY}", "models", id="libpq's own form"),
    ],
)
def test_an_address_that_is_typed_wrongly_is_refused_without_saying_it(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch, variable: str, form: str, command: str
) -> None:
    world.configure(final_passes=FINAL_PASSES)
    world.ranked("fast", "slow")
    monkeypatch.setenv(variable, form)

    done = typed(*command.split())

    assert done.returncode == 2
    assert f"bench: {variable}: " in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_a_promoter_with_a_wrong_password_is_told_without_it(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.configure(final_passes=FINAL_PASSES)
    world.ranked("fast", "slow")
    monkeypatch.setenv("BENCH_PROMOTER_URL", with_password(world.promoter_url, f"{CANARY}-wrong"))

    done = typed("promote", "--task", "grading")

    assert done.returncode == 2
    assert 'password authentication failed for user "bench_promoter"' in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_a_setting_that_is_wrong_does_not_say_its_neighbours(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MAX_ROWS", "many")

    done = typed("models")

    assert done.returncode == 2
    assert CANARY not in done.stdout + done.stderr


# Dagster


@pytest.fixture
def home(world: World) -> Path:
    """DAGSTER_HOME as the Makefile makes it."""
    folder = world.folder / "home"
    folder.mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", folder / "dagster.yaml")
    return folder


def dagster(shell: Shell, home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run Dagster's own command, with everything that it keeps in `home`."""
    return subprocess.run(
        [Path(sys.executable).with_name("dagster"), *arguments, "-m", "bench_pipeline.definitions"],
        cwd=shell.folder,
        env=shell.environment(**settings) | {"DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_a_job_of_dagster_leaves_it_nowhere(shell: Shell, world: World, home: Path) -> None:
    done = dagster(shell, home, "job", "execute", "-j", "benchmark_grading")

    assert done.returncode == 0, done.stderr
    assert world.holds(GRADE_A) == [FAST]
    assert CANARY not in done.stdout + done.stderr
    assert len(list(home.rglob("*.db"))) > 1
    assert files_with_it(world.folder) == []
    assert tables_with_it(world) == []
    assert CANARY not in log_of_the_server(world)


@pytest.mark.parametrize(
    ("variable", "of_role"),
    [("BENCH_DATABASE_URL", "bench_recorder"), ("BENCH_PROMOTER_URL", "bench_promoter")],
    ids=["the recorder's", "the promoter's"],
)
def test_a_job_that_fails_by_a_wrong_password_leaves_it_nowhere(
    shell: Shell, world: World, home: Path, variable: str, of_role: str
) -> None:
    wrong = {variable: with_password(as_role(world.url, of_role), f"{CANARY}-wrong@/:%")}

    done = dagster(shell, home, "job", "execute", "-j", "benchmark_grading", **wrong)

    assert done.returncode != 0
    assert f'password authentication failed for user "{of_role}"' in done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert files_with_it(world.folder) == []
