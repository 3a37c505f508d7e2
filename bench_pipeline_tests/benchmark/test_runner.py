"""The measurement: every call a row at once, no model stops another, and what was interrupted goes on."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from bench_pipeline.benchmark.eligibility import named_candidates
from bench_pipeline.benchmark.events import (
    BatchStarted,
    BenchmarkStarted,
    Event,
    ModelFinished,
    ModelLoaded,
    ModelStarted,
    SampleTaken,
)
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.runner import run_benchmark
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.storage import tables
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.locks import LockTaken
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.shell import Shell
from bench_pipeline_tests.kit.tasks import CASES, SERVED, suite_value, write_task
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

FIRST, SECOND, THIRD, FOURTH = CASES


def all_cases(*models: str) -> list[tuple[str, str]]:
    return [(model, case) for model in models for case in CASES]


def finished(world: World) -> dict[str, ModelFinished]:
    return {event.model: event for event in world.events if isinstance(event, ModelFinished)}


class Interruption(Exception):
    """What a person's Ctrl-C, or the loss of power, is to the runner."""


def interrupted_after(calls: int, seen: list[Event] | None = None) -> Callable[[Event], None]:
    """A listener that ends the benchmark when so many samples were stored."""
    left = iter(range(calls - 1, -1, -1))

    def listen(event: Event) -> None:
        if seen is not None:
            seen.append(event)
        if isinstance(event, SampleTaken) and next(left) == 0:
            raise Interruption

    return listen


# Every call is a row


def test_a_samples_row_is_in_the_database_before_the_next_call_is_made(world: World) -> None:
    seen = []

    def look(event: Event) -> None:
        if isinstance(event, SampleTaken):
            with open_elsewhere(world) as connection:
                stored = connection.execute(tables.benchmark_samples.select()).all()
            seen.append((len(stored), len(world.calls())))

    world.run("fast", on_event=look)
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]


def open_elsewhere(world: World):  # noqa: ANN201 - SQLAlchemy's context manager
    """A connection of another pool, as another process has: it sees what is committed alone."""
    return open_database(world.url).engine.connect()


def test_a_wrong_verdict_has_its_latency_and_says_what_the_gold_is(world: World) -> None:
    world.run("wrong")
    rows = world.rows("benchmark_samples", "case_id", "outcome", "expected", "verdict", "reason", "latency_ns")
    assert rows[-1][:5] == (FOURTH, "wrong", "FAIL", "PASS", "said PASS, gold is FAIL")
    assert rows[-1][5] > 0


def test_a_row_keeps_the_reply_and_the_servers_own_account(world: World) -> None:
    world.run("fast")
    columns = ("reply", "done_reason", "prompt_tokens", "generated_tokens", "server_generation_ns", "server_total_ns")
    reply, done, *numbers = world.rows("benchmark_samples", *columns)[2]
    assert (reply, done) == ("[FAIL] no job is named", "stop")
    assert all(number is not None for number in numbers)


# One model after another


def test_a_models_run_is_load_warm_up_cases_unload_with_one_switch_a_model(world: World) -> None:
    world.run("fast", "wrong")
    models = world.server.models
    assert world.server.switches == 1
    assert [sum(record.loaded for record in world.server.log if record.model == name) for name in models] == [
        1, 0, 1, 0, 0,
    ]  # fmt: skip
    assert world.prompts() == [
        ("fast:1b", "warm-up"), *all_cases("fast:1b"), ("wrong:3b", "warm-up"), *all_cases("wrong:3b"),
    ]  # fmt: skip
    assert world.server.resident == {}


@ONE_ENGINE
def test_loading_is_asked_for_before_the_first_prompt_and_the_memory_is_given_back_after_the_last(
    world: World,
) -> None:
    world.run("fast")
    chats = [record.body for record in world.server.requests("/api/chat")]
    assert [bool(body["messages"]) for body in chats] == [False, *[True] * 5, False]
    assert [body["keep_alive"] == 0 for body in chats] == [*[False] * 6, True]


@ONE_ENGINE
def test_whatever_else_is_loaded_is_unloaded_first(world: World) -> None:
    world.server.load("slow:7b", None)
    residents = []

    def look(event: Event) -> None:
        if isinstance(event, ModelLoaded):
            residents.append(set(world.server.resident))

    world.run("fast", on_event=look)
    assert residents == [{"fast:1b"}]


