"""Our tables are found where they were installed, by every login and whatever its search path."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from sqlalchemy import create_engine, func, insert, inspect, select, text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.own_schema import in_own_schema, own_schema, search_only
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.schema import SCHEMA_VERSION, upgrade
from bench_pipeline.storage.tables import freezes, locks
from bench_pipeline.storage.writers.function import installed_fault
from bench_pipeline.storage.writers.installation import Roles, install
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.world import as_role

TABLES = (
    "CREATE TABLE {schema}.actors (actor_id integer PRIMARY KEY, actor_name text, actor_type text, "
    "execution_path text, enabled boolean)",
    "CREATE TABLE {schema}.conversations (conversation_id integer PRIMARY KEY, conversation_name text, "
    "actor_id integer REFERENCES {schema}.actors)",
    "INSERT INTO {schema}.actors VALUES (1, 'qwen', 'ai_model', 'qwen:7b', true)",
    "INSERT INTO {schema}.conversations VALUES (11, 'extract', 1)",
)


@dataclass(frozen=True)
class Team:
    """A team's database: its owner, and the two roles that are to be installed."""

    url: str
    owner: str
    roles: Roles

    def change(self, *statements: str, login: str | None = None) -> None:
        engine = create_engine(as_role(self.url, login) if login else self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def open(self, login: str, schema: str | None = None) -> Database:
        return open_database(as_role(self.url, login), schema=schema)


@pytest.fixture
def team(database_url: str) -> Iterator[Team]:
    number = secrets.token_hex(4)
    team = Team(database_url, f"app_{number}", Roles(f"recorder_{number}", f"promoter_{number}"))
    team.change(f"CREATE ROLE {team.owner} LOGIN CREATEROLE")
    yield team
    team.change(f"DROP OWNED BY {team.owner} CASCADE")
    for role in (team.roles.recorder, team.roles.promoter, team.owner):
        team.change(f"DO $$ BEGIN DROP OWNED BY {role} CASCADE; DROP ROLE {role}; "
                    "EXCEPTION WHEN undefined_object THEN NULL; END $$")  # fmt: skip


def schemas_with(database: Database, table: str) -> list[str]:
    with database.engine.connect() as connection:
        query = "SELECT schemaname FROM pg_tables WHERE tablename = :name ORDER BY schemaname"
        return list(connection.scalars(text(query), {"name": table}))


def check_installed(team: Team, schema: str, production: str) -> None:
    """Install as the owner; then the recorder, whose search path is the default one, reads and records."""
    names = {"actors": f'"{production}".actors', "conversations": f'"{production}".conversations'}
    with closing(team.open(team.owner)) as owner:
        assert own_schema(owner.engine) == schema
        install(owner, open_production(owner, names), team.roles, {})
        assert schemas_with(owner, freezes.name) == [schema]
    with closing(team.open(team.roles.recorder)) as recorder:
        assert own_schema(recorder.engine) == schema
        with pytest.raises(InputError, match=rf"lacks table actors in the search path \(write {production}\.actors\)"):
            open_production(recorder, {})
        found = open_production(recorder, names)
        assert installed_fault(recorder.engine, found) is None
        with recorder.writing() as connection:
            assert [one.actor_name for one in found.conversations(connection)] == ["qwen"]
            connection.execute(insert(freezes).values(frozen=False, reason="r", set_by="x", set_at=text("now()")))
            assert connection.scalar(select(freezes.c.set_by)) == team.roles.recorder
        with recorder.engine.connect() as connection:
            assert connection.scalar(select(func.count()).select_from(locks)) == 0


@ONLY_POSTGRESQL
def test_an_owner_with_a_schema_of_its_own_name_keeps_our_tables_there(team: Team) -> None:
    team.change(f"CREATE SCHEMA {team.owner} AUTHORIZATION {team.owner}")
    team.change(*(one.format(schema=team.owner) for one in TABLES), login=team.owner)
    check_installed(team, team.owner, team.owner)


@ONLY_POSTGRESQL
def test_our_tables_are_in_the_first_of_two_schemas_of_the_search_path(team: Team) -> None:
    team.change(
        f'CREATE SCHEMA "bench\'s own" AUTHORIZATION {team.owner}',
        f"CREATE SCHEMA crew AUTHORIZATION {team.owner}",
        f'ALTER ROLE {team.owner} SET search_path = "bench\'s own", crew',
    )
    team.change(*(one.format(schema="crew") for one in TABLES), login=team.owner)
    check_installed(team, "bench's own", "crew")
    with closing(team.open(team.owner)) as owner:
        by_path = open_production(owner, {}).table("actors")
    assert by_path.schema == "crew"

    team.change(f"ALTER ROLE {team.owner} SET search_path = public, crew")
    with closing(team.open(team.owner)) as owner:
        assert own_schema(owner.engine) == "bench's own"


@ONLY_POSTGRESQL
def test_a_stated_schema_is_used_and_two_installations_must_be_told_apart(team: Team) -> None:
    team.change(*(f"CREATE SCHEMA {name} AUTHORIZATION {team.owner}" for name in ("one", "two")))
    for schema in ("two", "one"):
        with closing(team.open(team.owner, schema)) as database:
            assert own_schema(database.engine) == schema
            assert set(schemas_with(database, freezes.name)) >= {schema}
    with pytest.raises(InputError, match="has our tables in the schemas one, two; set BENCH_SCHEMA to one of them"):
        team.open(team.owner)
    with pytest.raises(InputError, match="has no schema three; correct BENCH_SCHEMA"):
        team.open(team.owner, "three")
    team.change(f"ALTER ROLE {team.owner} SET search_path = two, one")
    with closing(team.open(team.owner)) as database:
        assert own_schema(database.engine) == "two"


@ONLY_POSTGRESQL
def test_without_a_schema_for_our_tables_the_remedy_is_named(team: Team) -> None:
    team.change(f"ALTER ROLE {team.owner} SET search_path = nowhere")
    with pytest.raises(InputError, match="its search_path names no schema that exists; run `bench db install`"):
        team.open(team.owner)


@ONLY_POSTGRESQL
def test_older_tables_are_migrated_in_the_schema_where_they_are(team: Team) -> None:
    team.change("CREATE SCHEMA crew")
    engine = in_own_schema(create_engine(team.url), "crew")
    with engine.begin() as connection:
        search_only(connection)
        upgrade(connection, "0002")
    engine.dispose()
    with closing(open_database(team.url)) as database:
        assert own_schema(database.engine) == "crew"
        assert schemas_with(database, freezes.name) == ["crew"]
        with database.engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM crew.benchmark_schema_version")) == SCHEMA_VERSION
            assert inspect(connection).get_table_names("public") == []


@ONE_ENGINE
def test_sqlite_has_no_schemas(database_url: str) -> None:
    with pytest.raises(InputError, match="is SQLite, which has no schemas; remove BENCH_SCHEMA"):
        open_database(database_url, schema="crew")
    with closing(open_database(database_url)) as database:
        assert own_schema(database.engine) is None
