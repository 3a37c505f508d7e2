"""Ghost runs: a dead process's run is ended, and no other run is ever touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import create_run_for_test

from bench_pipeline.automation.ghost_runs import ghost_run_sensor
from bench_pipeline.demo.home import dagster_home, open_instance
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.operation import ghost_runs
from bench_pipeline.operation.ghost_runs import PROCESS_TAG, end_run, heal, mark
from bench_pipeline.operation.pools import ACCELERATOR_POOL
from bench_pipeline.storage.locks import this_process
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed

ROOT = Path(__file__).parent.parent.parent
STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
CANCELING, CANCELED = dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """The instance of a fresh home, with the configuration that is shipped."""
    home = tmp_path_factory.mktemp("home")
    shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")
    with open_instance(home) as opened:
        yield opened


@pytest.fixture(scope="module")
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def a_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STARTED, **changed: object) -> dg.DagsterRun:
    """A run of this process, or of one that differs from it in these facts."""
    run = create_run_for_test(instance, job_name="benchmark_grading", status=status)
    mark(instance, run)
    if changed:
        value = json.loads(tags_of(instance, run)[PROCESS_TAG])
        for name, fact in changed.items():
            (value["holder"] if name in value["holder"] else value)[name] = fact
        instance.add_run_tags(run.run_id, {PROCESS_TAG: json.dumps(value)})
    return run


def tags_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Mapping[str, str]:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.tags


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize(
    "changed",
    [
        {"pid": "dead"},
        {"process_started": 1.0},  # another process has its pid now
        {"boot": "another", "pid_namespace": "of a container before the restart"},
    ],
    ids=["dead", "pid taken again", "machine restarted"],
)
@pytest.mark.parametrize(("status", "becomes"), [(STARTED, FAILURE), (CANCELING, CANCELED)])
def test_a_run_whose_process_is_dead_is_ended(
    instance: dg.DagsterInstance,
    dead_pid: int,
    changed: dict[str, object],
    status: dg.DagsterRunStatus,
    becomes: dg.DagsterRunStatus,
) -> None:
    run = a_run(instance, status, **{name: dead_pid if value == "dead" else value for name, value in changed.items()})

    found = heal(instance)

    assert run.run_id in [ghost.run_id for ghost in found.ended]
    assert status_of(instance, run) is becomes
    assert run.run_id not in str(heal(instance).ended), "ended twice"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"host": "elsewhere", "pid": "dead"}, "on elsewhere cannot be seen from here"),
        ({"host": "elsewhere", "boot": "another"}, "on elsewhere cannot be seen from here"),
        ({"pid_namespace": "of another container", "pid": "dead"}, "cannot be seen from here"),
        ({"boot": "", "pid_namespace": "of another container"}, "cannot be seen from here"),
        ({"run_id": "the one that it repeats", "pid": "dead"}, "does not say which process executes it"),
        ({"pid": "many"}, "does not say which process executes it"),
        ({"pid": -1}, "does not say which process executes it"),
    ],
    ids=["other host", "other host restarted", "other container", "no boot id", "tag of the parent", "odd", "negative"],
)
def test_a_run_that_cannot_be_judged_from_here_is_named_and_left(
    instance: dg.DagsterInstance, dead_pid: int, changed: dict[str, object], why: str
) -> None:
    run = a_run(instance, **{name: dead_pid if value == "dead" else value for name, value in changed.items()})

    found = heal(instance)

    assert {ghost.run_id: ghost.why for ghost in found.unknown}[run.run_id].endswith(why)
    assert status_of(instance, run) is STARTED
    end_run(instance, run.run_id)
    assert status_of(instance, run) is FAILURE, "a person may say that it is dead"


def test_a_run_that_lives_is_left_even_when_a_person_says_otherwise(instance: dg.DagsterInstance) -> None:
    run = a_run(instance)

    found = heal(instance)

    assert run.run_id not in str(found)
    with pytest.raises(GateFailed, match="executes it; terminate the run in the UI instead"):
        end_run(instance, run.run_id)
    assert status_of(instance, run) is STARTED
    instance.report_run_failed(run)


def test_a_process_that_the_system_hides_is_not_taken_for_dead(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ProtectProc=invisible of a hardened unit hides the processes of other users."""
    run = a_run(instance)
    with monkeypatch.context() as hidden:
        hidden.setattr(psutil, "Process", raise_no_such_process)
        assert heal(instance).ended == []
    assert status_of(instance, run) is STARTED
    instance.report_run_failed(run)