def test_the_warm_up_is_no_row_and_holds_no_cases_text(world: World) -> None:
    world.run("fast")
    first = world.server.requests("/api/chat")[1].body["messages"][0]["content"]
    assert first == "Posting: (warm-up)\nSummary: (warm-up)\nReply [PASS] or [FAIL]."
    assert [row[0] for row in world.rows("benchmark_samples", "case_id")] == list(CASES)


def test_what_loading_cost_is_stored_apart_from_every_latency(world: World) -> None:
    world.server.models["fast:1b"].load_ms = 300
    world.run("fast")
    load_ns, memory = only(world.rows("benchmark_model_runs", "load_ns", "memory_bytes"))
    assert load_ns >= 300e6
    assert memory == 1_000_000_000
    assert all(latency < load_ns for (latency,) in world.rows("benchmark_samples", "latency_ns"))


@pytest.mark.parametrize(
    ("batch_size", "batches"),
    [(1, [1, 2, 3, 4]), (3, [1, 1, 1, 2]), (4, [1, 1, 1, 1]), (5, [1, 1, 1, 1])],
    ids=["one by one", "a rest", "exactly all", "more than all"],
)
@ONE_ENGINE
def test_cases_are_run_in_batches_in_the_order_of_the_suite(world: World, batch_size: int, batches: list[int]) -> None:
    world.run("fast", batch_size=batch_size)
    assert world.rows("benchmark_samples", "case_id", "batch") == list(zip(CASES, batches, strict=True))
    announced = [(e.batch, e.batches) for e in world.events if isinstance(e, BatchStarted)]
    assert announced == [(number, max(batches)) for number in sorted(set(batches))]


def test_repeats_are_passes_over_the_whole_suite(world: World) -> None:
    world.run("fast", repeats=3, batch_size=2)
    rows = world.rows("benchmark_samples", "case_id", "repeat", "batch")
    assert rows == [(case, p, b) for p in (1, 2, 3) for case, b in zip(CASES, (1, 1, 2, 2), strict=True)]
    assert world.server.models["fast:1b"].loads == 1


@ONE_ENGINE
def test_the_events_tell_the_benchmark_in_its_order(world: World) -> None:
    benchmark_id = world.run("fast", "wrong")
    started = world.events[0]
    assert started == BenchmarkStarted(benchmark_id, "grading", ("fast", "wrong"), 4, 1, resumed=False)
    names = [type(event).__name__ for event in world.events[1:]]
    a_model = ["ModelStarted", "ModelLoaded", "BatchStarted", *["SampleTaken"] * 4, "ModelFinished"]
    assert names == a_model * 2
    assert [e for e in world.events if isinstance(e, ModelStarted)] == [
        ModelStarted("fast", 1, 2, calls=4, calls_done=0),
        ModelStarted("wrong", 2, 2, calls=4, calls_done=0),
    ]


# No model stops another


def gone_after_describing(world: World) -> None:
    # Described from the server's list, gone when it is to be loaded: as if removed between.
    del world.server.models["slow:7b"]


@pytest.mark.parametrize(
    ("breaks", "standing", "why"),
    [
        pytest.param(lambda w: setattr(w.server.models["slow:7b"], "fault", Fault.LOADING_REFUSED),
                     Standing.INCONCLUSIVE, "out of memory", id="load refused"),
        pytest.param(gone_after_describing, Standing.INCONCLUSIVE, "not_found", id="removed after it was described"),
        pytest.param(lambda w: setattr(w.server.models["slow:7b"], "fault", Fault.SERVER_ERROR),
                     Standing.INCONCLUSIVE, "server_error", id="500 on every call"),
        pytest.param(lambda w: setattr(w.server.models["slow:7b"], "fault", Fault.CUT_STREAM),
                     Standing.INCONCLUSIVE, "connection_lost", id="connection closed on every call"),
        pytest.param(lambda w: setattr(w.server.models["slow:7b"], "fault", Fault.EMPTY_CONTENT),
                     Standing.DISQUALIFIED, "", id="nothing but empty replies"),
    ],
)  # fmt: skip
def test_a_failing_model_never_stops_the_ones_after_it(
    world: World, breaks: Callable[[World], None], standing: Standing, why: str
) -> None:
    found = world.candidates("slow", "fast")
    breaks(world)
    run_benchmark(world.bench, world.prepared(), Field(tuple(found)), world.events.append)
    assert finished(world)["slow"].result.standing is standing
    assert why in finished(world)["slow"].result.reason
    assert finished(world)["fast"].result.standing is Standing.QUALIFIED
    failures = dict(world.rows("benchmark_model_runs", "model_name", "failure"))
    assert failures["fast"] is None
    assert why in (failures["slow"] or "")
    assert only(world.rows("benchmark_runs", "status")) == ("finished",)


