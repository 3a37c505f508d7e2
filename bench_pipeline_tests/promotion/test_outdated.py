"""A stored plan is outdated only by a newer benchmark that is fit for production and decides otherwise."""

from __future__ import annotations

import pytest

from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.tasks import suite_value, task_value, write_task
from bench_pipeline_tests.kit.world import World


def approved(world: World) -> PromotionPlan:
    """A stored plan that a person has agreed to, for which `fast` replaces `slow` everywhere."""
    write_task(world.folder / "testcases", task=task_value() | {"promotion": {"auto": []}})
    plan = world.plan()
    world.store(plan, "Ann")
    world.approve(plan.hash, "Ben")
    return plan


def make_fast_wrong(world: World) -> None:
    world.server.models["fast:1b"].answers = {}


def test_a_newer_benchmark_that_decides_otherwise_refuses_it_and_names_both(world: World) -> None:
    plan = approved(world)
    make_fast_wrong(world)
    newer = world.ranked("fast", "slow").benchmark.benchmark_id

    with pytest.raises(PlanRefused) as refused:
        apply_plan(world.bench, plan.hash, "Ann")

    assert refused.value.reason == "plan_outdated"
    assert plan.evidence[0].benchmark_id in str(refused.value)
    assert newer in str(refused.value)
    assert world.holds() == [SLOW] * 3


def test_a_newer_benchmark_that_agrees_changes_nothing_approvals_included(world: World) -> None:
    plan = approved(world)
    world.ranked("fast", "slow")

    assert apply_plan(world.bench, plan.hash, "Ann") is not None
    assert world.holds() == [FAST] * 3


@ONE_ENGINE
def test_a_newer_benchmark_that_is_not_fit_changes_nothing(world: World) -> None:
    plan = approved(world)
    world.run("fast", "slow", repeats=2)

    assert apply_plan(world.bench, plan.hash, "Ann") is not None


@ONE_ENGINE
def test_a_newer_benchmark_that_did_not_measure_the_planned_model_changes_nothing(world: World) -> None:
    plan = approved(world)
    world.ranked("slow")

    assert apply_plan(world.bench, plan.hash, "Ann") is not None
    assert world.holds() == [FAST] * 3


@ONE_ENGINE
def test_a_new_suite_refuses_an_approved_plan_which_rests_on_the_old_one(world: World) -> None:
    plan = approved(world)
    suite = suite_value() | {"version": "2.0.0"}
    write_task(world.folder / "testcases", suite, task_value() | {"promotion": {"auto": []}})

    with pytest.raises(PlanRefused, match="the suite of task grading is not the one that benchmark"):
        apply_plan(world.bench, plan.hash, "Ann")
    assert world.holds() == [SLOW] * 3
