"""The benchmark that decides about production when none is named, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import delete, update

from bench_pipeline.benchmark.fitness import fit_benchmark, newer_fit_benchmark
from bench_pipeline.benchmark.measurement import MeasurementRequest, measure
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.storage.tables import benchmark_history, benchmark_runs
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.tasks import GRADE_A, suite_value, task_value, write_task
from bench_pipeline_tests.kit.world import World


def ranked_id(world: World, *names: str, **protocol: object) -> str:
    return world.ranked(*(names or ("fast", "slow")), **protocol).benchmark.benchmark_id


def another_suite(world: World) -> str:
    suite = suite_value()
    file = world.folder / "other.json"
    file.write_text(json.dumps(suite | {"test_cases": suite["test_cases"][1:]}), encoding="utf-8")
    request = MeasurementRequest("grading", ["fast"], suite_file=file)
    return measure(world.bench, request, world.events.append).benchmark.benchmark_id


def another_protocol(world: World) -> str:
    return ranked_id(world, repeats=2)


def another_reader(world: World) -> str:
    write_task(world.folder / "testcases", task=task_value() | {"verdict": {"reader": "final_line"}})
    benchmark_id = ranked_id(world)
    write_task(world.folder / "testcases")
    return benchmark_id


def no_incumbent(world: World) -> str:
    return ranked_id(world, "fast")


def a_broken_incumbent(world: World) -> str:
    world.server.models["slow:7b"].fault = Fault.SERVER_ERROR
    return ranked_id(world)


def an_invalid_run(world: World) -> str:
    benchmark_id = ranked_id(world)
    mine = benchmark_runs.c.benchmark_id == benchmark_id
    world.change(update(benchmark_runs).where(mine).values(invalid="the machine drifted"))
    return benchmark_id


def an_unranked_run(world: World) -> str:
    benchmark_id = ranked_id(world)
    world.change(delete(benchmark_history).where(benchmark_history.c.benchmark_run_id == benchmark_id))
    return benchmark_id


UNFIT = {
    another_suite: "its suite is not the task's own of now",
    another_reader: "its verdicts were not read as task.yaml says now",
    another_protocol: "its protocol is not the task's own: repeats 2 instead of 1",
    no_incumbent: "the incumbent slow was not measured: it was not part of this benchmark",
    a_broken_incumbent: "the incumbent slow could not be measured to the end: server_error",
    an_invalid_run: "it is invalid: the machine drifted",
    an_unranked_run: "it was not ranked",
}


@pytest.mark.parametrize(("unfit", "why"), UNFIT.items(), ids=[one.__name__ for one in UNFIT])
def test_a_benchmark_that_is_not_fit_is_passed_over_and_says_why(
    world: World, unfit: Callable[[World], str], why: str
) -> None:
    fit = ranked_id(world)
    passed_over = unfit(world)

    found = fit_benchmark(world.bench, "grading")

    assert found.ranked.benchmark.benchmark_id == fit
    assert [(one.benchmark_id, one.reason.startswith(why)) for one in found.passed_over] == [(passed_over, True)]
    assert newer_fit_benchmark(world.bench, "grading", fit) is None


@ONE_ENGINE
def test_the_latest_of_several_fit_benchmarks_decides(world: World) -> None:
    first, second = ranked_id(world), ranked_id(world)

    newer = newer_fit_benchmark(world.bench, "grading", first)

    assert fit_benchmark(world.bench, "grading").ranked.benchmark.benchmark_id == second
    assert newer is not None
    assert newer.benchmark.benchmark_id == second
    assert newer_fit_benchmark(world.bench, "grading", second) is None


@ONE_ENGINE
def test_a_new_incumbent_of_production_makes_a_benchmark_without_it_unfit(world: World) -> None:
    ranked_id(world)
    world.give(GRADE_A, 3)

    with pytest.raises(GateFailed, match="the incumbent wrong was not measured"):
        fit_benchmark(world.bench, "grading")


@ONE_ENGINE
def test_a_new_prompt_of_production_makes_every_benchmark_unfit(world: World) -> None:
    ranked_id(world)
    world.set_template(GRADE_A, "Judge {summary} by {posting}.")

    with pytest.raises(GateFailed, match="its prompt is not the present one"):
        fit_benchmark(world.bench, "grading")


@ONE_ENGINE
def test_an_incumbent_that_was_disabled_is_not_waited_for(world: World) -> None:
    world.set_actor(SLOW, enabled=False)
    benchmark_id = ranked_id(world, "fast", "slow")

    assert fit_benchmark(world.bench, "grading").ranked.benchmark.benchmark_id == benchmark_id


@ONE_ENGINE
def test_a_task_without_any_benchmark_says_how_to_make_one(world: World) -> None:
    with pytest.raises(InputError, match="grading was never benchmarked here; run `bench run --task grading` first"):
        fit_benchmark(world.bench, "grading")


@ONE_ENGINE
def test_when_no_benchmark_is_fit_the_newest_are_named_with_their_reasons(world: World) -> None:
    for _ in range(4):
        no_incumbent(world)

    with pytest.raises(GateFailed) as refused:
        fit_benchmark(world.bench, "grading")

    assert str(refused.value).startswith("no benchmark of grading is fit for production: grading-")
    assert "; and 1 more; run `bench run --task grading`, or name one with --benchmark" in str(refused.value)
    assert FAST not in world.holds()
