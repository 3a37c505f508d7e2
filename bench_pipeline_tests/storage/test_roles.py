"""What the two roles of a PostgreSQL database can do, proven to be all that they can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from json import dumps

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.observation import observe
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.production import PRODUCTION
from bench_pipeline_tests.kit.world import World, as_role

pytestmark = ONLY_POSTGRESQL

ROLES = ("bench_recorder", "bench_promoter")
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
OF_COLUMNS = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
OBJECTS = """
SELECT c.oid::regclass::text, c.relkind::text FROM pg_class c
WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    AND c.relnamespace::regnamespace::text NOT LIKE 'pg\\_%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
"""
FUNCTIONS = "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"

READ, ADD = {"SELECT"}, {"SELECT", "INSERT"}
WRITE = {"SELECT", "INSERT", "UPDATE", "DELETE"}
RECORDER = {
    **dict.fromkeys(PRODUCTION.tables, READ),
    "benchmark_schema_version": READ,
    # what only the function writes
    "benchmark_promotions": READ,
    "benchmark_promotion_rows": READ,
    "benchmark_champions": READ,
    # what is only added to
    "benchmark_task_terms": ADD,
    "benchmark_plans": ADD,
    "benchmark_decisions": ADD,
    "benchmark_approvals": ADD,
    "benchmark_freezes": ADD,
    "benchmark_validations": ADD,
    "benchmark_intents": {"SELECT", "UPDATE"},
    # measurements
    "benchmark_runs": WRITE,
    "benchmark_candidates": WRITE,
    "benchmark_model_runs": WRITE,
    "benchmark_samples": WRITE,
    "benchmark_pass_loads": WRITE,
    "benchmark_history": WRITE,
    "benchmark_locks": WRITE,
    # what should run, and what people were told
    "benchmark_triggers": WRITE,
    "benchmark_alerts": WRITE,
}
COUNTED = {"benchmark_task_terms": "task_terms",
           "benchmark_plans": "plan", "benchmark_decisions": "decision", "benchmark_approvals": "approval",
           "benchmark_freezes": "freeze", "benchmark_validations": "validation", "benchmark_model_runs": "model_run",
           "benchmark_samples": "sample", "benchmark_history": "benchmark", "benchmark_triggers": "trigger",
           "benchmark_alerts": "alert"}  # fmt: skip
SEQUENCES = {f"{table}_{key}_id_seq": {"USAGE"} for table, key in COUNTED.items()}


@pytest.fixture
def owner(world: World) -> Iterator[Connection]:
    with world.owner.engine.connect() as connection:
        yield connection


def tables(connection: Connection) -> list[str]:
    return [name for name, kind in connection.execute(text(OBJECTS)) if kind != "S"]


def can(connection: Connection, role: str, kind: str, thing: str, privilege: str) -> bool:
    """Ask the server whether a role has a privilege, by whatever way it came to it."""
    query = text(f"SELECT has_{kind}_privilege(:role, :thing, :privilege)")
    return bool(connection.scalar(query, {"role": role, "thing": thing, "privilege": privilege}))


def rights_on(connection: Connection, role: str, table: str) -> set[str]:
    whole = {right for right in PRIVILEGES if can(connection, role, "table", table, right)}
    return whole | {right for right in OF_COLUMNS if can(connection, role, "any_column", table, right)}


# The whole matrix


def test_the_recorder_reads_the_application_and_writes_our_measurements_and_nothing_else(owner: Connection) -> None:
    assert {table: rights_on(owner, "bench_recorder", table) for table in tables(owner)} == RECORDER


def test_the_promoter_has_no_right_on_any_table(owner: Connection) -> None:
    assert {table: rights_on(owner, "bench_promoter", table) for table in tables(owner)} == {
        table: set() for table in RECORDER
    }


@pytest.mark.parametrize(("role", "rights"), [("bench_recorder", SEQUENCES), ("bench_promoter", {})])
def test_a_role_counts_up_only_what_it_may_add_to(owner: Connection, role: str, rights: dict[str, set[str]]) -> None:
    sequences = [name for name, kind in owner.execute(text(OBJECTS)) if kind == "S"]
    found = {
        sequence: {right for right in ("USAGE", "SELECT", "UPDATE") if can(owner, role, "sequence", sequence, right)}
        for sequence in sequences
    }

    assert {sequence: has for sequence, has in found.items() if has} == rights


@pytest.mark.parametrize(
    ("role", "functions"),
    [
        ("bench_recorder", set()),
        ("bench_promoter", {"benchmark_apply(text,text,text,json)"}),
        ("public", set()),
    ],
)
def test_only_the_promoter_calls_a_function_of_ours_and_only_the_one(
    owner: Connection, role: str, functions: set[str]
) -> None:
    known = list(owner.scalars(text(FUNCTIONS)))

    assert {name for name in known if can(owner, role, "function", name, "EXECUTE")} == functions
    assert len(known) == 3


@pytest.mark.parametrize("role", ROLES)
def test_a_role_makes_nothing_in_any_schema_nor_in_the_database(owner: Connection, role: str) -> None:
    schemas = list(owner.scalars(text("SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_temp%'")))

    assert [name for name in schemas if can(owner, role, "schema", name, "CREATE")] == []
    assert not can(owner, role, "database", str(owner.scalar(text("SELECT current_database()"))), "CREATE")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_no_attribute_and_no_membership(owner: Connection, role: str) -> None:
    attributes = text(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit, rolcanlogin "
        "FROM pg_roles WHERE rolname = :role"
    )
    memberships = text("SELECT count(*) FROM pg_auth_members WHERE member = CAST(:role AS regrole)")

    assert owner.execute(attributes, {"role": role}).one() == (False,) * 6 + (True,)
    assert owner.scalar(memberships, {"role": role}) == 0


@pytest.mark.parametrize("role", ROLES)
def test_a_role_owns_nothing(owner: Connection, role: str) -> None:
    query = text("SELECT count(*) FROM pg_shdepend WHERE deptype = 'o' AND refobjid = CAST(:role AS regrole)")

    assert owner.scalar(query, {"role": role}) == 0


def test_the_function_runs_as_its_owner_under_the_owners_search_path(owner: Connection) -> None:
    query = text("SELECT prosecdef, proconfig FROM pg_proc WHERE proname = 'benchmark_apply'")

    definer, configuration = owner.execute(query).one()

    assert definer is True
    assert configuration == ["search_path=public, pg_temp"]


# Real attempts

DENIED = {
    "UPDATE conversations SET actor_id = 1": "permission denied for table conversations",
    "UPDATE actors SET enabled = true": "permission denied for table actors",
    "DELETE FROM conversations": "permission denied for table conversations",
    "TRUNCATE conversations CASCADE": "permission denied for table conversations",
    "INSERT INTO actors VALUES (99)": "permission denied for table actors",
    "SELECT * FROM conversations FOR UPDATE": "permission denied for table conversations",
    "LOCK TABLE conversations IN EXCLUSIVE MODE": "permission denied for table conversations",
    "UPDATE benchmark_champions SET champion_actor_id = 1": "permission denied for table benchmark_champions",
    "INSERT INTO benchmark_promotions DEFAULT VALUES": "permission denied for table benchmark_promotions",
    "CREATE TABLE mine (x integer)": "permission denied for schema public",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql RETURN 1": "permission denied for schema public",
    "CREATE SCHEMA mine": "permission denied for database",
    "CREATE ROLE mine": "permission denied to create role",
    "SET ROLE postgres": 'permission denied to set role "postgres"',
    "SET SESSION AUTHORIZATION postgres": 'permission denied to set session authorization "postgres"',
    "SET session_replication_role = replica": 'permission denied to set parameter "session_replication_role"',
    "ALTER ROLE bench_promoter SUPERUSER": "permission denied to alter role",
    "ALTER TABLE benchmark_promotions DISABLE TRIGGER ALL": "must be owner of table benchmark_promotions",
    "ALTER TABLE conversations OWNER TO bench_promoter": "must be owner of table conversations",
    "DROP TABLE conversations": "must be owner of table conversations",
    "DROP TRIGGER benchmark_plans_no_change ON benchmark_plans": "must be owner of relation benchmark_plans",
    "DROP FUNCTION benchmark_apply": "must be owner of function benchmark_apply",
    "ALTER FUNCTION benchmark_apply RESET ALL": "must be owner of function benchmark_apply",
    "COPY (SELECT 1) TO PROGRAM 'cat'": "permission denied to COPY to or from an external program",
    "COPY (SELECT 1) TO '/tmp/stolen'": "permission denied to COPY to a file",
    "SELECT lo_import('/etc/passwd')": "permission denied for function lo_import",
    "SELECT pg_read_file('/etc/passwd')": "permission denied for function pg_read_file",
}
DENIED_TO_THE_RECORDER = {
    "SELECT benchmark_apply('0', 'me', NULL, '[]')": "permission denied for function benchmark_apply",
    "UPDATE benchmark_intents SET promotion_id = 1; DELETE FROM benchmark_intents": (
        "permission denied for table benchmark_intents"
    ),
}
DENIED_TO_THE_PROMOTER = {
    "SELECT * FROM conversations": "permission denied for table conversations",
    "SELECT * FROM actors": "permission denied for table actors",
    "SELECT * FROM benchmark_plans": "permission denied for table benchmark_plans",
    "SELECT * FROM benchmark_promotions": "permission denied for table benchmark_promotions",
    "INSERT INTO benchmark_approvals DEFAULT VALUES": "permission denied for table benchmark_approvals",
    "INSERT INTO benchmark_locks DEFAULT VALUES": "permission denied for table benchmark_locks",
}


def attempt(url: str | None, statement: str) -> str:
    """Run a statement as whoever the address says, and return the refusal; empty when there is none."""
    engine = create_engine(str(url))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
    except DBAPIError as refused:
        return str(refused.orig).splitlines()[0]
    finally:
        engine.dispose()
    return ""


@pytest.mark.parametrize(
    ("role", "denied"),
    [("recorder", DENIED | DENIED_TO_THE_RECORDER), ("promoter", DENIED | DENIED_TO_THE_PROMOTER)],
    ids=["recorder", "promoter"],
)
def test_what_a_role_is_not_for_is_refused_when_it_is_tried(world: World, role: str, denied: dict[str, str]) -> None:
    url = world.url if role == "recorder" else world.promoter_url
    before = world.snapshot()

    said = {statement: attempt(url, statement) for statement in denied}

    assert {statement: said[statement] for statement in denied if denied[statement] not in said[statement]} == {}
    assert world.snapshot() == before


def test_the_promoter_applies_a_plan_and_nothing_that_is_no_plan(world: World) -> None:
    plan = world.plan()
    world.store(plan)

    with pytest.raises(PlanRefused, match="there is no stored plan"):
        world.bench.writer.apply("0" * 64, "the tests", None, [])
    assert world.holds() == [SLOW] * 3
    assert world.apply(plan) is not None


@pytest.mark.parametrize("role", ROLES)
def test_a_role_cannot_hand_on_what_it_has(world: World, owner: Connection, role: str) -> None:
    for grant in ("SELECT ON conversations", "EXECUTE ON FUNCTION benchmark_apply"):
        attempt(as_role(world.url, role), f"GRANT {grant} TO PUBLIC")

    assert not can(owner, "public", "table", "conversations", "SELECT")
    assert not can(owner, "public", "function", "benchmark_apply(text,text,text,json)", "EXECUTE")


def test_temporary_tables_of_the_promoters_do_not_stand_in_for_real_ones(world: World) -> None:
    plan = world.plan()
    world.store(plan)
    seen = [asdict(one) for one in observe(world.bench, plan)]
    made = "; ".join(f"CREATE TEMP TABLE {table} (x integer)" for table in RECORDER)

    refused = attempt(world.promoter_url, f"{made}; SELECT benchmark_apply('{plan.hash}', 'me', '', '{dumps(seen)}')")

    assert refused == ""
    assert world.holds() == [FAST] * 3


def test_a_function_of_another_schema_does_not_stand_in_for_the_real_one(world: World) -> None:
    world.change(
        text("CREATE SCHEMA bench_promoter"),
        text(
            "CREATE FUNCTION bench_promoter.benchmark_apply(text, text, text, json) RETURNS bigint "
            "LANGUAGE sql RETURN 7"
        ),
        text("GRANT USAGE ON SCHEMA bench_promoter TO bench_promoter"),
    )

    world.promoted()

    assert world.holds() == [FAST] * 3
