"""`bench db install --sql` prints everything that installing does, and does none of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import pytest
from sqlalchemy import create_engine, make_url, text

from bench_pipeline.storage.database import Database
from bench_pipeline.storage.schema import upgrade
from bench_pipeline_tests.fakes.postgres import create_database, drop_database
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World, as_role
from bench_pipeline_tests.storage.test_migrations import insert, plan, promotion

CATALOGUE = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
    "WHERE table_schema = 'public'",
    "SELECT c.relname, c.relkind::text, c.relacl::text, pg_get_userbyid(c.relowner) FROM pg_class c "
    "WHERE c.relnamespace = 'public'::regnamespace",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace",
    "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "SELECT proname, pg_get_functiondef(oid), proacl::text, obj_description(oid, 'pg_proc') FROM pg_proc "
    "WHERE pronamespace = 'public'::regnamespace",
    "SELECT objoid::regclass::text, objsubid, description FROM pg_description WHERE classoid = 'pg_class'::regclass "
    "AND objoid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)",
)
VERSION = "SELECT version_num FROM benchmark_schema_version"


def catalogue(url: str) -> list[list[tuple[object, ...]]]:
    """Everything that the schema holds, with rights and comments."""
    with closing(Database(create_engine(url))) as database, database.engine.connect() as connection:
        found = [sorted(map(repr, connection.execute(text(query)))) for query in CATALOGUE]
        if connection.scalar(text("SELECT to_regclass('benchmark_schema_version')")) is not None:
            found.append([str(connection.scalar(text(VERSION)))])
    return found


def run_script(url: str, script: str) -> None:
    address = make_url(url)
    with closing(
        psycopg2.connect(host=address.host, port=address.port, user=address.username, dbname=address.database)
    ) as connection:
        connection.cursor().execute(script)
        connection.commit()


ODD = "it's 100% :sure; $1 %s"


@dataclass(frozen=True)
class Pair:
    """Two databases with the same production and, if there are any, the same older tables of ours."""

    by_script: str
    by_command: str


@pytest.fixture(params=[None, "0002", "0006"], ids=["no tables", "version 0002", "version 0006"])
def pair(request: pytest.FixtureRequest, postgres: str) -> Iterator[Pair]:
    names = [f"test_{secrets.token_hex(8)}" for _ in range(2)]
    first = create_database(postgres, names[0])
    fill_production(first)
    if request.param is not None:
        engine = create_engine(first)
        with engine.begin() as connection:
            upgrade(connection, request.param)
        if request.param == "0002":
            promotion(engine, 1, "rolled_back", "2026-02-09 00:00:00", (3336, True), (3337, False))
            insert(engine, "benchmark_promotions", promotion_id=2, plan_hash="x", benchmark_id="b1", task_type="x",
                   status="applied", evidence_hash="e", plan=plan(3336), requested_by=ODD,
                   applied_at="2026-02-02 00:00:00")  # fmt: skip
        engine.dispose()
    yield Pair(first, create_database(postgres, names[1], names[0]))
    for name in names:
        drop_database(postgres, name)


def changes(url: str) -> list[tuple[object, ...]]:
    query = "SELECT promotion_id, kind, requested_by, reason, undoes FROM benchmark_promotions ORDER BY 1"
    with closing(Database(create_engine(url))) as database, database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@ONLY_POSTGRESQL
def test_the_script_gives_what_the_command_gives_and_printing_it_changes_nothing(
    typed: Typed, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RECORDER_PASSWORD", "canary-4711")
    monkeypatch.setenv("BENCH_OWNER_URL", pair.by_script)
    before = catalogue(pair.by_script)

    done = typed("db", "install", "--sql")

    assert (done.returncode, done.stderr) == (0, "")
    assert "canary-4711" not in done.stdout
    assert catalogue(pair.by_script) == before
    run_script(pair.by_script, done.stdout)
    monkeypatch.setenv("BENCH_OWNER_URL", pair.by_command)
    assert typed("db", "install").returncode == 0
    assert catalogue(pair.by_script) == catalogue(pair.by_command)
    assert changes(pair.by_script) == changes(pair.by_command)


@ONLY_POSTGRESQL
def test_where_our_tables_are_up_to_date_the_script_makes_none(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_OWNER_URL", as_role(world.url, "postgres"))

    shown = json.loads(typed("db", "install", "--sql", "--json").stdout)

    assert shown["installed"] is False
    assert [one for one in shown["sql"] if one.startswith(("CREATE TABLE", "ALTER TABLE", "INSERT"))] == []
    assert shown["sql"][0] == "SET search_path TO public"


@ONLY_POSTGRESQL
def test_a_login_that_may_not_create_the_tables_gets_an_error_instead_of_the_script(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(text("UPDATE benchmark_schema_version SET version_num = '0006'"))
    monkeypatch.setenv("BENCH_OWNER_URL", world.url)

    done = typed("db", "install", "--sql")

    assert (done.returncode, done.stdout) == (2, "")
    assert "which this login may not create" in done.stderr


@ONE_ENGINE
def test_sqlite_has_no_script(typed: Typed) -> None:
    done = typed("db", "install", "--sql")

    assert (done.returncode, "is SQLite, which has no roles; there is nothing to install" in done.stderr) == (2, True)
