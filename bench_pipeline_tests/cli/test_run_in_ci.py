"""`bench run` in CI: compared with the champion, written as JUnit XML and as a comment, ended by its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from junitparser import Error, JUnitXml

from bench_pipeline.benchmark.baseline import baseline
from bench_pipeline.benchmark.events import Event, SampleTaken
from bench_pipeline.cli.live_tree import LiveTree
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import WRONG
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import SERVED
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE

CI = ("--repeats", "2", "--fail-on", "regression", "--junit", "out.xml", "--comment", "comment.md")


def run(typed: Typed, *options: str) -> tuple[int, str, str]:
    done = typed("run", "--task", "grading", "--models", "fast,slow", *options)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def _a_busy_machine_does_not_look_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MIN_GAIN", "0.9")


@pytest.fixture
def champion(typed: Typed, world: World) -> str:
    """A benchmark whose champion is `fast`; returns its id."""
    assert run(typed, "--repeats", "2")[0] == 0
    return str(world.rows("benchmark_runs", "benchmark_id")[0][0])


def test_a_change_that_makes_the_champion_wrong_fails_with_the_case_in_both_files(
    typed: Typed, world: World, champion: str
) -> None:
    world.server.models["fast:1b"].answers = {}  # what another prompt may do

    status, out, _ = run(typed, *CI)

    assert status == 1
    assert (
        f"🔁 Compared with {champion}:\n   ❌ fast: it qualified and does not any more: 2 of 4 cases correct\n" in out
    )
    assert "**got wrong**: `FAIL_002`: expected `FAIL`, said `PASS`" in Path("comment.md").read_text(encoding="utf-8")
    document = JUnitXml.fromfile("out.xml")
    assert {suite.name: suite.failures for suite in document} == {
        "grading: slow": 0, "grading: fast": 2, f"grading: compared with {champion}": 1,
    }  # fmt: skip


def test_the_same_answers_are_no_regression(typed: Typed, champion: str) -> None:
    status, out, _ = run(typed, *CI, "--json")

    assert status == 0
    compared = json.loads(out)["compared"]
    assert (compared["benchmark_id"], compared["champion"], compared["regressions"]) == (champion, "fast", [])
    assert {one["model"]: one["cases"] for one in compared["models"]} == {"fast": [], "slow": []}


def test_an_earlier_benchmark_can_be_named(typed: Typed, world: World, champion: str) -> None:
    world.server.models["fast:1b"].answers = {}
    assert run(typed)[0] == 0

    assert run(typed, "--against", champion, "--fail-on", "regression")[0] == 1
    assert run(typed, "--fail-on", "regression")[0] == 0  # slow is the champion by now, and was right both times


def test_an_unknown_benchmark_is_refused_before_a_call_is_made_and_the_files_say_so(typed: Typed, world: World) -> None:
    status, _, err = run(typed, *CI, "--against", "grading-unknown")

    assert (status, world.calls()) == (2, [])
    assert "there is no benchmark 'grading-unknown'" in err
    (suite,) = JUnitXml.fromfile("out.xml")
    assert "there is no benchmark" in next(iter(suite)).result[0].message
    assert "the benchmark did not end" in Path("comment.md").read_text(encoding="utf-8")


def test_without_a_champion_there_is_nothing_to_compare_with(typed: Typed) -> None:
    status, _, err = run(typed, "--comment", "comment.md")

    assert status == 2
    assert "grading has no champion in this database; measure what the change is compared with first" in err


def test_a_run_that_is_interrupted_leaves_the_calls_that_it_made(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: LiveTree, event: Event) -> None:
        if isinstance(event, SampleTaken) and event.sample.case_id == "PASS_002":
            raise KeyboardInterrupt

    monkeypatch.setattr(LiveTree, "__call__", stop)

    status, _, _ = run(typed, "--junit", "out.xml")

    ended, made = JUnitXml.fromfile("out.xml")
    assert status == 130
    assert [(type(one), one.message) for test in ended for one in test.result] == [(Error, "interrupted")]
    assert [test.name for test in made] == ["PASS_001", "PASS_002"]


@pytest.mark.parametrize(
    ("fail_on", "models", "status"),
    [
        ("no-champion", "fast,wrong", 0),
        ("no-champion", "wrong", 1),
        ("not-qualified", "fast,wrong", 1),
        ("not-qualified", "fast", 0),
        ("none", "wrong", 0),
    ],
)
def test_the_exit_status_is_what_fail_on_says(
    typed: Typed, world: World, fail_on: str, models: str, status: int
) -> None:
    for conversation in SERVED:
        world.give(conversation, WRONG if models == "wrong" else None)

    assert typed("run", "--task", "grading", "--models", models, "--fail-on", fail_on).returncode == status


def test_the_champion_is_the_one_of_the_registry_with_the_benchmark_that_it_rests_on(world: World) -> None:
    world.promoted()
    world.ranked("slow")  # a later benchmark, of which `slow` is the champion

    found = baseline(world.bench, "grading", "champion")

    assert found.champion == "fast"
    assert {found.ranked.benchmark.benchmark_id} == {row.benchmark_id for row in world.registry().values()}
