"""`bench doctor` looks and never writes: whoever logs in, whatever is missing, in any session."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from bench_pipeline_tests.fakes.postgres import create_database, drop_database
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, task_value, write_task
from bench_pipeline_tests.kit.text import is_calm
from bench_pipeline_tests.kit.world import World, as_role

STATE = {
    "pg_class": "oid, relname, relkind, relowner, relacl, relrowsecurity",  # a vacuum changes the rest
    **dict.fromkeys(("pg_attribute", "pg_proc", "pg_namespace", "pg_roles", "pg_trigger", "pg_policy"), "x"),
    **dict.fromkeys(("pg_constraint", "pg_db_role_setting", "pg_description", "pg_sequences"), "x"),
    "pg_stat_user_tables": "relname, n_tup_ins, n_tup_upd, n_tup_del",
}
"""Views of the catalogue, and what of them only a statement of somebody changes."""
READ_ONLY = {"options": "-c default_transaction_read_only=on"}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def state_of(url: str) -> list[list[str]]:
    """The catalogue of a PostgreSQL database, its sequences, and how many rows were ever written."""
    engine = create_engine(url)
    with engine.connect() as connection:
        state = [
            sorted(connection.scalars(text(f"SELECT CAST(ROW({what}) AS text) FROM {view} x")))  # noqa: S608 - as above
            for view, what in STATE.items()
        ]
    engine.dispose()
    return state


def with_options(url: str, options: dict[str, str]) -> str:
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)


# It writes nothing


@ONLY_POSTGRESQL
@pytest.mark.parametrize("login", ["bench_recorder", "postgres"], ids=["the recorder", "the owner"])
@pytest.mark.parametrize("options", [{}, READ_ONLY], ids=["as usual", "in a read-only session"])
def test_doctor_writes_nothing_in_postgresql(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch, login: str, options: dict[str, str]
) -> None:
    owner = as_role(world.url, "postgres")
    monkeypatch.setenv("BENCH_DATABASE_URL", with_options(as_role(world.url, login), options))
    monkeypatch.setenv("BENCH_OWNER_URL", with_options(owner, options))
    before = state_of(owner), tree(world.folder)

    done = typed("doctor")

    assert (state_of(owner), tree(world.folder)) == before
    assert f"✅ database: postgresql+psycopg2://{login}@" in done.stdout
    assert (done.returncode, "read-only" in done.stdout) == ((1, True) if options else (0, False))


@pytest.mark.postgres
@ONE_ENGINE
def test_doctor_makes_no_tables_for_an_owner(
    postgres: str, typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = create_database(postgres, "without_ours")
    fill_production(url)
    monkeypatch.setenv("BENCH_DATABASE_URL", url)
    before = state_of(url)

    done = typed("doctor")

    assert state_of(url) == before
    remedy = "set BENCH_OWNER_URL to the login of postgres, then run `bench db install`"
    assert f"lacks our tables; {remedy}" in done.stdout
    assert done.returncode == 1
    drop_database(postgres, "without_ours")


def as_left_by_a_crash(world: World) -> None:
    """The log of the last writes still stands beside the file."""
    with closing(sqlite3.connect(world.folder / "bench.db")) as connection:
        connection.execute("CREATE TABLE scratch (x)")
        connection.commit()
        for name in ("bench.db", "bench.db-wal", "bench.db-shm"):
            shutil.copy(world.folder / name, world.folder / f"copy-{name}")
    for name in ("bench.db", "bench.db-wal", "bench.db-shm"):
        shutil.move(world.folder / f"copy-{name}", world.folder / name)


def closed(world: World) -> None:
    world.database.close()
    world.owner.close()


def missing(world: World) -> None:
    closed(world)
    (world.folder / "bench.db").unlink()


def of_an_older_version(world: World) -> None:
    closed(world)
    with closing(sqlite3.connect(world.folder / "bench.db")) as connection:
        connection.execute("UPDATE benchmark_schema_version SET version_num = '0005'")
        connection.commit()


def empty(world: World) -> None:
    missing(world)
    (world.folder / "bench.db").touch()


@ONE_ENGINE
@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (closed, "✅ database: sqlite:///{file}, schema "),
        (as_left_by_a_crash, "✅ database: sqlite:///{file}, schema "),
        (missing, "❌ database: BENCH_DATABASE_URL: sqlite:///{file} does not exist; set BENCH_DATABASE_URL to "),
        (of_an_older_version, "✅ database: sqlite:///{file}, schema 0005; the next command that writes brings it up"),
        (empty, "✅ database: sqlite:///{file}, without our tables; the next command that writes brings it up"),
    ],
)  # fmt: skip
def test_doctor_makes_and_changes_no_file(
    typed: Typed, world: World, prepare: Callable[[World], None], says: str
) -> None:
    prepare(world)
    before = tree(world.folder)

    done = typed("doctor")

    after = tree(world.folder)
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} <= {
        "bench.db-shm"
    }  # readers note in it where they are
    assert says.format(file=world.folder / "bench.db") in done.stdout


@ONE_ENGINE
def test_doctor_makes_no_folder_for_the_default_database(
    typed: Typed, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DATABASE_URL")
    before = tree(shell.folder)

    done = typed("doctor")

    assert tree(shell.folder) == before
    assert done.returncode == 0
    assert (
        "➖ database: BENCH_DATABASE_URL: sqlite:///.bench/bench.db does not exist; `bench demo` creates" in done.stdout
    )
    assert "➖ production tables: none; models can be measured by name" in done.stdout


# What it says


@ONLY_POSTGRESQL
def test_a_fact_that_needs_no_action_is_mentioned_without_a_remedy(typed: Typed, world: World) -> None:
    database = make_url(world.url).database
    world.change(
        text("ALTER TABLE conversations ADD CONSTRAINT known CHECK (actor_id < 99)"),
        text("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"),
        text("CREATE TRIGGER notes BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note()"),
        text("CREATE TRIGGER unaffected AFTER INSERT ON conversations FOR EACH ROW EXECUTE FUNCTION note()"),
        text(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"),
    )

    done = typed("doctor")

    told = [line for line in done.stdout.splitlines() if line.startswith("➖ database: ")]
    assert done.returncode == 0
    assert told == [
        "➖ database: the sessions of bench_recorder are serializable by default; a promotion sets its own level",
        "➖ database: constraint known of public.conversations.actor_id applies to each champion: "
        "CHECK ((actor_id < 99))",
        "➖ database: triggers of public.conversations run at each promotion: notes; `bench db rehearse` tries this",
        "➖ database: the trigger notes of public.conversations returns NULL, which drops a change; "
        "`bench db rehearse` tries this",
        "➖ database: the sessions of bench_promoter are serializable by default; a promotion sets its own level",
    ]
    assert "✅ promotion: possible" in done.stdout


@ONLY_POSTGRESQL
def test_names_of_the_application_cannot_control_the_terminal(typed: Typed, world: World) -> None:
    world.change(
        text("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"),
        text('CREATE TRIGGER "a\x1b[2Jb" BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note()'),
    )
    assert is_calm(typed("doctor").stdout)


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("kind", "using", "says", "remedy"),
    [
        (
            "text",
            "CASE actor_id WHEN 2 THEN 'maybe' ELSE 'Y' END",
            "table actors, column enabled, actor 2: 'maybe' does not say whether the actor is enabled",
            "write true or false there, or the values that count as true under actors.enabled",
        ),
        ("date", "now()", "table actors, column enabled is DATE", "or make a view with a boolean"),
    ],
)
def test_what_enabled_holds_in_place_of_a_truth_value_is_named_with_the_remedy(
    typed: Typed, world: World, kind: str, using: str, says: str, remedy: str
) -> None:
    world.change(text(f"ALTER TABLE actors ALTER enabled DROP DEFAULT, ALTER enabled TYPE {kind} USING {using}"))
    found = json.loads(typed("doctor", "--json").stdout)
    (line,) = [one["text"] for one in found if one["what"] == "production tables" and not one["ok"]]
    assert (says in line, remedy in line) == (True, True), line


def test_conversations_of_tasks_are_compared_with_production_and_with_each_other(typed: Typed, world: World) -> None:
    write_task(world.folder / "testcases", task=task_value(conversations=[GRADE_A, 9999]))
    write_task(world.folder / "testcases", task=task_value("other", [GRADE_A]), name="other")

    found = json.loads(typed("doctor", "--json").stdout)

    told = [
        (line["text"].partition("task.yaml: ")[2], line["needed"]) for line in found if line["what"] == "conversations"
    ]
    assert told == [
        (f"conversation {GRADE_A} is also in task other; remove it from all but one task.yaml", False),
        (f"conversation 9999 does not exist in production; write `conversations: [{GRADE_A}]`", False),
        (f"conversation {GRADE_A} is also in task grading; remove it from all but one task.yaml", False),
    ]
