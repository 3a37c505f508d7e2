"""Whether an incumbent that gives only unreadable answers now was right before under the same terms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.storage.tables import benchmark_runs
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.pipeline import Pipeline, checks_of
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import TEMPLATE, suite_value, task_value, write_task
from bench_pipeline_tests.kit.world import World

SLOW = "slow:7b"


def measured(world: World) -> str:
    return world.ranked("fast", "slow").benchmark.benchmark_id


def becomes(world: World, fault: Fault | None) -> None:
    """The incumbent fails so in its first case from now on; its first call is the warm-up."""
    model = world.server.models[SLOW]
    model.fault, model.fault_on_calls = fault, {model.calls + 2}


def measured_as(world: World, fault: Fault) -> str:
    becomes(world, fault)
    return measured(world)


def measured_as_wrong(world: World) -> None:
    model = world.server.models[SLOW]
    right, model.answers = model.answers, {}
    measured(world)
    model.answers = right


def decided(world: World) -> set[tuple[DecisionKind, str]]:
    """Benchmark once more, the incumbent unreadable in one case; return what is decided and which benchmark excuses."""
    becomes(world, Fault.LENGTH)
    made = world.decided()
    return {
        (one.decision.kind, one.input.incumbent.was_right) for one in made.decided if one.input.incumbent is not None
    }


def test_an_incumbent_that_was_right_and_is_only_unreadable_now_is_not_replaced(world: World) -> None:
    before = measured(world)
    assert decided(world) == {(DecisionKind.INCONCLUSIVE, before)}


@ONE_ENGINE
def test_an_incumbent_that_was_never_measured_before_is_replaced(world: World) -> None:
    assert decided(world) == {(DecisionKind.PROMOTE, "")}


def pulled_again(world: World) -> None:
    world.server.models[SLOW].digest = "sha256:new"
    world.configure()  # a new process, which asks the server anew


def on_an_updated_server(world: World) -> None:
    world.server.version = "0.34.0"
    world.configure()


def with_another_suite(world: World) -> None:
    suite = suite_value()
    suite["test_cases"][0]["summary"] += " and more"
    write_task(world.folder / "testcases", suite)


def with_another_prompt(world: World) -> None:
    prompt = task_value()["prompt"] | {"template": f"{TEMPLATE} Be brief."}
    write_task(world.folder / "testcases", task=task_value() | {"prompt": prompt})


def with_other_decoding(world: World) -> None:
    write_task(world.folder / "testcases", task=task_value() | {"decoding": {"num_ctx": 2048, "num_predict": 16}})


def with_another_contract(world: World) -> None:
    contract = {"reader": "pattern", "pattern": r"^\[(?P<verdict>PASS|FAIL)\].*"}
    write_task(world.folder / "testcases", task=task_value() | {"verdict": contract})


def with_another_reader(world: World) -> None:
    world.change(update(benchmark_runs).values(reader_version="before"))


@pytest.mark.parametrize(
    "changed",
    [
        pulled_again,
        on_an_updated_server,
        with_another_suite,
        with_another_prompt,
        with_other_decoding,
        with_another_contract,
        with_another_reader,
    ],
    ids=lambda change: change.__name__,
)
@ONE_ENGINE
def test_what_was_right_under_other_terms_excuses_nothing(world: World, changed: Callable[[World], None]) -> None:
    measured(world)
    changed(world)
    assert decided(world) == {(DecisionKind.PROMOTE, "")}


@pytest.mark.parametrize(
    "between", [Fault.LENGTH, Fault.SERVER_ERROR], ids=["it was unreadable then too", "it could not be measured then"]
)
@ONE_ENGINE
def test_a_benchmark_that_says_nothing_about_correctness_is_passed_over(world: World, between: Fault) -> None:
    right = measured(world)
    measured_as(world, between)
    assert decided(world) == {(DecisionKind.INCONCLUSIVE, right)}


@ONE_ENGINE
def test_a_wrong_verdict_since_then_ends_the_excuse(world: World) -> None:
    measured(world)
    measured_as_wrong(world)
    assert decided(world) == {(DecisionKind.PROMOTE, "")}


@ONE_ENGINE
def test_a_later_benchmark_excuses_nothing_in_an_earlier_one(world: World) -> None:
    becomes(world, Fault.LENGTH)
    unreadable = world.ranked("fast", "slow")
    measured(world)
    assert {row.decision for row in world.plan(unreadable).rows} == {DecisionKind.PROMOTE}


# Where people look


@ONE_ENGINE
def test_the_plan_says_what_happened_and_what_to_do(typed: Typed, world: World) -> None:
    right = measured(world)
    becomes(world, Fault.LENGTH)
    world.ranked("fast", "slow")
    for command in ("plan", "decide"):
        said = " ".join(typed(command, "--task", "grading").stdout.split())
        assert f"although it was right in all cases of benchmark {right} under the same terms" in said
        assert "check its runtime, then benchmark again" in said


@ONE_ENGINE
def test_in_dagster_a_check_warns_of_it_and_passes_otherwise(pipeline: Pipeline, world: World) -> None:
    stages = ["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"]
    assert checks_of(pipeline.run(assets=[*stages, "grading/promotion_plan"]))["incumbents_are_readable"]
    right = pipeline.metadata("grading/scoreboard")["benchmark_id"]

    becomes(world, Fault.LENGTH)
    run = pipeline.run(assets=[*stages, "grading/promotion_plan"])

    (check,) = [one for one in run.get_asset_check_evaluations() if one.check_name == "incumbents_are_readable"]
    assert (check.passed, check.severity.value) == (False, "WARN")
    assert str(check.description).startswith(f"conversation 3336, right in {right}: slow gave unreadable answers")
