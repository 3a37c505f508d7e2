"""Processes that are kept alive, tried with small real ones."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.ui import supervision
from bench_pipeline.ui.supervision import Service, Supervisor

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
FAILS = [sys.executable, "-c", "raise SystemExit(3)"]
DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True); time.sleep(600)"
# A parent whose child ignores Ctrl-C; the file tells the child's id once it does.
WITH_A_DEAF_CHILD = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE)
child.stdout.readline()
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def supervisor(told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervision, "_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(supervision, "_LOOK_S", 0.0)
    supervisor = Supervisor(os.environ, told.append)
    yield supervisor
    supervisor.stop()


def keep_alive_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        supervisor.keep_alive()


def pid_of(service: Service) -> int:
    assert service.process is not None
    return service.process.pid


def test_a_process_that_dies_is_told_and_started_again_and_the_others_are_not(
    supervisor: Supervisor, told: list[str]
) -> None:
    dies, lives = Service("daemon", SLEEPS), Service("web server", SLEEPS)
    supervisor.start(dies, lives)
    first, other = pid_of(dies), pid_of(lives)

    psutil.Process(first).kill()
    keep_alive_until(supervisor, lambda: dies.process is not None and dies.process.pid != first)

    assert told == ["the daemon ended with status -9; it is started again in 0 s"]
    assert pid_of(lives) == other


def test_a_process_that_lives_and_cannot_work_is_replaced(supervisor: Supervisor) -> None:
    broken = {0}
    service = Service("code server", SLEEPS, is_broken=lambda pid: pid in broken)
    supervisor.start(service)
    first = pid_of(service)

    broken.add(first)
    keep_alive_until(supervisor, lambda: service.process is not None and service.process.pid != first)

    assert not psutil.pid_exists(first)


def test_a_process_that_dies_again_and_again_is_given_up_loudly(supervisor: Supervisor, told: list[str]) -> None:
    supervisor.start(Service("daemon", FAILS))

    with pytest.raises(GateFailed, match="the daemon ended 4 times in a row, at last with status 3; its messages"):
        keep_alive_until(supervisor, lambda: False)
    assert len(told) == 3


def test_a_process_that_lived_long_in_between_is_not_given_up(
    supervisor: Supervisor, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_STABLE_S", -1.0)
    supervisor.start(Service("daemon", FAILS))

    keep_alive_until(supervisor, lambda: len(told) > 5)


def test_a_process_that_ends_before_everything_is_ready_is_named_at_once(supervisor: Supervisor) -> None:
    service = Service("web server", FAILS)
    supervisor.start(service)
    assert service.process is not None
    service.process.wait()

    with pytest.raises(GateFailed, match="the web server ended with status 3 before it was ready"):
        supervisor.check_first_start()


def test_the_end_leaves_no_process_not_even_a_deaf_child_of_one_that_died(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "GRACE_S", 0.5)
    note = tmp_path / "child"
    service = Service("code server", [sys.executable, "-c", WITH_A_DEAF_CHILD, str(note)])
    supervisor.start(service)
    keep_alive_until(supervisor, lambda: note.exists() and note.read_text() != "")
    child, first = psutil.Process(int(note.read_text())), pid_of(service)
    psutil.Process(first).kill()
    keep_alive_until(supervisor, lambda: service.process is not None and service.process.pid != first)
    second = pid_of(service)
    assert child.is_running(), "a run outlives its code server"

    supervisor.stop()

    assert not psutil.pid_exists(second)
    child.wait(10)


KILLED = f"""
import os, signal
from bench_pipeline.ui.supervision import Service, Supervisor
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a shell's background jobs, and what they start, may ignore it
supervisor = Supervisor(os.environ, print)
service = Service("daemon", {SLEEPS!r})
supervisor.start(service)
print(service.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_supervisor_that_is_killed_takes_its_processes_along() -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(killed.stdout)).wait(10)
