"""`bench db install`: again and again, under any names, by an owner who is no superuser, at once or as statements."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url, text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.schema import MIGRATIONS, SCHEMA_VERSION
from bench_pipeline.storage.writers.function import SIGNATURE, installed_fault
from bench_pipeline.storage.writers.installation import Roles, install
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import SERVED
from bench_pipeline_tests.kit.world import World, as_role

ROLES = Roles("bench_recorder", "bench_promoter")
RIGHTS = "SELECT c.oid::regclass::text, c.relacl::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
CALLERS = "SELECT p.proname, p.proacl::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"


def installed(world: World, roles: Roles = ROLES, passwords: Mapping[str, str] = {}) -> None:
    install(world.owner, open_production(world.owner, {}), roles, dict(passwords))


def rights(world: World) -> list[tuple[str, ...]]:
    """Who may do what to each table, and who may call each function."""
    with world.owner.engine.connect() as connection:
        rows = [tuple(row) for query in (RIGHTS, CALLERS) for row in connection.execute(text(query))]
    return sorted((name, *sorted((acl or "").strip("{}").split(","))) for name, acl in rows)


def fault(world: World) -> str | None:
    return installed_fault(world.database.engine, world.production)


# Again


@ONLY_POSTGRESQL
def test_installing_again_changes_nothing(world: World) -> None:
    before = rights(world)

    installed(world)

    assert rights(world) == before
    assert fault(world) is None


@ONLY_POSTGRESQL
def test_an_older_function_is_brought_up_to_date(world: World) -> None:
    parameters = "p_plan_hash text, p_requested_by text, p_dagster_run_id text, p_observed json"
    older = f"benchmark_apply({parameters}) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public"
    world.change(
        text(f"DROP FUNCTION {SIGNATURE}"),
        text(f"CREATE FUNCTION {older} RETURN 7"),
        text(f"COMMENT ON FUNCTION {SIGNATURE} IS 'bench_pipeline 0123'"),
    )
    plan = world.plan()
    with pytest.raises(InputError, match="another version"):
        world.apply(plan)

    installed(world)

    world.apply(plan)
    assert world.holds() == [FAST] * 3


@ONLY_POSTGRESQL
def test_rights_that_were_given_besides_are_taken_back(world: World) -> None:
    before = rights(world)
    world.change(
        text("GRANT ALL ON conversations TO bench_recorder"),
        text("GRANT UPDATE (actor_id) ON conversations TO bench_promoter"),
        text("GRANT DELETE, TRUNCATE ON benchmark_promotions TO bench_recorder"),
        text("GRANT UPDATE ON SEQUENCE benchmark_plans_plan_id_seq TO bench_promoter"),
        text(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO PUBLIC"),
    )
    assert rights(world) != before

    installed(world)

    assert rights(world) == before


@ONLY_POSTGRESQL
def test_rights_of_others_are_left_alone(world: World) -> None:
    world.change(
        text("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'the_app') "
             "THEN CREATE ROLE the_app; END IF; END $$"),
        text("GRANT SELECT, UPDATE ON conversations TO the_app"),
    )  # fmt: skip
    before = rights(world)

    installed(world)

    assert rights(world) == before


# Roles that would be too much


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("make", "says"),
    [
        ("CREATE ROLE {name} LOGIN SUPERUSER", "is a superuser"),
        ("CREATE ROLE {name} LOGIN CREATEROLE", "has an attribute of its own"),
        ("CREATE ROLE {name} LOGIN BYPASSRLS", "has an attribute of its own"),
        ("CREATE ROLE {name} LOGIN IN ROLE pg_write_all_data", "is a member of another role"),
        ("CREATE ROLE {name} LOGIN; ALTER TABLE workflows OWNER TO {name}", "owns tables"),
    ],
    ids=["superuser", "may make roles", "passes row security", "member", "owner"],
)
def test_a_role_that_can_do_more_than_it_should_is_refused(world: World, make: str, says: str) -> None:
    name = f"mighty_{secrets.token_hex(4)}"
    world.change(text(make.format(name=name)))
    before = rights(world)

    with pytest.raises(InputError, match=f"^BENCH_PROMOTER_ROLE: {name} {says}, so it can do more than it should"):
        installed(world, Roles("bench_recorder", name))

    assert rights(world) == before


@ONLY_POSTGRESQL
def test_one_role_for_both_is_refused(world: World) -> None:
    with pytest.raises(InputError, match="BENCH_RECORDER_ROLE and BENCH_PROMOTER_ROLE are both bench_recorder"):
        installed(world, Roles("bench_recorder", "bench_recorder"))


# Whoever owns the tables


@ONLY_POSTGRESQL
@pytest.mark.parametrize("beside", ["", "CREATE TABLE of_another (x integer)"], ids=["alone", "beside another's table"])
def test_an_owner_who_is_no_superuser_installs_it(database_url: str, beside: str) -> None:
    name = f"owner_{secrets.token_hex(4)}"
    with closing(Database(create_engine(database_url))) as superuser, superuser.writing() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN CREATEROLE"))
        connection.execute(text(f"ALTER DATABASE {make_url(database_url).database} OWNER TO {name}"))
        connection.execute(text(beside or "SELECT 1"))
    url = as_role(database_url, name)
    fill_production(url)
    recorder, promoter = f"r_{secrets.token_hex(4)}", f"p_{secrets.token_hex(4)}"  # roles that it makes are its own

    with closing(open_database(url)) as owner:
        production = open_production(owner, {})
        for _ in range(2):
            install(owner, production, Roles(recorder, promoter), {})

        assert installed_fault(owner.engine, production) is None


@ONLY_POSTGRESQL
def test_a_login_that_may_not_install_is_told_who_may(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_OWNER_URL", world.url)

    done = typed("db", "install")

    assert done.returncode == 2
    assert (
        "public.conversations belongs to postgres, not to bench_recorder; set BENCH_OWNER_URL to postgres"
        in done.stderr
    )


@ONE_ENGINE
def test_in_sqlite_there_is_nothing_to_install(typed: Typed) -> None:
    done = typed("db", "install")

    assert (done.returncode, "is SQLite, which has no roles; there is nothing to install" in done.stderr) == (2, True)


# Before it is installed, and after an update


@ONLY_POSTGRESQL
def test_where_our_tables_are_not_made_yet_the_recorder_is_told_how(world: World, database_url: str) -> None:
    with closing(Database(create_engine(database_url))) as owner, owner.writing() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        connection.execute(text("GRANT USAGE ON SCHEMA public TO bench_recorder"))

    with pytest.raises(
        InputError, match=f"tables in version {SCHEMA_VERSION}, which this login may not create"
    ) as refused:
        open_database(world.url)

    assert "run `bench db install` as the owner of the tables" in str(refused.value)


@ONLY_POSTGRESQL
def test_where_our_tables_are_of_an_older_version_the_recorder_is_told_how(world: World, database_url: str) -> None:
    older = Config()
    older.set_main_option("script_location", str(MIGRATIONS))
    with closing(Database(create_engine(database_url))) as owner, owner.writing() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        older.attributes["connection"] = connection
        command.upgrade(older, "0002")
        connection.execute(text("GRANT USAGE ON SCHEMA public TO bench_recorder"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO bench_recorder"))

    with pytest.raises(
        InputError, match=f"tables in version {SCHEMA_VERSION}, which this login may not create"
    ) as refused:
        open_database(world.url)

    assert "\n" not in str(refused.value)
    assert "run `bench db install` as the owner of the tables" in str(refused.value)


@ONLY_POSTGRESQL
def test_a_right_that_is_missing_after_an_update_is_told_with_its_remedy(typed: Typed, world: World) -> None:
    world.change(text("REVOKE SELECT ON interactions FROM bench_recorder"))
    world.ranked("fast", "slow")

    done = typed("decide", "--task", "grading")

    assert done.returncode == 2
    assert "permission denied for table interactions; log in as the recorder, and run `bench db install`" in done.stderr


# Under other names

RENAMED = {
    "actors": "App data.Worker",
    "actors.actor_id": "order",
    "actors.actor_name": 'na"me',
    "actors.actor_type": "KIND",
    "actors.execution_path": "100% path",
    "actors.enabled": "is active?",
    "conversations": 'App data.St"ep',
    "conversations.conversation_id": "select",
    "conversations.actor_id": "it's :worker",
}


def rename(world: World) -> None:
    """Give production's tables the names above, in a schema of their own."""

    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    with world.owner.engine.begin() as connection:
        plain = connection.execution_options(no_parameters=True)
        plain.exec_driver_sql('CREATE SCHEMA "App data"')
        for table in ("actors", "conversations"):
            schema, _, real = RENAMED[table].rpartition(".")
            for name, new in RENAMED.items():
                if name.startswith(f"{table}."):
                    column = name.partition(".")[2]
                    plain.exec_driver_sql(f"ALTER TABLE {table} RENAME COLUMN {column} TO {quoted(new)}")
            plain.exec_driver_sql(f"ALTER TABLE {table} SET SCHEMA {quoted(schema)}")
            plain.exec_driver_sql(f"ALTER TABLE {quoted(schema)}.{table} RENAME TO {quoted(real)}")


