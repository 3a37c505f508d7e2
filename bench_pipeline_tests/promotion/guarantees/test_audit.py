"""G14: who changed production, when, why, from what to what, on which evidence: kept for good, and together with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.assets.workbench_resource import USER_TAG
from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import Bar
from bench_pipeline.promotion.failover import fail_over
from bench_pipeline.promotion.plan import make_plan, store_plan
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.rollback import undo
from bench_pipeline.promotion.validation import validate_promotion
from bench_pipeline.storage.plans import record_task_terms
from bench_pipeline.storage.tables import AUDIT, approvals, champions, freezes, plans, promotion_rows, promotions
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline, with_settings
from bench_pipeline_tests.kit.tasks import GRADE_A, SERVED
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

VERBS = {
    "UPDATE": "UPDATE {table} SET {key} = {key}",
    "DELETE": "DELETE FROM {table}",
    "TRUNCATE": "TRUNCATE {table} CASCADE",
}
WRITTEN_BY_THE_FUNCTION = (promotions, promotion_rows, champions)


pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def audited(world: World) -> Promotion:
    """A promotion with everything that can come before and after it, so that no audit table is empty."""
    settings = world.settings.model_copy(update={"approval": "required", "second_person": True})
    ranked = world.ranked("fast", "slow")
    made = make_plan(replace(world.bench, settings=settings), [ranked], [read_task(settings, "grading")])
    with world.signed_as("Ann") as database:
        store_plan(database, made, "Ann")
        with database.writing() as connection:
            for evidence in made.plan.evidence:
                assert evidence.task_terms is not None
                record_task_terms(connection, evidence.task_terms, "Ann", datetime.now(UTC))
    world.approve(made.plan.hash, "Bob")
    world.freeze(True, "the fair", "Cem")
    world.freeze(False, "the fair is over", "Cem")
    promotion = apply_plan(world.bench, made.plan.hash, "Ann", "run 7")
    assert promotion is not None
    validate_promotion(world.bench, promotion, "Ann", world.events.append)
    return promotion


def contents(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every audit table."""
    with world.owner.engine.connect() as connection:
        return {table.name: [tuple(row) for row in connection.execute(select(table))] for table in AUDIT}


def attempts(engine: Engine) -> Iterator[tuple[str, str]]:
    """Try to change or remove the rows of every audit table, and say what came of it."""
    for table in AUDIT:
        for verb, statement in VERBS.items():
            if verb == "TRUNCATE" and engine.dialect.name == "sqlite":
                continue
            key = next(iter(table.primary_key)).name
            yield f"{verb} {table.name}", attempt(engine, statement.format(table=table.name, key=key))


def attempt(engine: Engine, statement: str) -> str:
    """Run a statement and return the first line of the refusal; empty when there is none."""
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    except DBAPIError as refused:
        return str(refused.orig).splitlines()[0]
    return ""


# Append-only


def test_g14_everything_that_leads_to_a_change_and_follows_it_is_audited(world: World, audited: Promotion) -> None:
    kept = {table for table, rows in contents(world).items() if rows}

    assert kept == {
        "benchmark_task_terms",
        "benchmark_plans",
        "benchmark_decisions",
        "benchmark_approvals",
        "benchmark_freezes",
        "benchmark_promotions",
        "benchmark_promotion_rows",
        "benchmark_validations",
    }


def test_g14_not_even_the_owner_changes_or_removes_an_audit_row(world: World, audited: Promotion) -> None:
    before = contents(world)

    tried = dict(attempts(world.owner.engine))

    assert tried == {name: f"{name.split()[1]} is append-only" for name in tried}
    assert contents(world) == before


@contextmanager
def login(url: str | None) -> Iterator[Engine]:
    """A connection of one of the roles without this program around it."""
    engine = create_engine(str(url))
    try:
        yield engine
    finally:
        engine.dispose()


@ONLY_POSTGRESQL
@pytest.mark.parametrize("role", ["recorder", "promoter"])
def test_g14_the_two_roles_have_not_even_the_right_to_try(world: World, audited: Promotion, role: str) -> None:
    with login(world.url if role == "recorder" else world.promoter_url) as engine:
        tried = dict(attempts(engine))

    assert tried == {name: f"permission denied for table {name.split()[1]}" for name in tried}


@ONLY_POSTGRESQL
@pytest.mark.parametrize("table", [table.name for table in WRITTEN_BY_THE_FUNCTION])
def test_g14_nobody_but_the_function_adds_a_promotion(world: World, audited: Promotion, table: str) -> None:
    copy = f"INSERT INTO {table} SELECT * FROM {table}"  # noqa: S608 - a table of ours

    with login(world.url) as recorder:
        assert attempt(recorder, copy) == f"permission denied for table {table}"


@ONLY_POSTGRESQL
def test_g14_an_audit_row_is_not_changed_by_inserting_it_again(world: World, audited: Promotion) -> None:
    again = (
        "INSERT INTO benchmark_promotions SELECT * FROM benchmark_promotions "
        "ON CONFLICT (promotion_id) DO UPDATE SET requested_by = 'nobody'"
    )

    assert attempt(world.owner.engine, again) == "benchmark_promotions is append-only"


# Complete


