"""G13: a promotion whose validation fails is undone once, stays out while nothing changed, and nothing flaps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench_pipeline.benchmark.ranking import read_ranked
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.promoting.plan import Bar, PlanRow
from bench_pipeline.promotion.reconciliation import reconcile
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline, checks_of
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import CASES, GRADE_A, SERVED, TEMPLATE, suite_value, task_value, write_task
from bench_pipeline_tests.kit.world import World

pytestmark = pytest.mark.usefixtures("hurried")

RIGHT = {CASES["FAIL_001"]: "[FAIL] no job is named", CASES["FAIL_002"]: "[FAIL] another job"}


def promote(typed: Typed) -> int:
    return typed("promote", "--task", "grading").returncode


def fails_after_its_promotion(typed: Typed, world: World) -> None:
    """`fast` is right when it is measured, wrong when it is validated, and right ever after."""
    world.ranked("fast", "slow")
    world.server.models["fast:1b"].answers = {}
    assert promote(typed) == 1
    world.server.models["fast:1b"].answers = RIGHT


def story(world: World) -> list[tuple[str, str]]:
    return [(one.kind.value, one.status.value) for one in world.promotions()]


def planned(world: World, *models: str) -> PlanRow:
    """The first row of a plan from a new benchmark, for which every model is asked anew."""
    world.runtimes.close()
    return world.plan(world.ranked(*models or ("fast", "slow", "wrong"))).rows[0]


def put_back(world: World) -> Promotion:
    """A person undoes the last rollback."""
    return roll_back(world.bench, "it was a false alarm", "Ann", world.promotions()[-1].promotion_id).promotion


# Once


def test_g13_a_promotion_whose_validation_fails_is_undone(typed: Typed, world: World) -> None:
    before = world.snapshot()
    fails_after_its_promotion(typed, world)

    assert world.snapshot() == before
    assert story(world) == [("promotion", "rolled_back"), ("rollback", "applied")]
    assert world.promotions()[-1].reason.startswith("validation failed: fast got 2/4 cases right")


@pytest.mark.parametrize(
    "arguments", [("reconcile",), ("promote", "--task", "grading"), ("docs",)], ids=lambda words: words[0]
)
def test_g13_it_is_undone_once_whatever_is_done_next(typed: Typed, world: World, arguments: tuple[str, ...]) -> None:
    fails_after_its_promotion(typed, world)

    assert typed(*arguments).returncode == 0

    assert story(world) == [("promotion", "rolled_back"), ("rollback", "applied")]
    assert world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_g13_there_is_nothing_to_validate_any_more(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)

    done = typed("validate", "--task", "grading")

    assert (done.returncode, done.stderr.startswith("bench: task grading has no promotion")) == (2, True)


def test_g13_in_dagster_it_is_undone_once_and_the_check_alarms(pipeline: Pipeline, world: World) -> None:
    pipeline.run()
    roll_back(world.bench, "to promote it again", "Ann", bar=Bar.BENCHMARK)
    stages = ["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"]
    pipeline.run(assets=[*stages, "grading/promotion_plan", "grading/production_update"])
    assert world.holds() == [FAST] * 3
    world.server.models["fast:1b"].answers = {}

    checks = checks_of(pipeline.run(assets=["grading/validation"]))
    pipeline.run(job="reconcile")
    again = pipeline.run(assets=["grading/validation"])

    assert (checks["validation_passed"], checks_of(again)["validation_passed"]) == (False, False)
    assert [kind for kind, _ in story(world)] == ["promotion", "rollback", "promotion", "rollback"]
    assert pipeline.metadata("grading/validation")["validated"] == "no promotion waits for validation"


# Barred until something in its evidence changes


def test_g13_the_same_champion_under_the_same_evidence_is_not_promoted_again(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)

    row = planned(world)

    assert row.decision is DecisionKind.KEEP
    assert "promotion 1 did this and was undone (validation failed: fast got 2/4" in row.reason


def test_g13_a_new_benchmark_and_promote_change_nothing(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)
    world.ranked("fast", "slow", "wrong")
    before = world.snapshot()

    done = typed("promote", "--task", "grading")

    assert (done.returncode, "nothing to promote" in done.stdout) == (0, True)
    assert world.snapshot() == before


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(lambda w: setattr(w.server.models["fast:1b"], "digest", "sha256:new"), id="its weights"),
        pytest.param(lambda w: setattr(w.server.models["fast:1b"], "parameters", ('stop "."',)), id="its parameters"),
        pytest.param(lambda w: setattr(w.server, "version", "0.34.0"), id="the server's version"),
        pytest.param(
            lambda w: write_task(w.folder / "testcases", suite_value() | {"version": "1.1.0"}), id="the suite"
        ),
        pytest.param(lambda w: w.set_template(GRADE_A, TEMPLATE + " Be strict."), id="the prompt"),
    ],
)
@ONE_ENGINE
def test_g13_it_may_be_promoted_once_something_in_its_evidence_changed(
    typed: Typed, world: World, changes: Callable[[World], None]
) -> None:
    fails_after_its_promotion(typed, world)
    assert planned(world).decision is DecisionKind.KEEP

    changes(world)

    assert planned(world).decision is DecisionKind.PROMOTE


def test_g13_after_its_weights_changed_it_is_promoted_and_stays(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)
    world.server.models["fast:1b"].digest = "sha256:new"
    assert planned(world).decision is DecisionKind.PROMOTE

    assert promote(typed) == 0

    assert world.holds() == [FAST] * 3
    assert story(world)[-1] == ("promotion", "validated")


@ONE_ENGINE
def test_g13_another_champion_is_not_barred(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)
    world.server.models["wrong:3b"].answers = RIGHT

    row = planned(world, "wrong", "slow")

    assert (row.decision, row.new_actor) == (DecisionKind.PROMOTE, "wrong")


@ONE_ENGINE
def test_g13_another_conversation_is_not_barred(typed: Typed, world: World) -> None:
    alone = {"conversations": [GRADE_A], "promotion": {"auto": [GRADE_A]}}
    write_task(world.folder / "testcases", task=task_value() | alone)
    world.promoted()
    roll_back(world.bench, "the tests want it", "the tests")
    write_task(world.folder / "testcases")

    decisions = [row.decision for row in world.plan().rows]

    assert decisions == [DecisionKind.KEEP, DecisionKind.PROMOTE, DecisionKind.PROMOTE]


# What infrastructure did may be gone tomorrow


@pytest.mark.parametrize(
    "breaks",
    [
        pytest.param(lambda w: w.server.broken.add("/api/tags"), id="the server is down"),
        pytest.param(
            lambda w: setattr(w.server.models["fast:1b"], "fault", Fault.LOADING_REFUSED), id="it does not load"
        ),
        pytest.param(lambda w: setattr(w.server.models["fast:1b"], "fault", Fault.SERVER_ERROR), id="it crashes"),
    ],
)
def test_g13_a_failure_of_infrastructure_bars_only_the_benchmark_that_it_followed(
    typed: Typed, world: World, breaks: Callable[[World], None]
) -> None:
    ranked = world.ranked("fast", "slow")
    typed("promote", "--task", "grading", "--no-validate")
    breaks(world)
    assert typed("validate", "--task", "grading").returncode == 1
    assert world.holds() == [SLOW] * 3
    world.server.broken.clear()
    world.server.models["fast:1b"].fault = None

    same = world.plan(read_ranked(world.database, ranked.benchmark.benchmark_id)).rows[0]
    new = planned(world)

    assert (same.decision, new.decision) == (DecisionKind.KEEP, DecisionKind.PROMOTE)


# A person who puts it back has the last word


def test_g13_what_a_person_put_back_is_not_taken_again_by_reconcile(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)
    put_back(world)

    reconciled = reconcile(world.bench, "the tests")

    assert reconciled.undone == ()
    assert world.holds() == [FAST] * 3
    assert [kind for kind, _ in story(world)] == ["promotion", "rollback", "rollback"]


def test_g13_what_a_person_put_back_is_not_taken_again_by_a_validation(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)
    put_back(world)
    world.server.models["fast:1b"].answers = {}

    done = typed("validate", "--task", "grading")

    assert (done.returncode, "❌ validation failed: fast got 2/4" in done.stdout) == (1, True)
    assert world.holds() == [FAST] * 3
    assert [kind for kind, _ in story(world)] == ["promotion", "rollback", "rollback"]


@ONE_ENGINE
def test_g13_what_a_person_put_back_is_not_barred_any_more(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)
    put_back(world)

    world.give(GRADE_A, SLOW)

    assert planned(world).decision is DecisionKind.PROMOTE


def test_g13_what_a_person_put_back_is_not_taken_again_by_a_promotion(typed: Typed, world: World) -> None:
    fails_after_its_promotion(typed, world)
    put_back(world)
    world.server.models["fast:1b"].answers = {}

    assert promote(typed) == 0

    assert world.holds() == [FAST] * 3


def test_g13_what_a_person_put_back_is_not_taken_again_by_a_job_of_dagster(pipeline: Pipeline, world: World) -> None:
    world.apply(world.plan())
    roll_back(world.bench, "validation failed: so it seemed", "the tests")
    put_back(world)
    world.server.models["fast:1b"].answers = {}

    pipeline.run(job="reconcile")
    pipeline.run(assets=["grading/validation", "workflow_docs", "champion_registry"])

    assert world.holds() == [FAST] * 3
    assert [kind for kind, _ in story(world)] == ["promotion", "rollback", "rollback"]


@ONE_ENGINE
def test_g13_a_whole_job_of_dagster_leaves_what_a_person_put_back(pipeline: Pipeline, world: World) -> None:
    world.apply(world.plan())
    roll_back(world.bench, "validation failed: so it seemed", "the tests")
    put_back(world)

    pipeline.run()

    assert world.holds() == [FAST] * len(SERVED)
    assert [kind for kind, _ in story(world)] == ["promotion", "rollback", "rollback"]
