"""Every command of the runbook's code blocks, typed literally in the trouble that it heals.

Only what stands for something else is replaced: a plan's hash, a benchmark, a run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from bench_pipeline.demo.home import dagster_home, open_instance
from bench_pipeline.operation.ghost_runs import PROCESS_TAG, mark
from bench_pipeline.operation.pools import ACCELERATOR_POOL
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A
from bench_pipeline_tests.kit.world import World

ROOT = Path(__file__).parent.parent
RUNBOOK = (ROOT / "docs" / "how-to" / "runbook.md").read_text(encoding="utf-8")
PLAN, BENCHMARK, RUN = "57b9a46af00c", "grading-20261124T181355Z-b221", "7350f426-8555-4e6d-a541-cfae523139e0"

TYPED_ELSEWHERE = {
    "bench doctor": "cli/test_doctor.py",
    "bench ui": "test_ui.py",
    "bench db install": "storage/broken/test_rehearsal.py",
    "bench db uninstall": "storage/test_uninstallation.py",
    "bench db prune --keep 24m --dry-run": "cli/test_prune.py",
    "bench db prune --keep 24m": "cli/test_prune.py",
}
"""They remove or install something, or serve until they are stopped."""

Status = int
Line = Callable[[str], Status]


def commands() -> list[str]:
    """The lines of the code blocks that are commands, in order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", RUNBOOK, re.MULTILINE | re.DOTALL)
    return [line for language, block in blocks if not language for line in block.splitlines()]


@pytest.fixture
def line(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Type a line of the runbook, which must be there, with what its placeholders stand for; return its exit status."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def type_line(text: str, **meant: str) -> Status:
        assert text in commands(), "the runbook says something else"
        for placeholder, value in meant.items():
            text = text.replace({"plan": PLAN, "benchmark": BENCHMARK, "run": RUN}[placeholder], value)
        words = shlex.split(text)
        if words[0] == "bench":
            return typed(*words[1:]).returncode
        scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"DAGSTER_HOME": str(dagster_home()), "PATH": scripts}
        return subprocess.run(["sh", "-c", text], cwd=ROOT, env=environment, check=False).returncode

    return type_line


@pytest.fixture
def instance(line: Line) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of the folder."""
    with open_instance(dagster_home()) as opened:
        yield opened


def test_every_command_of_the_runbook_is_typed_by_a_test() -> None:
    tested = set(re.findall(r'line\(\s*"([^"]+)"', Path(__file__).read_text(encoding="utf-8")))
    assert set(commands()) == tested | TYPED_ELSEWHERE.keys()
    for text, file in TYPED_ELSEWHERE.items():
        words = [repr(word).replace("'", '"') for word in text.split()[1:3]]
        assert words[0] in (ROOT / "bench_pipeline_tests" / file).read_text(encoding="utf-8")


@ONE_ENGINE
def test_a_plan_that_was_refused_is_made_again_without_measuring(line: Line, world: World) -> None:
    world.ranked("fast", "slow")
    stale = world.plan()
    world.give(GRADE_A, None)
    world.store(stale)

    assert line("bench plan --task grading") == 0
    assert line("bench promote --task grading") == 0

    assert FAST in world.holds()


@ONE_ENGINE
def test_a_benchmark_is_used_on_purpose(line: Line, world: World) -> None:
    older = world.ranked("fast", "slow").benchmark.benchmark_id
    world.ranked("fast", "slow")

    assert line("bench plan --task grading --benchmark grading-20261124T181355Z-b221", benchmark=older) == 0


@ONE_ENGINE
def test_a_plan_that_waits_is_approved_and_applied(
    line: Line, typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_APPROVAL", "required")
    world.ranked("fast", "slow")
    assert typed("promote", "--task", "grading").returncode == 1
    (found,) = world.rows("benchmark_plans", "plan_hash")
    waiting = str(found[0])[:12]

    assert line("bench log --plans") == 0
    assert line("bench approve 57b9a46af00c", plan=waiting) == 0
    assert line("bench promote --plan 57b9a46af00c", plan=waiting) == 0

    assert world.holds() == [FAST] * 3


@ONE_ENGINE
def test_what_an_interrupted_run_left_open_is_completed(line: Line, typed: Typed, world: World) -> None:
    world.promoted()

    assert line("bench reconcile") == 1, "its validation is still open"

    assert (world.folder / "production" / "champions.json").is_file()
    typed("validate", "--task", "grading")
    assert line("bench reconcile") == 0


@ONE_ENGINE
def test_a_promotion_is_undone(line: Line, world: World) -> None:
    world.promoted()

    assert line("bench rollback --task grading") == 0

    assert world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_a_champion_that_fails_gives_way_to_the_runner_up(line: Line, typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    typed("promote", "--task", "grading")

    assert line("bench failover 3336") == 0

    assert world.holds() == [SLOW, FAST, FAST]


@ONE_ENGINE
def test_a_run_that_does_not_end_is_ended_and_one_elsewhere_by_its_name(
    line: Line, instance: dg.DagsterInstance
) -> None:
    ghost, elsewhere = (started(instance, host) for host in (None, "gpu-2"))

    assert line("bench heal") == 1, "the other one is named"
    assert line("bench heal --run 7350f426-8555-4e6d-a541-cfae523139e0", run=elsewhere) == 0
    assert line("bench heal") == 0

    ended = [instance.get_run_by_id(run) for run in (ghost, elsewhere)]
    assert [run.status for run in ended if run] == [dg.DagsterRunStatus.FAILURE] * 2


@ONE_ENGINE
def test_a_run_that_stays_queued_gets_its_slot(line: Line, instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    storage.claim_concurrency_slot(ACCELERATOR_POOL, "deleted", "grading__model_runs")

    assert line("bench heal") == 0

    assert storage.claim_concurrency_slot(ACCELERATOR_POOL, "next", "grading__model_runs").is_claimed
    storage.set_concurrency_slots(ACCELERATOR_POOL, 0)
    assert line("dagster instance concurrency set accelerator 1") == 0
    assert storage.get_concurrency_info(ACCELERATOR_POOL).slot_count == 1


@ONE_ENGINE
def test_the_sensors_that_start_runs_are_switched_on(line: Line, instance: dg.DagsterInstance) -> None:
    assert line("BENCH_AUTOMATION=off dagster sensor start triggers --workspace workspace.yaml") == 0
    assert line("BENCH_AUTOMATION=off dagster sensor start deliveries --workspace workspace.yaml") == 0

    on = {state.instigator_name for state in instance.all_instigator_state() if state.is_running}
    assert on == {"triggers", "deliveries"}


def started(instance: dg.DagsterInstance, host: str | None) -> str:
    """A run in progress whose process is dead: that of a child that has ended, or one on another host."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run = create_run_for_test(instance, job_name="benchmark_grading", status=dg.DagsterRunStatus.STARTED)
    mark(instance, run)
    marked = instance.get_run_by_id(run.run_id)
    assert marked is not None
    tag = marked.tags[PROCESS_TAG].replace(f'"pid":{os.getpid()}', f'"pid":{dead.pid}')
    if host is not None:
        tag = re.sub(r'"host":"[^"]*"', f'"host":"{host}"', tag)
    instance.add_run_tags(run.run_id, {PROCESS_TAG: tag})
    return run.run_id