@ONE_ENGINE
def test_a_call_that_fails_does_not_stop_the_calls_after_it(world: World) -> None:
    model = world.server.models["fast:1b"]
    model.fault, model.fault_on_calls = Fault.CUT_STREAM, {3}
    world.run("fast")
    outcomes = [outcome for (outcome,) in world.rows("benchmark_samples", "outcome")]
    assert outcomes == ["correct", "error", "correct", "correct"]
    assert finished(world)["fast"].result.standing is Standing.INCONCLUSIVE


@ONE_ENGINE
def test_with_nobody_eligible_nothing_is_begun_and_everybodys_reason_is_told(world: World) -> None:
    with pytest.raises(GateFailed, match=r"(?s)ticket\.py: .*'script'.*absent: .*not installed"):
        world.run("ticket.py", "absent")
    assert world.rows("benchmark_runs", "benchmark_id") == []


@ONE_ENGINE
def test_without_any_actor_it_says_so(world: World) -> None:
    with pytest.raises(GateFailed, match="no model can be measured for grading: there are no actors"):
        run_benchmark(world.bench, world.prepared(), Field(()), world.events.append)


# One benchmark at a time


def test_a_second_benchmark_on_the_machine_is_refused_while_one_runs(world: World) -> None:
    other = open_database(world.url)
    refused = []

    def try_another(event: Event) -> None:
        if isinstance(event, ModelLoaded):
            with pytest.raises(LockTaken, match="another process holds the benchmark lock"):
                run_benchmark(
                    replace(world.bench, database=other),
                    world.prepared(),
                    Field(tuple(world.candidates("slow"))),
                    world.events.append,
                )
            refused.append(event)

    world.run("fast", on_event=try_another)
    other.close()
    assert len(refused) == 1
    assert world.calls() == all_cases("fast:1b")


def test_the_lock_is_free_again_after_a_benchmark_that_broke_off(world: World) -> None:
    with pytest.raises(Interruption):
        world.run("fast", on_event=interrupted_after(1))
    other = open_database(world.url)
    run_benchmark(
        replace(world.bench, database=other),
        world.prepared(),
        Field(tuple(world.candidates("fast"))),
        world.events.append,
    )
    other.close()


# What was interrupted goes on


@pytest.mark.parametrize("calls", range(1, 9))
@ONE_ENGINE
def test_wherever_it_was_interrupted_only_the_missing_calls_are_made(world: World, calls: int) -> None:
    with pytest.raises(Interruption):
        world.run("fast", "wrong", on_event=interrupted_after(calls))
    made = world.calls()
    world.run("fast", "wrong")
    assert len(made) == calls
    assert world.calls() == all_cases("fast:1b", "wrong:3b")


def test_an_interrupted_benchmark_goes_on_as_the_same_benchmark(world: World) -> None:
    with pytest.raises(Interruption):
        world.run("fast", on_event=interrupted_after(3, world.events))
    (before,) = [e for e in world.events if isinstance(e, BenchmarkStarted)]
    world.events.clear()
    assert world.run("fast") == before.benchmark_id
    assert world.events[0] == BenchmarkStarted(before.benchmark_id, "grading", ("fast",), 4, 1, resumed=True)
    assert ModelStarted("fast", 1, 1, calls=4, calls_done=3) in world.events
    assert only(world.rows("benchmark_runs", "status")) == ("finished",)
    assert finished(world)["fast"].result.standing is Standing.QUALIFIED


@ONE_ENGINE
def test_a_model_that_was_complete_is_not_even_loaded_again(world: World) -> None:
    with pytest.raises(Interruption):
        world.run("fast", "wrong", on_event=interrupted_after(5))
    world.run("fast", "wrong")
    assert (world.server.models["fast:1b"].loads, world.server.models["wrong:3b"].loads) == (1, 2)


