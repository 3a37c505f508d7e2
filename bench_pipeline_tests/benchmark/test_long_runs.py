"""A run of hours: connections end under it, its lock may be lost, another benchmark may be running."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import delete, func, insert, text, update

from bench_pipeline.benchmark.events import BenchmarkStarted, Event, ModelLoaded
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.runner import run_benchmark
from bench_pipeline.storage import locks
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.locks import BENCHMARK
from bench_pipeline.storage.tables import locks as table
from bench_pipeline_tests.fakes.transaction_pooler import transaction_pooler
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import fake_models
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import CASES
from bench_pipeline_tests.kit.world import World

pytestmark = ONLY_POSTGRESQL
RUN = ("run", "--task", "grading", "--models", "fast")


def during_call(world: World, number: int | None, happen: Callable[[], object], name: str = "fast:1b") -> None:
    """Let something happen while the server answers this call of a model, or every one; the warm-up is call 1."""
    model = world.server.models[name]
    reply = fake_models()[name].reply_to
    model.calls = 0

    def answer(prompt: str) -> str:
        if number in (None, model.calls):
            happen()
        return reply(prompt)

    model.answers = answer


def calls_of_fast(world: World) -> Counter[str]:
    return Counter(case for model, case in world.calls() if model == "fast:1b")


# Connections that end


def test_a_run_outlives_every_connection_that_the_server_ends_in_a_call(world: World, typed: Typed) -> None:
    """As by `idle_session_timeout`, a failover or an operator. No transaction is open, so no other limit strikes."""
    states: list[str] = []

    def end_all_sessions() -> None:
        ours = "FROM pg_stat_activity WHERE usename = 'bench_recorder' AND datname = current_database()"
        with world.owner.engine.begin() as connection:
            states.extend(connection.scalars(text(f"SELECT state {ours}")))
            connection.execute(text(f"SELECT pg_terminate_backend(pid, 10000) {ours} AND pid <> pg_backend_pid()"))

    during_call(world, None, end_all_sessions)
    done = typed(*RUN)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(states) == {"idle"}
    assert typed("plan", "--task", "grading").returncode in (0, 1)


def test_a_run_works_behind_a_pooler_that_gives_each_transaction_another_session(world: World, typed: Typed) -> None:
    with transaction_pooler(world.url) as pooled, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATABASE_URL", pooled)
        done = typed(*RUN)
    assert (done.returncode, done.stderr) == (0, "")
    assert world.rows("benchmark_locks", "purpose") == []


# A lost lock


def delete_its_row(world: World) -> None:
    world.change(delete(table))


def let_another_take_it(world: World) -> None:
    world.change(update(table).values({"token": "another", "host": "elsewhere", "benchmark_id": None}))


@pytest.mark.parametrize("lose", [delete_its_row, let_another_take_it])
def test_a_run_whose_lock_is_lost_ends_before_its_next_call_and_goes_on_later(
    world: World, typed: Typed, lose: Callable[[World], None]
) -> None:
    during_call(world, 3, lambda: lose(world))
    done = typed(*RUN)
    assert (done.returncode, done.stderr.count("\n")) == (130, 1)
    assert done.stderr.startswith("bench: the benchmark lock was lost: ")
    assert done.stderr.endswith("what was measured is stored, run the same command again to continue\n")
    assert calls_of_fast(world) == Counter(list(CASES)[:2])
    delete_its_row(world)
    world.server.models["fast:1b"].answers = fake_models()["fast:1b"].answers
    assert typed(*RUN).returncode == 0
    assert calls_of_fast(world) == Counter(list(CASES))
    assert sorted(world.rows("benchmark_history", "model_name", "rank")) == [("fast", 1), ("slow", 2)]


def test_a_call_in_flight_is_left_to_the_process_that_continues_its_benchmark(world: World, typed: Typed) -> None:
    """As when the database was away for longer than the lease, while the call took."""
    during_call(world, 3, lambda: world.change(update(table).values({"token": "another"})))
    done = typed(*RUN)
    assert (done.returncode, done.stderr.count("\n")) == (130, 1)
    assert "another process continues grading-" in done.stderr
    assert world.rows("benchmark_samples", "case_id") == [(next(iter(CASES)),)]


def test_a_run_whose_calls_are_complete_is_ranked_even_if_its_lock_is_lost_in_the_last_one(
    world: World, typed: Typed
) -> None:
    during_call(world, 1 + len(CASES), lambda: let_another_take_it(world), "slow:7b")  # the incumbent comes last
    assert typed(*RUN).returncode == 0
    assert sorted(world.rows("benchmark_history", "model_name", "rank")) == [("fast", 1), ("slow", 2)]
    assert set(world.rows("benchmark_locks", "host")) == {("elsewhere",)}


# Another benchmark


def test_two_hosts_measure_at_once_and_neither_takes_the_others_benchmark(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_database(world.url)
    started: list[BenchmarkStarted] = []

    def note(event: Event) -> None:
        if isinstance(event, BenchmarkStarted):
            started.append(event)

    def run_elsewhere(event: Event) -> None:
        note(event)
        if isinstance(event, ModelLoaded):
            with monkeypatch.context() as patch:
                patch.setattr(locks, "gethostname", lambda: "elsewhere")
                bench = replace(world.bench, database=other)
                run_benchmark(bench, world.prepared(), Field(tuple(world.candidates("fast"))), note)

    world.run("fast", on_event=run_elsewhere)
    other.close()
    assert [one.resumed for one in started] == [False, False]
    assert Counter(world.rows("benchmark_runs", "status")) == {("finished",): 2}
    assert calls_of_fast(world) == Counter([*CASES, *CASES])


def hold_the_lock(world: World) -> None:
    """As a benchmark of this host in a container, whose process cannot be seen."""
    now = func.clock_timestamp()
    row = {"purpose": BENCHMARK.keys[0], "token": "another", "host": "gpu-7", "pid": 4711, "process_started": 0.0}
    row |= {"pid_namespace": "", "taken_at": now, "renewed_at": now, "lease_s": locks.LEASE_S}
    world.change(insert(table).values(row))


@pytest.fixture
def freed_while_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Another benchmark that ends as soon as it is waited for."""
    hold_the_lock(world)
    waited = threading.Event()

    def end(_: float) -> None:
        delete_its_row(world)
        waited.set()

    monkeypatch.setattr(locks, "sleep", end)
    return waited


@pytest.mark.parametrize("wait", [("--wait",), ("--wait", "60")], ids=["as long as it takes", "so long"])
def test_bench_run_with_wait_waits_for_another_benchmark(
    world: World, typed: Typed, freed_while_waited_for: threading.Event, wait: tuple[str, ...]
) -> None:
    done = typed(*RUN, *wait)
    assert done.returncode == 0
    assert freed_while_waited_for.is_set()
    assert "⏳ waiting: another process holds the benchmark lock: process 4711 on gpu-7, since" in done.stdout


def test_bench_run_refuses_at_once_without_wait(
    world: World, typed: Typed, freed_while_waited_for: threading.Event
) -> None:
    done = typed(*RUN)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "holds the benchmark lock: process 4711 on gpu-7, since" in done.stderr
    assert not freed_while_waited_for.is_set()


def test_an_interruption_while_waiting_ends_the_command_at_once(
    world: World, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_the_lock(world)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(locks, "sleep", interrupt)
    assert typed(*RUN, "--wait").returncode == 130
    assert world.rows("benchmark_locks", "host") == [("gpu-7",)]
