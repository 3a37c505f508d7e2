"""`bench db uninstall` removes what installing made, and nothing of the application."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import click
import pytest
from sqlalchemy import create_engine, inspect, text

from bench_pipeline.storage.database import Database
from bench_pipeline.storage.tables import metadata
from bench_pipeline_tests.fakes.postgres import create_database, drop_database
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.production import PRODUCTION, fill_production
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World, as_role
from bench_pipeline_tests.storage.test_installation_script import catalogue

ROLES = "SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)"


@dataclass(frozen=True)
class Own:
    """A database in which nothing is installed yet, and the names of roles that no other database uses."""

    url: str
    recorder: str
    promoter: str

    def run(self, *statements: str) -> None:
        with closing(Database(create_engine(self.url))) as database, database.writing() as connection:
            for statement in statements:
                connection.execute(text(statement))

    @property
    def roles(self) -> set[str]:
        with closing(Database(create_engine(self.url))) as database, database.engine.connect() as connection:
            return set(connection.scalars(text(ROLES), {"names": [self.recorder, self.promoter]}))


@pytest.fixture
def own(postgres: str, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    name = f"test_{secrets.token_hex(8)}"
    found = Own(create_database(postgres, name), f"rec_{secrets.token_hex(4)}", f"pro_{secrets.token_hex(4)}")
    fill_production(found.url)
    monkeypatch.setenv("BENCH_OWNER_URL", found.url)
    monkeypatch.setenv("BENCH_RECORDER_ROLE", found.recorder)
    monkeypatch.setenv("BENCH_PROMOTER_ROLE", found.promoter)
    yield found
    drop_database(postgres, name)


def ours(url: str) -> set[str]:
    with closing(Database(create_engine(url))) as database:
        return {name for name in inspect(database.engine).get_table_names() if name.startswith("benchmark_")}


# Both engines


def test_our_tables_are_gone_and_the_application_is_as_it_was(
    typed: Typed, world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promoted()
    monkeypatch.setenv("BENCH_OWNER_URL", database_url)
    before = world.snapshot()

    done = typed("db", "uninstall", "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    assert ours(database_url) == set()
    with world.owner.engine.connect() as connection:
        after = {
            table.name: [tuple(row) for row in connection.execute(table.select().order_by(*table.c))]
            for table in PRODUCTION.sorted_tables
        }
    assert after == before


def test_the_history_stays_on_request_and_its_rows_are_counted_first(
    typed: Typed, world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = len(world.ranked("fast", "slow").scoreboard.results)
    monkeypatch.setenv("BENCH_OWNER_URL", database_url)

    asked = typed("db", "uninstall")
    kept = typed("db", "uninstall", "--keep-history", "--yes")

    assert f"among them benchmark_history with {rows} rows" in asked.stdout
    assert f"kept: benchmark_history with {rows} rows" in kept.stdout
    assert ours(database_url) == {"benchmark_history"}
    with world.owner.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM benchmark_history")).scalar_one() == rows


def test_a_history_that_stayed_is_adopted_by_the_next_installation(
    typed: Typed, world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ranked("fast", "slow")
    earlier = (
        "INSERT INTO benchmark_history (task_type, model_name, avg_latency_ms, rank) VALUES ('grading', 'old', 9, 1)"
    )
    world.change(text(earlier))
    everything = text("SELECT * FROM benchmark_history ORDER BY benchmark_id")
    with world.owner.engine.connect() as connection:
        before = connection.execute(everything).all()
    monkeypatch.setenv("BENCH_OWNER_URL", database_url)
    assert typed("db", "uninstall", "--keep-history", "--yes").returncode == 0
    if world.promoter_url is not None:
        done = typed("db", "install")
        assert (done.returncode, done.stderr) == (0, "")

    shown = json.loads(typed("history", "--task", "grading", "--json").stdout)

    with world.owner.engine.connect() as connection:
        after = connection.execute(everything).all()
    assert after == before
    assert ours(database_url) >= metadata.tables.keys()
    assert {(one["champion"], one["measured_here"]) for one in shown} == {("old", False), ("fast", True)}


def test_a_history_with_rows_of_other_programs_stays_unasked(
    typed: Typed, world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(text("INSERT INTO benchmark_history (task_type, model_name, rank) VALUES ('grading', 'old', 1)"))
    monkeypatch.setenv("BENCH_OWNER_URL", database_url)

    done = typed("db", "uninstall", "--yes")

    assert "kept: benchmark_history with 1 rows, 1 of them from other programs" in done.stdout
    assert ours(database_url) == {"benchmark_history"}


@ONE_ENGINE
def test_without_an_answer_nothing_is_removed(
    typed: Typed, world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ours(database_url)
    for arguments in ((), ("--json",)):
        done = typed("db", "uninstall", *arguments)
        assert (done.returncode, "add --yes to agree" in done.stderr) == (2, True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda _: False)
    assert typed("db", "uninstall").returncode == 1
    assert ours(database_url) == before >= metadata.tables.keys()


@ONE_ENGINE
def test_afterwards_everything_works_again(typed: Typed, world: World) -> None:
    typed("db", "uninstall", "--yes")
    again = typed("db", "uninstall", "--yes")
    assert (again.returncode, again.stdout) == (0, "nothing of bench is installed here\n")

    assert typed("run", "--task", "grading", "--models", "fast,slow").returncode == 0
    assert typed("history", "--task", "grading").returncode == 0


@ONE_ENGINE
def test_a_file_that_is_missing_is_not_created(typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", f"sqlite:///{world.folder / 'absent.db'}")

    assert typed("db", "uninstall", "--yes").stdout == "nothing of bench is installed here\n"
    assert not (world.folder / "absent.db").exists()


# PostgreSQL: functions, rights and roles


@ONLY_POSTGRESQL
def test_the_catalogue_is_that_of_before_the_installation_and_a_later_one_works(typed: Typed, own: Own) -> None:
    before = catalogue(own.url)
    assert typed("db", "install").returncode == 0
    installed = catalogue(own.url)

    done = typed("db", "uninstall", "--yes", "--json")

    removed = json.loads(done.stdout)["removed"]
    assert (done.returncode, removed["roles_kept"]) == (0, [])
    assert catalogue_without_rights(own.url) == without_rights(before)
    assert own.roles == set()
    assert typed("db", "install").returncode == 0
    assert catalogue(own.url) == installed


def without_rights(found: list[list[str]]) -> list[list[str]]:
    """A table whose rights were all taken back has a list of them, where it had none before."""
    return [[], *found[2:]]


def catalogue_without_rights(url: str) -> list[list[str]]:
    return without_rights(catalogue(url))


@ONLY_POSTGRESQL
def test_a_role_that_something_else_depends_on_stays_and_is_named(typed: Typed, own: Own) -> None:
    typed("db", "install")
    own.run(
        f"CREATE ROLE member_of_{own.promoter} IN ROLE {own.promoter}",
        f"CREATE SCHEMA theirs AUTHORIZATION {own.recorder}",
    )

    done = typed("db", "uninstall", "--yes")

    assert done.returncode == 0
    assert f"kept: the role {own.promoter}: it has members, or is a member of another role" in done.stdout
    assert f'kept: the role {own.recorder}: role "{own.recorder}" cannot be dropped' in done.stdout
    assert own.roles == {own.recorder, own.promoter}
    assert ours(own.url) == set()


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("beside", "because"),
    [
        ("CREATE VIEW champions_of_ours AS SELECT * FROM benchmark_champions", "view champions_of_ours depends on"),
        (
            "CREATE TRIGGER guard BEFORE TRUNCATE ON actors EXECUTE FUNCTION benchmark_refuse_change()",
            "trigger guard on table actors depends on",
        ),
    ],
    ids=["a view", "a trigger"],
)
def test_what_others_built_on_it_is_named_and_nothing_is_removed(
    typed: Typed, own: Own, beside: str, because: str
) -> None:
    typed("db", "install")
    own.run(beside)
    before = catalogue(own.url)

    done = typed("db", "uninstall", "--yes")

    assert done.returncode == 2
    assert "nothing was removed: cannot drop" in done.stderr
    assert because in done.stderr
    assert catalogue(own.url) == before


@ONLY_POSTGRESQL
def test_a_function_of_the_application_stays(typed: Typed, own: Own) -> None:
    typed("db", "install")
    own.run(
        "CREATE FUNCTION notify_us() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER told AFTER INSERT ON benchmark_history FOR EACH ROW EXECUTE FUNCTION notify_us()",
        "CREATE FUNCTION benchmark_apply(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )

    assert typed("db", "uninstall", "--yes").returncode == 0
    own.run("SELECT benchmark_apply('x')", "DROP FUNCTION notify_us()")


@ONLY_POSTGRESQL
def test_a_login_that_is_not_the_owner_removes_nothing(
    typed: Typed, world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = catalogue(database_url)
    monkeypatch.setenv("BENCH_OWNER_URL", as_role(database_url, "bench_recorder"))

    done = typed("db", "uninstall", "--yes")

    assert (done.returncode, "set BENCH_OWNER_URL to the owner of the tables" in done.stderr) == (2, True)
    assert catalogue(database_url) == before
