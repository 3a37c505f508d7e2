"""What the two roles of PostgreSQL may do, and that they can do nothing else."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.postgresql.installation import Roles, install, installed_fault, statements
from bench_pipeline.storage.production import OPTIONAL, REQUIRED, open_production
from bench_pipeline.storage.schema import VERSION_TABLE
from bench_pipeline.storage.tables import metadata
from bench_pipeline_tests.world import FAST, GRADE_A, SLOW, World, as_role, fill_production

pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
ROLES = Roles("bench_recorder", "bench_promoter")
READ, ADD, WRITE = "SELECT", "SELECT INSERT", "SELECT INSERT UPDATE DELETE"
RECORDER = {
    **dict.fromkeys([*REQUIRED, *OPTIONAL, VERSION_TABLE], READ),
    **dict.fromkeys(metadata.tables, WRITE),
    **dict.fromkeys(("benchmark_plans", "benchmark_decisions", "benchmark_approvals", "benchmark_freezes"), ADD),
    "benchmark_validations": ADD,
    **dict.fromkeys(("benchmark_promotions", "benchmark_promotion_rows", "benchmark_champions"), READ),
    "benchmark_intents": "SELECT UPDATE",
}
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
TABLES = (
    "SELECT c.oid, c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')"
)


def rights_on_tables(owner: Engine, role: str) -> dict[str, str]:
    """Every right of the role on every table, whole or on a column."""
    query = text(
        "SELECT has_table_privilege(:role, CAST(:table AS oid), :right) OR (:right IN ('SELECT', 'INSERT', 'UPDATE', "
        "'REFERENCES') AND has_any_column_privilege(:role, CAST(:table AS oid), "
        "CASE WHEN :right IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') THEN :right ELSE 'SELECT' END))"
    )
    with owner.connect() as connection:
        return {
            name: " ".join(
                right
                for right in PRIVILEGES
                if connection.scalar(query, {"role": role, "table": number, "right": right})
            )
            for number, name in connection.execute(text(TABLES)).all()
        }


def test_the_recorder_reads_the_application_and_writes_our_tables_but_for_what_the_function_writes(
    world: World,
) -> None:
    assert rights_on_tables(world.owner.engine, "bench_recorder") == RECORDER


def test_the_promoter_has_no_right_on_any_table(world: World) -> None:
    assert set(rights_on_tables(world.owner.engine, "bench_promoter").values()) == {""}


@pytest.mark.parametrize(("role", "may"), [("bench_promoter", {"benchmark_apply"}), ("bench_recorder", set[str]())])
def test_of_our_functions_the_promoter_may_call_one_and_nobody_else_any(world: World, role: str, may: set[str]) -> None:
    query = text(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prorettype <> 'trigger'::regtype "
        "AND has_function_privilege(:role, oid, 'EXECUTE')"
    )
    with world.owner.engine.connect() as connection:
        assert set(connection.scalars(query, {"role": role})) == may


@pytest.mark.parametrize("role", ["bench_recorder", "bench_promoter"])
def test_neither_role_may_make_anything_or_become_anybody(world: World, role: str) -> None:
    query = text(
        "SELECT has_schema_privilege(:role, 'public', 'CREATE') OR "
        "has_database_privilege(:role, current_database(), 'CREATE') OR rolsuper OR rolcreaterole OR rolcreatedb OR "
        "rolbypassrls OR rolreplication OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid) "
        "FROM pg_roles r WHERE rolname = :role"
    )
    with world.owner.engine.connect() as connection:
        assert connection.scalar(query, {"role": role}) is False


@pytest.mark.parametrize("role", ["bench_recorder", "bench_promoter"])
@pytest.mark.parametrize(
    "attempt",
    [
        "UPDATE conversations SET actor_id = 1",
        "UPDATE actors SET enabled = true WHERE actor_id = 1",
        "DELETE FROM conversations",
        "INSERT INTO benchmark_promotions (kind) VALUES ('promotion')",
        "DELETE FROM benchmark_promotion_rows",
        "UPDATE benchmark_plans SET document = '{}'",
        "DELETE FROM benchmark_approvals",
        "DELETE FROM benchmark_champions",
        "ALTER TABLE benchmark_plans DISABLE TRIGGER ALL",
        "ALTER FUNCTION benchmark_apply(text, text, text, json) SECURITY INVOKER",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE mine (n int)",
        "SET ROLE postgres",
        "COPY conversations TO PROGRAM 'cat'",
        "DROP TABLE actors",
    ],
)
def test_what_neither_role_may_do_is_refused(world: World, role: str, attempt: str) -> None:
    before = world.snapshot()
    engine = create_engine(as_role(world.url, role))
    with engine.connect() as connection, pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
        connection.execute(text(attempt))
    engine.dispose()
    assert world.snapshot() == before


def test_installing_again_changes_nothing_and_mends_what_was_changed(world: World) -> None:
    production = open_production(world.owner, {})
    world.change(text("GRANT DELETE ON conversations TO bench_recorder"))
    world.change(text("GRANT UPDATE (actor_id) ON conversations TO bench_promoter"))
    world.change(text("COMMENT ON FUNCTION benchmark_apply(text, text, text, json) IS 'another version'"))
    assert "another version" in str(installed_fault(world.database.engine, world.production))
    install(world.owner, production, ROLES, {})
    assert installed_fault(world.database.engine, world.production) is None
    assert rights_on_tables(world.owner.engine, "bench_recorder") == RECORDER
    assert set(rights_on_tables(world.owner.engine, "bench_promoter").values()) == {""}


def test_without_the_function_a_promotion_says_what_to_do(world: World) -> None:
    plan = world.plan()
    world.change(text("DROP FUNCTION benchmark_apply(text, text, text, json)"))
    with pytest.raises(InputError, match="is not installed; run `bench db install`"):
        world.apply(plan)
    assert world.holds() == [SLOW] * 3


def test_a_login_that_does_not_own_the_conversations_is_refused(world: World) -> None:
    recorder = open_database(world.url)
    with pytest.raises(InputError, match='"conversations" belongs to postgres, not to bench_recorder'):
        install(recorder, open_production(recorder, {}), ROLES, {})
    recorder.close()


def test_a_role_that_is_a_superuser_already_is_refused(world: World) -> None:
    world.change(text("CREATE ROLE mighty SUPERUSER LOGIN"))
    try:
        with pytest.raises(InputError, match="mighty may do more than it should"):
            install(world.owner, open_production(world.owner, {}), Roles("bench_recorder", "mighty"), {})
    finally:
        world.change(text("DROP ROLE mighty"))


def test_it_works_for_tables_of_other_names_in_another_schema(database_url: str) -> None:
    owner = open_database(database_url)
    fill_production(database_url)
    names = {
        "conversations": 'App "1".the Steps',
        "conversations.actor_id": "carried out by",
        "actors": 'App "1".Actors',
        "actors.enabled": "is active?",
    }
    with owner.writing() as connection:
        for statement in (
            'CREATE SCHEMA "App ""1"""',
            'ALTER TABLE conversations RENAME COLUMN actor_id TO "carried out by"',
            'ALTER TABLE conversations RENAME TO "the Steps"',
            'ALTER TABLE "the Steps" SET SCHEMA "App ""1"""',
            'ALTER TABLE actors RENAME COLUMN enabled TO "is active?"',
            'ALTER TABLE actors RENAME TO "Actors"',
            'ALTER TABLE "Actors" SET SCHEMA "App ""1"""',
        ):
            connection.execute(text(statement))
    production = open_production(owner, names)
    install(owner, production, ROLES, {})
    recorder = open_database(as_role(database_url, "bench_recorder"))
    seen = open_production(recorder, names)
    assert installed_fault(recorder.engine, seen) is None
    with recorder.engine.connect() as connection:
        assert seen.conversations(connection, [GRADE_A])[0].actor_name == "slow"
    recorder.close()
    owner.close()


def test_the_statements_for_whoever_runs_the_database_make_the_same(world: World) -> None:
    world.change(text("DROP FUNCTION benchmark_apply(text, text, text, json)"))
    shown = statements(world.owner, open_production(world.owner, {}), ROLES)
    raw = world.owner.engine.raw_connection()
    with raw.cursor() as cursor:
        cursor.execute(";\n\n".join(shown) + ";")
    raw.commit()
    raw.close()
    assert installed_fault(world.database.engine, world.production) is None
    world.promoted()
    assert world.holds() == [FAST] * 3
