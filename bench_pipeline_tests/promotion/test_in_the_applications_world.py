"""A promotion runs beside the application's own triggers, policies, defaults and transactions, in PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text, update

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.storage.writers.postgresql import PostgresqlWriter
from bench_pipeline_tests.fakes.postgres import create_database, drop_database
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import actors, conversations
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B
from bench_pipeline_tests.kit.world import World, as_role, install_roles
from bench_pipeline_tests.promotion.benchmark_of_fast import SEEN, applied, store_benchmark, stored
from bench_pipeline_tests.promotion.guarantees.hands import edit, operator, until, waiting

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