def raise_no_such_process(pid: int) -> None:
    raise psutil.NoSuchProcess(pid)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.SUCCESS])
def test_a_run_that_has_not_begun_or_is_over_is_left(
    instance: dg.DagsterInstance, dead_pid: int, status: dg.DagsterRunStatus
) -> None:
    run = a_run(instance, status, pid=dead_pid)

    assert run.run_id not in str(heal(instance))
    assert status_of(instance, run) is status


def test_a_run_that_ended_while_it_was_judged_keeps_its_end(
    instance: dg.DagsterInstance, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(instance, pid=dead_pid)

    def last_act(_: object) -> str:
        instance.report_run_canceled(run)
        return "ended"

    monkeypatch.setattr(ghost_runs._Process, "death", property(last_act))

    assert heal(instance).ended == []
    assert status_of(instance, run) is CANCELED


def test_the_pool_of_a_fresh_instance_admits_one_run_and_a_ghosts_slot_is_freed(
    instance: dg.DagsterInstance, dead_pid: int
) -> None:
    storage = instance.event_log_storage
    run = a_run(instance, pid=dead_pid)
    assert storage.claim_concurrency_slot(ACCELERATOR_POOL, run.run_id, "grading__model_runs").is_claimed
    assert not storage.claim_concurrency_slot(ACCELERATOR_POOL, "next", "grading__model_runs").is_claimed

    heal(instance)

    next_run = a_run(instance)
    assert storage.claim_concurrency_slot(ACCELERATOR_POOL, next_run.run_id, "grading__model_runs").is_claimed
    assert heal(instance).freed == [], "a run that lives keeps its slot"
    instance.report_run_failed(next_run)
    storage.claim_concurrency_slot(ACCELERATOR_POOL, next_run.run_id, "grading__model_runs")
    assert heal(instance).freed == [next_run.run_id], "a run that is over does not"


def test_a_limit_that_a_person_set_is_kept(tmp_path: Path) -> None:
    with open_instance(tmp_path) as first:
        first.event_log_storage.set_concurrency_slots(ACCELERATOR_POOL, 2)
    with open_instance(tmp_path) as again:
        assert {pool.name: pool.limit for pool in again.event_log_storage.get_pool_limits()} == {ACCELERATOR_POOL: 2}


@pytest.mark.parametrize(("run_id", "why"), [("nonsense", "is not a run of this instance"), (None, "is over")])
def test_only_a_run_in_progress_is_ended_by_hand(instance: dg.DagsterInstance, run_id: str | None, why: str) -> None:
    over = a_run(instance, dg.DagsterRunStatus.SUCCESS)
    with pytest.raises(InputError, match=why):
        end_run(instance, run_id or over.run_id)


def test_the_sensor_ends_ghosts_names_them_and_starts_nothing(instance: dg.DagsterInstance, dead_pid: int) -> None:
    assert ghost_run_sensor.default_status is dg.DefaultSensorStatus.RUNNING
    run = a_run(instance, pid=dead_pid)

    said = [ghost_run_sensor(dg.build_sensor_context(instance=instance)) for _ in range(2)]

    texts = [one.skip_message for one in said if isinstance(one, dg.SkipReason)]
    assert f"ended {run.run_id} (benchmark_grading): process {dead_pid} on {this_process().host} ended" in texts[0]
    assert run.run_id not in texts[1]


@ONE_ENGINE
def test_heal_on_the_command_line_says_what_it_did(
    typed: Typed, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(dagster_home()) as instance:
        dead, elsewhere = a_run(instance, pid=dead_pid), a_run(instance, host="gpu-2")

    first = typed("heal", "--json")
    by_hand = typed("heal", "--run", elsewhere.run_id)
    last = typed("heal")

    found = json.loads(first.stdout)
    assert first.returncode == 1
    assert [ghost["run_id"] for ghost in found["ended"]] == [dead.run_id]
    assert [ghost["run_id"] for ghost in found["unknown"]] == [elsewhere.run_id]
    assert (by_hand.returncode, by_hand.stdout) == (
        0,
        f"✅ ended {elsewhere.run_id} (benchmark_grading): a person said that its process is dead\n",
    )
    assert (last.returncode, last.stdout) == (0, "✅ every run in progress has its process\n")


def test_a_run_writes_down_its_process(instance: dg.DagsterInstance) -> None:
    run = a_run(instance)
    written = json.loads(tags_of(instance, run)[PROCESS_TAG])
    assert written == {"run_id": run.run_id, "boot": written["boot"], "holder": asdict(this_process())}
    instance.report_run_failed(run)