def test_g14_a_promotion_tells_who_when_why_and_by_which_policy(world: World, audited: Promotion) -> None:
    columns = ("kind", "plan_hash", "terms_hash", "account", "approved_by", "dagster_run_id", "undoes")
    plan = only(world.rows("benchmark_promotions", "plan"))[0]

    assert world.rows("benchmark_promotions", *columns) == [
        ("promotion", audited.plan_hash, audited.terms_hash, "Ann", "Bob", "run 7", None)
    ]
    assert plan["terms"]["second_person"] is True
    assert abs((datetime.now(UTC) - audited.applied_at).total_seconds()) < 600


def test_g14_each_row_tells_the_old_and_the_new_actor_the_reason_and_the_evidence(
    world: World, audited: Promotion
) -> None:
    runs = world.rows("benchmark_runs", "purpose", "benchmark_id", "evidence_hash")
    (evidence,) = [tuple(evidence) for purpose, *evidence in runs if purpose == "benchmark"]
    columns = ("conversation_id", "old_actor_id", "old_actor", "new_actor_id", "new_actor", "changed")

    assert world.rows("benchmark_promotion_rows", *columns) == [
        (number, SLOW, "slow", FAST, "fast", True) for number in SERVED
    ]
    assert set(world.rows("benchmark_promotion_rows", "benchmark_id", "evidence_hash")) == {evidence}
    assert all("faster than slow" in why for (why,) in world.rows("benchmark_promotion_rows", "reason"))


def test_g14_a_rollback_tells_what_it_undoes_who_wanted_it_and_why(world: World, audited: Promotion) -> None:
    undo(world.bench, audited, "it was too terse", Bar.EVIDENCE, "Dee", "run 8")

    columns = ("kind", "undoes", "account", "reason", "dagster_run_id", "bar")
    assert world.rows("benchmark_promotions", *columns)[1] == (
        "rollback", audited.promotion_id, "Dee", "it was too terse", "run 8", "evidence",
    )  # fmt: skip
    names = ("conversation_id", "old_actor_id", "new_actor_id", "reason")
    assert world.rows("benchmark_promotion_rows", *names)[3:] == [
        (number, FAST, SLOW, "it was too terse") for number in SERVED
    ]


def test_g14_a_failover_tells_who_wanted_it_and_on_which_evidence(world: World, audited: Promotion) -> None:
    made = fail_over(world.bench, GRADE_A, "Dee")

    (row,) = made.rows
    assert (made.kind, made.account, row.conversation_id) == ("failover", "Dee", GRADE_A)
    assert (row.old_actor, row.new_actor, row.evidence_hash) == ("fast", "slow", audited.rows[0].evidence_hash)


@ONLY_POSTGRESQL
def test_g14_the_database_says_who_and_when_whatever_the_client_claims(world: World, audited: Promotion) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    forged = [
        insert(approvals).values(plan_hash=audited.plan_hash, approved_by="the boss", approved_at=tomorrow),
        insert(freezes).values(frozen=False, reason="", set_by="the boss", set_at=tomorrow),
        insert(plans).values(plan_hash="p" * 64, kind="promotion", terms_hash="t", tasks="grading", document="{}",
                             requested_by="the boss", made_at=tomorrow),
    ]  # fmt: skip
    with world.database.writing() as connection:
        for statement in forged:
            connection.execute(statement)

    assert world.rows("benchmark_promotions", "requested_by", "account") == [("bench_promoter", "Ann")]
    for table, who, when in (
        ("benchmark_approvals", "approved_by", "approved_at"),
        ("benchmark_freezes", "set_by", "set_at"),
        ("benchmark_plans", "requested_by", "made_at"),
    ):
        last, at = world.rows(table, who, when)[-1]
        assert (last, at < tomorrow - timedelta(hours=23)) == ("bench_recorder", True)


def test_g14_approvals_freezes_and_validations_are_kept_with_their_people(world: World, audited: Promotion) -> None:
    assert world.rows("benchmark_approvals", "plan_hash", "approved_by") == [(audited.plan_hash, "Bob")]
    assert world.rows("benchmark_freezes", "frozen", "reason", "set_by") == [
        (True, "the fair", "Cem"),
        (False, "the fair is over", "Cem"),
    ]
    assert world.rows("benchmark_validations", "promotion_id", "passed") == [(audited.promotion_id, True)]


def test_g14_in_dagster_a_promotion_names_its_run_and_who_started_it(pipeline: Pipeline, world: World) -> None:
    proxied = with_settings(pipeline, proxy_user_header="X-Forwarded-User")

    run = proxied.run(tags={USER_TAG: "alice"})

    assert world.rows("benchmark_promotions", "account", "dagster_run_id") == [("dagster (alice)", run.run_id)]
    assert proxied.workbench.requester(dg.DagsterRun("started by a schedule")) == "dagster"
    unproxied = dg.DagsterRun("without a proxy", tags={USER_TAG: "mallory"})
    assert pipeline.workbench.requester(unproxied) == "dagster"


# Together with the change


def test_g14_a_change_whose_record_cannot_be_written_is_not_made(world: World) -> None:
    plan = world.plan()
    refuse = {
        "sqlite": "CREATE TRIGGER refuse BEFORE INSERT ON benchmark_promotion_rows "
        "BEGIN SELECT RAISE(ABORT, 'no more room'); END",
        "postgresql": "ALTER TABLE benchmark_promotion_rows ADD CONSTRAINT room CHECK (conversation_id < '')",
    }
    world.change(text(refuse[world.owner.engine.dialect.name]))
    before = world.snapshot()

    with pytest.raises(Exception, match=r'no more room|violates check constraint "room"'):
        world.apply(plan)

    assert world.snapshot() == before
    assert world.rows("benchmark_promotions", "promotion_id") == []
