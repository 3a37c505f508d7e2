"""A promotion runs beside the application's own triggers, policies, defaults and transactions, in PostgreSQL."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from hashlib import sha256

import pytest
from sqlalchemy import create_engine, delete, text, update
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.plan import Bar
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.locks import BENCHMARK, DOCUMENTS
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.tables import benchmark_runs
from bench_pipeline.storage.writers.installation import Roles, install
from bench_pipeline.storage.writers.postgresql import PostgresqlWriter
from bench_pipeline_tests.fakes.postgres import create_database, drop_database
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import actors, conversations, prompt_templates
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B
from bench_pipeline_tests.kit.world import World, as_role, install_roles
from bench_pipeline_tests.promotion.benchmark_of_fast import (
    PLAN,
    SEEN,
    applied,
    forged,
    reverse,
    store_benchmark,
    stored,
)
from bench_pipeline_tests.promotion.guarantees.hands import edit, operator, until, waiting
from bench_pipeline_tests.promotion.refused_evidence import KEPT, in_row, newer

pytestmark = ONLY_POSTGRESQL


def sql(world: World, *statements: str) -> None:
    world.change(*map(text, statements))


def refused(world: World) -> PlanRefused:
    with pytest.raises(PlanRefused) as found:
        world.bench.writer.apply(stored(world), "the tests", None, list(SEEN))
    return found.value


def test_a_trigger_finds_its_tables_functions_and_types_as_it_does_for_the_application(world: World) -> None:
    store_benchmark(world)
    sql(
        world,
        "CREATE TYPE kind AS ENUM ('changed')",
        "CREATE TABLE audit_log (what kind, who text, number bigint)",
        "CREATE FUNCTION label() RETURNS text LANGUAGE sql AS $$ SELECT 'app' $$",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO audit_log VALUES ('changed'::kind, label(), NEW.conversation_id); RETURN NEW; END $$",
        "CREATE TRIGGER note AFTER UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note()",
    )
    applied(world)
    with world.owner.engine.connect() as connection:
        logged = connection.execute(text("SELECT what::text, who, count(*) FROM audit_log GROUP BY 1, 2")).all()
    assert [tuple(row) for row in logged] == [("changed", "app", 3)]


def test_a_temporary_table_does_not_come_before_the_applications_own(world: World) -> None:
    store_benchmark(world)
    sql(
        world,
        "CREATE TABLE audit_log (number bigint)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO audit_log VALUES (NEW.conversation_id); RETURN NEW; END $$",
        "CREATE TRIGGER note AFTER UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note()",
    )
    install_roles(world.owner, world.url, {})
    with world.owner.engine.connect() as connection:
        path = connection.scalar(
            text("SELECT array_to_string(proconfig, ';') FROM pg_proc WHERE proname = 'benchmark_apply'")
        )
    assert str(path).endswith(", pg_temp")


def test_a_deferred_trigger_that_changes_the_row_is_seen_before_the_commit(world: World) -> None:
    store_benchmark(world)
    again = f"UPDATE conversations SET actor_id = {WRONG} WHERE conversation_id = {GRADE_B}"  # noqa: S608
    sql(
        world,
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF pg_trigger_depth() = 1 THEN {again}; END IF; RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER meddle AFTER UPDATE ON conversations DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION meddle()",
    )
    found = refused(world)
    assert (found.reason, found.facts["holds"]) == ("not_as_written", WRONG)
    assert world.holds() == [SLOW] * 3


def test_a_policy_that_hides_the_row_from_the_owner_is_named(world: World) -> None:
    store_benchmark(world)
    plan = stored(world)
    sql(
        world,
        "CREATE ROLE keeper NOLOGIN",
        "GRANT ALL ON SCHEMA public TO keeper",
        "ALTER TABLE conversations OWNER TO keeper",
        "ALTER TABLE actors OWNER TO keeper",
        "ALTER FUNCTION benchmark_apply(text, text, text, json) OWNER TO keeper",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO keeper",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO keeper",
        "ALTER TABLE conversations ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE conversations FORCE ROW LEVEL SECURITY",
        "CREATE POLICY look ON conversations FOR SELECT USING (true)",
    )
    try:
        with pytest.raises(PlanRefused) as found:
            world.bench.writer.apply(plan, "the tests", None, list(SEEN))
    finally:
        sql(world, "REASSIGN OWNED BY keeper TO postgres", "DROP OWNED BY keeper", "DROP ROLE keeper")
    assert (found.value.reason, found.value.facts["suspects"]) == ("update_ignored", "policy look")


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_a_database_with_another_isolation_as_its_default_is_promoted_in(world: World, level: str) -> None:
    store_benchmark(world)
    with world.owner.engine.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
    sql(world, f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    world.database.engine.dispose()
    applied(world)
    assert world.holds() == [FAST] * 3


def test_an_operator_who_locks_in_the_other_order_is_never_the_one_that_is_ended(world: World) -> None:
    store_benchmark(world)
    plan = stored(world)
    with operator(world) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute(update(actors).where(actors.c.actor_id == FAST).values(actor_name="fast, renamed"))
        promotion = pool.submit(world.bench.writer.apply, plan, "the tests", None, list(SEEN))
        until(lambda: waiting(world))  # it holds the conversation, and waits for the actor
        connection.execute(edit(GRADE_A, SLOW))
        connection.commit()
        assert promotion.result() is not None
    assert world.holds() == [FAST] * 3


def test_a_promoter_of_a_copy_of_the_database_is_refused_before_anything_is_planned(world: World) -> None:
    store_benchmark(world)
    server = as_role(world.url, "postgres")
    with world.owner.engine.connect() as connection:
        name = str(connection.scalar(text("SELECT current_database()")))
    for database in (world.database, world.owner):
        database.engine.dispose()
    copy = create_database(server, f"{name}_copy", name)
    try:
        writer = PostgresqlWriter(world.database, world.production, as_role(copy, "bench_promoter"))
        for attempt in (writer.check_target, writer.check, lambda: writer.apply("0" * 64, "x", None, [])):
            with pytest.raises(InputError, match="BENCH_PROMOTER_URL: leads to a different database than BENCH"):
                attempt()
        writer.close()
    finally:
        drop_database(server, f"{name}_copy")


def test_an_edit_of_another_column_in_between_does_not_matter(world: World) -> None:
    store_benchmark(world)
    plan = stored(world)
    world.change(update(conversations).values(owner="somebody"))
    assert world.bench.writer.apply(plan, "the tests", None, list(SEEN)) is not None


# Shapes of the tables

RESERVED = {
    "actors": "Select",
    "actors.actor_id": "From",
    "actors.enabled": "is Active",
    "conversations": "Order",
    "conversations.conversation_id": "Group",
    "conversations.actor_id": "User",
}
SHAPES = {
    "without workflows": ("DROP TABLE workflow_conversations, workflows",),
    "actor_type as char(10), enabled as Y and N": (
        "ALTER TABLE actors ALTER actor_type TYPE char(10), ALTER enabled DROP DEFAULT, "
        "ALTER enabled TYPE text USING CASE WHEN enabled THEN ' Y' ELSE 'N' END",
    ),
    "actor_type as an enum": (
        "CREATE TYPE kind AS ENUM ('ai_model', 'script')",
        "ALTER TABLE actors ALTER actor_type TYPE kind USING trim(actor_type)::kind",
    ),
    "partitions": (
        "ALTER TABLE conversations RENAME TO all_of_them",
        "CREATE TABLE conversations (LIKE all_of_them) PARTITION BY RANGE (conversation_id)",
        "CREATE TABLE conversations_3 PARTITION OF conversations FOR VALUES FROM (3000) TO (4000)",
        "INSERT INTO conversations SELECT * FROM all_of_them",
    ),
    "an updatable view": (
        "ALTER TABLE conversations RENAME TO talks",
        "CREATE VIEW conversations AS SELECT * FROM talks WHERE conversation_id > 0",
    ),
    "a view with an INSTEAD OF trigger": (
        "DROP VIEW conversations",
        "CREATE VIEW conversations AS SELECT DISTINCT * FROM talks",
        "CREATE FUNCTION give() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE talks "
        "SET actor_id = NEW.actor_id WHERE conversation_id = OLD.conversation_id; RETURN NEW; END'",
        "CREATE TRIGGER give INSTEAD OF UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION give()",
    ),
    "reserved words of mixed case as names": (
        "DROP VIEW conversations",
        'CREATE VIEW "Order" AS SELECT conversation_id AS "Group", conversation_name, actor_id AS "User" FROM talks',
        'ALTER TABLE actors RENAME TO "Select"',
        'ALTER TABLE "Select" RENAME actor_id TO "From"',
        'ALTER TABLE "Select" RENAME enabled TO "is Active"',
    ),
}
"""Each is made beside those before it."""


def test_a_promotion_and_its_rollback_work_in_tables_of_every_shape(world: World) -> None:
    store_benchmark(world)
    for shape, statements in SHAPES.items():
        sql(world, *statements)
        names = RESERVED if "reserved" in shape else {}
        install(world.owner, open_production(world.owner, names), Roles("bench_recorder", "bench_promoter"), {})
        world = replace(world, production=open_production(world.database, names))
        plan = PLAN.model_copy(update={"reason": shape})
        promoted = applied(world, plan)
        assert set(served(world)) == {FAST}, shape
        applied(world, reverse(plan, promoted))
        assert set(served(world)) == {SLOW}, shape


def served(world: World) -> list[object]:
    """The actors of the plan's conversations, by whatever names production has for them."""
    keys = [row.conversation_id for row in PLAN.rows]
    with world.database.engine.connect() as connection:
        return [one.actor_id for one in world.production.conversations(connection, keys)]