@ONE_ENGINE
def test_repeats_are_resumed_by_case_and_pass(world: World) -> None:
    with pytest.raises(Interruption):
        world.run("fast", repeats=2, on_event=interrupted_after(6))
    world.run("fast", repeats=2)
    assert Counter(world.calls()) == Counter(all_cases("fast:1b") * 2)
    assert len(world.rows("benchmark_samples", "case_id")) == 8


def change_the_suite(world: World) -> None:
    suite = suite_value()
    suite["test_cases"][0]["reasoning"] = "looked at again"
    write_task(world.folder / "testcases", suite)


def change_the_prompt(world: World) -> None:
    world.set_template(3336, "Now judge {summary} by {posting}")


def let_it_grow_old(world: World) -> None:
    runs = tables.benchmark_runs
    world.change(update(runs).values(started_at=world.rows("benchmark_runs", "started_at")[0][0].replace(year=2020)))


@pytest.mark.parametrize(
    "changes", [change_the_suite, change_the_prompt, let_it_grow_old], ids=["suite", "prompt", "too old"]
)
def test_a_benchmark_of_other_evidence_or_too_long_ago_does_not_go_on(
    world: World, changes: Callable[[World], None]
) -> None:
    with pytest.raises(Interruption):
        world.run("fast", on_event=interrupted_after(3))
    changes(world)
    world.run("fast")
    assert len(world.calls()) == 3 + 4
    assert world.events[0].resumed is False  # type: ignore[union-attr]


def test_a_model_whose_digest_changed_since_the_interruption_starts_anew(world: World) -> None:
    with pytest.raises(Interruption):
        world.run("wrong", "fast", on_event=interrupted_after(6))
    before = len(world.server.log)
    world.server.models["fast:1b"].digest = "sha256:another"
    world.run("wrong", "fast")
    assert world.calls(since=before) == all_cases("fast:1b")
    assert dict(world.rows("benchmark_model_runs", "model_name", "digest"))["fast"] == "sha256:another"
    assert len(world.rows("benchmark_samples", "case_id")) == 8


@ONE_ENGINE
def test_fresh_does_not_go_on(world: World) -> None:
    with pytest.raises(Interruption):
        world.run("fast", on_event=interrupted_after(3))
    world.run("fast", resume_hours=0)
    assert len(world.calls()) == 3 + 4
    assert sorted(status for (status,) in world.rows("benchmark_runs", "status")) == ["finished", "running"]


@ONE_ENGINE
def test_a_finished_benchmark_does_not_go_on(world: World) -> None:
    assert world.run("fast") != world.run("fast")
    assert Counter(world.calls()) == Counter(all_cases("fast:1b") * 2)


class Strikes:
    """The number of the one call that a fault strikes, and whether it has arrived."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.arrived = threading.Event()

    def __contains__(self, number: object) -> bool:
        if number == self.number:
            self.arrived.set()
        return number == self.number


def test_after_kill_9_in_the_middle_of_a_call_only_missing_calls_are_made(world: World, shell: Shell) -> None:
    wrong, third_case = world.server.models["wrong:3b"], Strikes(4)  # after the warm-up and two cases
    wrong.fault, wrong.fault_on_calls = Fault.NEVER_ANSWERS, third_case
    for conversation in SERVED:
        world.give(conversation, FAST)
    arguments = ("run", "--task", "grading", "--models", "fast,wrong")
    process = shell.begin(*arguments)
    assert third_case.arrived.wait(60), "the call that never ends was not made"
    process.kill()
    process.communicate()
    before = len(world.server.log)

    again = shell.bench(*arguments, "--json")
    assert again.returncode == 0, again.stderr
    assert world.calls(since=before) == [("wrong:3b", THIRD), ("wrong:3b", FOURTH)]
    in_flight = Counter([("wrong:3b", THIRD)])
    assert Counter(world.calls()) == Counter(all_cases("fast:1b", "wrong:3b")) + in_flight
    assert world.rows("benchmark_samples", "case_id") == [(case,) for case in [*CASES, *CASES]]
    assert json.loads(again.stdout)["rankings"][0]["model"] == "fast"


# Candidates named by hand


@ONE_ENGINE
def test_a_model_that_is_no_actor_is_measured_like_any_other(world: World) -> None:
    found = named_candidates(replace(world.bench, application=None), ["fast:1b"])
    run_benchmark(world.bench, world.prepared(), Field(tuple(found)), world.events.append)
    assert world.calls() == all_cases("fast:1b")
    assert world.rows("benchmark_model_runs", "model_name", "actor_id") == [("fast:1b", None)]
