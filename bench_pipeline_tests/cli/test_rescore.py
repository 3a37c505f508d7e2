"""`bench rescore`: what it shows, what it stores when asked to, and its exit status."""

from __future__ import annotations

import json

import pytest

from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import task_value, write_task
from bench_pipeline_tests.kit.text import is_calm, only
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


@pytest.fixture
def benchmark_id(world: World) -> str:
    """A benchmark whose replies begin with a tag, of a task that now asks for it in the last line."""
    found = world.ranked("fast", "silent").benchmark.benchmark_id
    write_task(world.folder / "testcases", task=task_value() | {"verdict": {"reader": "final_line"}})
    return found


def test_without_a_change_it_says_so(typed: Typed, world: World) -> None:
    found = world.ranked("fast", "silent").benchmark.benchmark_id
    done = typed("rescore", "--task", "grading")
    assert done.returncode == 0
    readers = f"reader leading_tag, version {READER_VERSION} → {READER_VERSION}"
    assert done.stdout == f"{found}: 0 of 8 samples are judged differently ({readers})\n"


def test_it_shows_every_sample_that_would_change_and_stores_nothing(
    typed: Typed, world: World, benchmark_id: str
) -> None:
    done = typed("rescore", "--task", "grading")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["fast", case, "1"] for case in ("PASS_001", "PASS_002", "FAIL_001", "FAIL_002")
    ]
    assert "correct PASS → invalid  the last line is not just PASS or FAIL" in lines[2]
    assert f"{benchmark_id}: 4 of 8 samples are judged differently (reader final_line" in done.stdout
    assert lines[-1] == "`bench rescore --task grading --save` stores this as a new benchmark"
    assert len(world.rows("benchmark_runs", "benchmark_id")) == 1


def test_save_stores_and_ranks_it_as_a_new_benchmark(typed: Typed, world: World, benchmark_id: str) -> None:
    done = typed("rescore", "--task", "grading", "--save")
    assert done.returncode == 0
    stored = {found for (found,) in world.rows("benchmark_runs", "benchmark_id")}
    assert f"stored as {only(sorted(stored - {benchmark_id}))}\n" in done.stdout
    assert "none: no model was correct in every case" in done.stdout
    assert is_calm(done.stdout)


def test_save_stores_nothing_when_nothing_is_new(typed: Typed, world: World) -> None:
    world.ranked("fast")
    done = typed("rescore", "--task", "grading", "--save")
    assert done.returncode == 0
    assert done.stdout.endswith("nothing was stored: reader and verdicts are the same as before\n")
    assert len(world.rows("benchmark_runs", "benchmark_id")) == 1


def test_as_json_it_gives_the_changes_and_the_new_benchmark(typed: Typed, benchmark_id: str) -> None:
    done = typed("rescore", "--task", "grading", "--benchmark", benchmark_id, "--save", "--json")
    facts = json.loads(done.stdout)
    assert (facts["benchmark_id"], facts["reader"], facts["samples"]) == (benchmark_id, "final_line", 8)
    assert facts["changes"][0] == {
        "model": "fast",
        "case_id": "PASS_001",
        "repeat": 1,
        "before": "correct",
        "after": "invalid",
        "verdict": None,
        "reason": "the last line is not just PASS or FAIL",
    }
    assert facts["saved"].startswith("grading-")


def test_a_benchmark_that_is_not_there_is_bad_input(typed: Typed) -> None:
    done = typed("rescore", "--task", "grading", "--benchmark", "absent")
    assert done.returncode == 2
    assert "there is no benchmark 'absent'" in done.stderr