@contextmanager
def renamed(world: World) -> Iterator[World]:
    """The world under other names, installed anew and opened as the recorder."""
    rename(world)
    install(world.owner, open_production(world.owner, RENAMED), ROLES, {})
    with closing(open_database(world.url)) as database:
        settings = world.settings.model_copy(update={"production_names": RENAMED})
        production = open_production(database, RENAMED)
        yield replace(world, database=database, production=production, settings=settings)


def held(world: World) -> list[int | None]:
    with world.database.engine.connect() as connection:
        return [one.actor_id for one in world.production.conversations(connection, SERVED)]


@ONLY_POSTGRESQL
def test_it_works_under_other_names_in_another_schema_whatever_has_to_be_quoted(world: World) -> None:
    with renamed(world) as other:
        other.promoted()

        assert held(other) == [FAST] * 3
        assert fault(other) is None


@ONLY_POSTGRESQL
def test_a_function_for_other_names_is_not_called(world: World) -> None:
    rename(world)
    production = open_production(world.database, RENAMED)

    assert installed_fault(world.database.engine, production) == (
        "the installed promotion's function is of another version, or for other names of tables"
    )


@ONLY_POSTGRESQL
def test_roles_may_have_any_name(world: World) -> None:
    roles = Roles(f'Re"corder {secrets.token_hex(4)}', f"100% pro'moter {secrets.token_hex(4)}")
    installed(world, roles)

    with closing(open_database(as_role(world.url, roles.recorder))) as database:
        settings = world.settings.model_copy(update={"promoter_url": None})
        other = replace(world, database=database, settings=settings)
        plan = other.plan()
        other.store(plan)
    engine = create_engine(as_role(world.url, roles.promoter))
    with engine.connect() as connection, pytest.raises(Exception, match="actor_moved"):
        connection.execute(text("SELECT benchmark_apply(:plan, 'me', NULL, '[]')"), {"plan": plan.hash})
    engine.dispose()


@ONLY_POSTGRESQL
def test_our_tables_may_be_in_a_schema_of_their_own(world: World) -> None:
    names = {
        table: f"public.{table}"
        for table in ("actors", "conversations", "workflows", "workflow_conversations", "postings", "prompt_templates")
    }
    world.change(text("CREATE SCHEMA bench"), text("GRANT USAGE ON SCHEMA bench TO bench_recorder"))
    options = {"options": "-c search_path=bench"}
    address = make_url(as_role(world.url, "postgres")).update_query_dict(options)
    with closing(open_database(address.render_as_string(hide_password=False))) as owner:
        install(owner, open_production(owner, names), ROLES, {})
        address = make_url(world.url).update_query_dict(options)
        with closing(open_database(address.render_as_string(hide_password=False))) as database:
            other = replace(world, owner=owner, database=database, production=open_production(database, names))
            other.promoted()

            assert held(other) == [FAST] * 3
