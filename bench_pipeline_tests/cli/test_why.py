"""`bench why`: why not model M, in one command."""

from __future__ import annotations

import json

import pytest

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.text import today
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


@pytest.mark.parametrize(
    ("model", "code", "reason"),
    [
        ("fast", "champion", "the fastest of 2 that qualified, mean 5 ms"),
        ("slow", "runner_up", "400 times the mean latency of fast"),
        ("slow:7b", "runner_up", "400 times the mean latency of fast"),
        ("wrong", "wrong", "1 of 4 cases wrong; FAIL_002: said PASS, gold is FAIL"),
        ("silent", "invalid", "4 of 4 cases without a readable verdict; first PASS_001: "),
        ("broken", "inconclusive", ""),
        ("ticket.py", "type", "its actor_type is 'script', not 'ai_model'"),
    ],
)
def test_why_tells_what_became_of_each_model(typed: Typed, world: World, model: str, code: str, reason: str) -> None:
    benchmark_id = world.ranked().benchmark.benchmark_id
    done = typed("why", model)
    header, _, line = done.stdout.splitlines()
    assert done.returncode == 0
    assert header.split() == ["date", "(UTC)", "task", "benchmark", "model", "code", "reason"]
    assert line.startswith(today())
    assert line.split()[2:4] == ["grading", benchmark_id]
    assert line.split()[5] == code
    assert reason in line


def test_why_has_a_line_for_every_benchmark_newest_first(typed: Typed, world: World) -> None:
    first, second = (world.ranked(*names).benchmark.benchmark_id for names in (["fast", "slow"], ["slow"]))
    value = json.loads(typed("why", "fast", "--task", "grading", "--json").stdout)
    assert [(entry["benchmark_id"], entry["model"], entry["code"]) for entry in value] == [
        (second, None, "not_measured"),
        (first, "fast", "champion"),
    ]


@pytest.mark.parametrize("options", [(), ("--task", "grading")])
def test_why_says_no_of_a_model_that_nobody_looked_at(typed: Typed, world: World, options: tuple[str, ...]) -> None:
    world.ranked("fast")
    done = typed("why", "nobody", *options)
    assert done.returncode == 1
    of = " of grading" if options else ""
    assert done.stdout == f"no benchmark{of} considered nobody; `bench models` lists the actors\n"


def test_a_misspelt_task_is_bad_input(typed: Typed, world: World) -> None:
    assert typed("why", "fast", "--task", "grding").returncode == 2
