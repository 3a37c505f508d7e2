"""G11: what a process that died after the commit still owed is done by whoever comes next."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from bench_pipeline.domain.promoting.plan import Bar
from bench_pipeline.promotion.failover import fail_over
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.storage import tables
from bench_pipeline.storage.promotions import Validation, insert_validation
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.tasks import GRADE_A
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.dying import (
    AFTER_THE_COMMIT,
    BEFORE_THE_UNDOING,
    STATUS,
    as_the_database_says,
    bench_dying,
    open_intents,
    written,
)

pytestmark = pytest.mark.usefixtures("hurried")


def fail(world: World) -> None:
    """A promotion whose validation is stored as failed, and nothing was done about it."""
    promotion = world.promoted()
    found = Validation(promotion.promotion_id, False, Bar.EVIDENCE, {"reasons": ["2/4 right"]}, datetime.now(UTC))
    with world.database.writing() as connection:
        insert_validation(connection, found)


def kinds(world: World) -> list[tuple[str, str]]:
    return [(one.kind.value, one.status.value) for one in world.promotions()]


def test_g11_the_documents_that_a_dead_process_owed_are_written_by_the_next_command(
    typed: Typed, shell: Shell, world: World
) -> None:
    world.ranked("fast", "slow")
    typed("docs")
    assert bench_dying(shell, AFTER_THE_COMMIT, "promote", "--task", "grading") == STATUS
    assert (world.holds(), open_intents(world)) == ([FAST] * 3, 1)
    assert json.loads(written(world)["champions.json"]) == {"champions": []}

    typed("reconcile")

    assert open_intents(world) == 0
    assert written(world) == as_the_database_says(world)


@pytest.mark.parametrize(
    "arguments",
    [("promote", "--task", "grading"), ("docs",), ("rollback", "--task", "grading")],
    ids=lambda words: words[0],
)
def test_g11_whatever_comes_next_writes_the_documents_that_are_owed(
    typed: Typed, world: World, arguments: tuple[str, ...]
) -> None:
    world.promoted()

    typed(*arguments)

    assert open_intents(world) == 0
    assert written(world) == as_the_database_says(world)


def test_g11_the_job_reconcile_of_dagster_writes_them(pipeline: Pipeline, world: World) -> None:
    world.promoted()

    pipeline.run(job="reconcile")

    assert written(world) == as_the_database_says(world)
    assert open_intents(world) == 0


def test_g11_a_delivery_in_dagster_writes_them_before_it_decides(pipeline: Pipeline, world: World) -> None:
    world.promoted()
    stages = ["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"]

    pipeline.run(assets=[*stages, "grading/promotion_plan"])

    assert written(world) == as_the_database_says(world)
    assert open_intents(world) == 0


def test_g11_after_a_crash_the_documents_are_those_of_a_run_without_one_byte_for_byte(
    typed: Typed, world: World
) -> None:
    world.ranked("fast", "slow")
    typed("docs")
    before = written(world)
    typed("promote", "--task", "grading", "--no-validate")
    without_a_crash = written(world)
    for path, content in before.items():
        (world.folder / "production" / path).write_bytes(content)
    world.change(update(tables.intents).values(done_at=None))

    typed("reconcile")

    assert without_a_crash != before
    assert written(world) == without_a_crash


def test_g11_reconciling_twice_writes_nothing_the_second_time(typed: Typed, world: World) -> None:
    world.promoted()
    typed("reconcile")

    assert json.loads(typed("reconcile", "--json").stdout)["documents"] == []


def test_g11_reconcile_tells_that_the_promotion_still_waits_for_its_validation(typed: Typed, world: World) -> None:
    world.promoted()

    done = typed("reconcile")

    assert done.returncode == 1
    assert "promotion 1 waits for its validation: bench validate --task grading" in done.stdout


def test_g11_the_undoing_that_a_dead_process_owed_is_done_by_the_next_command(
    typed: Typed, shell: Shell, world: World
) -> None:
    world.promoted()
    world.server.models["fast:1b"].answers = {}
    assert bench_dying(shell, BEFORE_THE_UNDOING, "validate", "--task", "grading") == STATUS
    assert (world.holds(), kinds(world)) == ([FAST] * 3, [("promotion", "failed")])

    typed("reconcile")

    assert world.holds() == [SLOW] * 3
    assert kinds(world) == [("promotion", "rolled_back"), ("rollback", "applied")]
    assert written(world) == as_the_database_says(world)


def test_g11_a_promotion_undoes_the_failed_one_before_it(typed: Typed, world: World) -> None:
    fail(world)

    done = typed("promote", "--task", "grading")

    assert "nothing to promote" in done.stdout
    assert world.holds() == [SLOW] * 3


def test_g11_the_job_reconcile_of_dagster_undoes_a_promotion_whose_validation_failed(
    pipeline: Pipeline, world: World
) -> None:
    fail(world)

    pipeline.run(job="reconcile")

    assert world.holds() == [SLOW] * 3


def test_g11_a_failed_validation_is_undone_once_however_often_it_is_reconciled(typed: Typed, world: World) -> None:
    fail(world)
    for _ in range(2):
        typed("reconcile")

    assert kinds(world) == [("promotion", "rolled_back"), ("rollback", "applied")]


def test_g11_the_documents_of_an_undoing_are_owed_like_those_of_a_promotion(typed: Typed, world: World) -> None:
    world.promoted()
    typed("docs")
    roll_back(world.bench, "the tests want it", "the tests")
    assert open_intents(world) == 1

    typed("reconcile")

    assert json.loads(written(world)["champions.json"]) == {"champions": []}
    assert written(world) == as_the_database_says(world)


def test_g11_every_change_that_is_owed_is_written_at_once(typed: Typed, world: World) -> None:
    world.promoted()
    fail_over(world.bench, GRADE_A, "the tests")
    assert open_intents(world) == 2

    typed("reconcile")

    assert open_intents(world) == 0
    assert written(world) == as_the_database_says(world)
