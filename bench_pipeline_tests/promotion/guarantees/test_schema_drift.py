"""G20: tables that are not what they were when the plan was made are seen before anything is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.observation import observe
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.storage.tables import plans
from bench_pipeline.storage.writers.function import SIGNATURE, installed_fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline, failures_of
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

pytestmark = pytest.mark.usefixtures("hurried")

CONVERSATIONS = "conversation_id INTEGER PRIMARY KEY, conversation_name TEXT, actor_id {actor}, owner TEXT"


def conversations_with(world: World, actor: str) -> None:
    """Make the table of conversations anew, with its rows and another definition of `actor_id`."""
    world.change(
        text("ALTER TABLE conversations RENAME TO old_conversations"),
        text(f"CREATE TABLE conversations ({CONVERSATIONS.format(actor=actor)})"),
        text("INSERT INTO conversations SELECT * FROM old_conversations"),
        text("DROP TABLE old_conversations CASCADE" if world.promoter_url else "DROP TABLE old_conversations"),
    )
    if world.promoter_url:
        world.change(text("GRANT SELECT ON conversations TO bench_recorder"))


def with_a_foreign_key(world: World) -> None:
    conversations_with(world, "INTEGER REFERENCES actors (actor_id)")


def statement(sql: str) -> Callable[[World], None]:
    return lambda world: world.change(text(sql))


DRIFTS = [
    pytest.param(
        statement("ALTER TABLE conversations RENAME COLUMN actor_id TO worker_id"),
        "lacks column conversations.actor_id",
        id="the column that is written is renamed",
    ),
    pytest.param(
        statement("ALTER TABLE actors RENAME COLUMN enabled TO is_active"),
        "lacks column actors.enabled",
        id="a column that is read is renamed",
    ),
    pytest.param(
        statement("ALTER TABLE conversations DROP COLUMN conversation_name"),
        "lacks column conversations.conversation_name",
        id="a column is dropped",
    ),
    pytest.param(
        statement("ALTER TABLE actors RENAME TO models"),
        "has no table of actors",
        id="a table is renamed",
    ),
    pytest.param(lambda w: conversations_with(w, "BIGINT REFERENCES actors (actor_id)"), "", id="a type is changed"),
    pytest.param(lambda w: conversations_with(w, "INTEGER"), "", id="a foreign key is dropped"),
]
NAMED = [drift for drift in DRIFTS if drift.values[1]]


def stored(world: World) -> PromotionPlan:
    """A plan from a world whose conversations refer to their actors by a foreign key."""
    with_a_foreign_key(world)
    plan = world.plan()
    world.store(plan)
    return plan


def held(world: World) -> list[tuple[object, ...]]:
    """Every row of conversations, whatever its columns are called."""
    with world.owner.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM conversations ORDER BY conversation_id"))]


def applied_nothing(world: World) -> bool:
    return world.rows("benchmark_promotions", "promotion_id") == []


# Between plan and apply


@pytest.mark.parametrize(("drift", "_"), DRIFTS)
def test_g20_a_drift_between_plan_and_apply_is_refused_and_nothing_is_changed(
    world: World, drift: Callable[[World], None], _: str
) -> None:
    plan = stored(world)
    drift(world)
    before = held(world)

    with pytest.raises(PlanRefused) as refused:
        apply_plan(world.bench, plan.hash, "Ann")

    assert str(refused.value) == (
        "the schema of production's tables changed after the plan was made; nothing was changed, make a new plan"
    )
    assert held(world) == before
    assert applied_nothing(world)


@pytest.mark.parametrize(("drift", "named"), NAMED)
def test_g20_a_new_process_names_the_column_or_table_that_is_gone(
    typed: Typed, world: World, drift: Callable[[World], None], named: str
) -> None:
    plan = stored(world)
    drift(world)
    before = held(world)

    done = typed("promote", "--plan", plan.hash)

    assert done.returncode == 2
    assert named in done.stderr
    assert "BENCH_PRODUCTION_NAMES" in done.stderr
    assert held(world) == before
    assert applied_nothing(world)


def test_g20_a_new_column_of_the_applications_is_no_drift(world: World) -> None:
    plan = stored(world)
    world.change(text("ALTER TABLE conversations ADD COLUMN remark TEXT"))

    assert apply_plan(world.bench, plan.hash, "Ann") is not None
    assert world.holds() == [FAST] * 3


def test_g20_a_rollback_after_a_drift_is_planned_upon_the_tables_of_now(world: World) -> None:
    promotion = apply_plan(world.bench, stored(world).hash, "Ann")
    assert promotion is not None
    conversations_with(world, "BIGINT")

    roll_back(world.bench, "why not", "Ann")

    assert world.holds() == [SLOW] * 3


@ONLY_POSTGRESQL
def test_g20_a_drift_after_every_look_is_found_by_the_transaction(world: World) -> None:
    plan = stored(world)
    seen = observe(world.bench, plan)
    world.change(text("ALTER TABLE conversations RENAME COLUMN actor_id TO worker_id"))
    before = held(world)

    with pytest.raises(PlanRefused, match="the schema of production's tables changed after the plan was made"):
        world.bench.writer.apply(plan.hash, "Ann", None, seen)

    assert held(world) == before
    assert applied_nothing(world)


def test_g20_in_dagster_the_update_fails_with_the_same_words(pipeline: Pipeline, world: World) -> None:
    with_a_foreign_key(world)
    before = ["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"]
    pipeline.run(assets=[*before, "grading/promotion_plan"])
    conversations_with(world, "INTEGER")

    run = pipeline.run(assets=["grading/production_update"], fails=True)

    assert "the schema of production's tables changed after the plan was made" in failures_of(run)
    assert world.holds() == [SLOW] * 3


# Before the plan


@pytest.mark.parametrize(("drift", "named"), NAMED)
@ONE_ENGINE
def test_g20_without_a_column_or_table_that_is_relied_on_nothing_is_planned(
    typed: Typed, world: World, drift: Callable[[World], None], named: str
) -> None:
    world.ranked("fast", "slow")
    drift(world)

    done = typed("promote", "--task", "grading")

    assert (done.returncode, named in done.stderr) == (2, True)
    assert world.rows(plans.name, "plan_id") == []


@pytest.mark.parametrize("actor", ["BIGINT", "INTEGER"], ids=["another type", "no foreign key"])
def test_g20_a_drift_before_the_plan_is_planned_upon(world: World, actor: str) -> None:
    with_a_foreign_key(world)
    ranked = world.ranked("fast", "slow")
    conversations_with(world, actor)

    world.apply(world.plan(ranked))

    assert world.holds() == [FAST] * 3


# The function that writes, in PostgreSQL


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(f"DROP FUNCTION {SIGNATURE}", "the promotion's function is not installed", id="absent"),
        pytest.param(
            f"COMMENT ON FUNCTION {SIGNATURE} IS 'bench_pipeline 0123'",
            "the installed promotion's function is of another version",
            id="another version",
        ),
        pytest.param(
            f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM bench_promoter",
            "permission denied for function benchmark_apply",
            id="not granted",
        ),
    ],
)
def test_g20_a_function_that_is_not_this_programs_is_not_called(
    typed: Typed, world: World, change: str, says: str
) -> None:
    world.ranked("fast", "slow")
    world.change(text(change))

    done = typed("promote", "--task", "grading")

    assert done.returncode == 2
    assert says in done.stderr
    assert "run `bench db install` as the owner of the tables" in done.stderr
    assert world.holds() == [SLOW] * 3
    assert applied_nothing(world)


@ONLY_POSTGRESQL
def test_g20_the_installed_function_is_the_one_of_this_program(world: World) -> None:
    assert installed_fault(world.database.engine, world.production) is None