# Logins that mean no good


def test_a_login_that_holds_the_advisory_locks_of_earlier_versions_stops_nothing(world: World) -> None:
    store_benchmark(world)
    keys = [
        int.from_bytes(sha256(f"bench_pipeline:{purpose}".encode()).digest()[:8], signed=True)
        for purpose in ("promotion", "benchmark", "documents")
    ]
    with closing(open_database(as_role(world.url, "bench_recorder"))) as stranger, stranger.engine.connect() as held:
        for key in keys:
            held.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        applied(world)
        with world.database.exclusive(BENCHMARK), world.database.exclusive(DOCUMENTS):
            assert world.holds() == [FAST] * 3


def test_a_promoter_who_calls_the_function_without_this_program_meets_the_same_rules(world: World) -> None:
    store_benchmark(world)
    assert (told(world, forged(world, terms={})), told(world, forged(world, kind="dictate"))) == (
        "plan_malformed",
        "plan_malformed",
    )
    assert told(world, stored(world, in_row(**KEPT))) == "evidence_gone"

    world.set_template(GRADE_B, "Be lenient: {posting}")
    assert told(world, stored(world)) == "prompt_changed"
    world.change(delete(prompt_templates))

    outdated = newer(standing="disqualified", cases_correct=3, rank=None)(world)
    assert told(world, outdated.plan_hash) == "plan_outdated"
    later = benchmark_runs.c.benchmark_id == "grading-2"
    world.change(update(benchmark_runs).where(later).values(invalid="the machine slept"))

    assert (world.holds(), world.registry()) == ([SLOW] * 3, {})
    assert told(world, stored(world)) == "promotion 1"
    applied(world, reverse(PLAN, 1).model_copy(update={"bar": Bar.EVIDENCE}))
    assert told(world, stored(world, in_row(reason="again"))) == "barred"
    assert (world.holds(), world.registry()) == ([SLOW] * 3, {})


def told(world: World, plan_hash: str) -> str:
    """What the function says to a promoter who has nothing but its login and a hash: the reason, or the number."""
    engine = create_engine(str(world.promoter_url))
    call = text("SELECT public.benchmark_apply(:plan, 'me', NULL, CAST(:seen AS json))")
    try:
        with engine.begin() as connection:
            seen = json.dumps([asdict(one) for one in SEEN])
            return f"promotion {connection.scalar(call, {'plan': plan_hash, 'seen': seen})}"
    except DBAPIError as error:
        return str(error.orig.diag.message_primary)
    finally:
        engine.dispose()
