"""A promoted champion is compared with what it replaced in one session, not with what was measured before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench_pipeline.benchmark.events import Event, FinalPass
from bench_pipeline.benchmark.measurement import MeasurementRequest, measure
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.final import LOOKS
from bench_pipeline.promotion.failover import fail_over
from bench_pipeline.promotion.validation import ValidationResult, validate_promotion
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.pipeline import Pipeline, with_settings
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import CASES, GRADE_A, SERVED
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.timing import Latencies
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


@pytest.fixture
def latencies(monkeypatch: pytest.MonkeyPatch) -> Latencies:
    """In the benchmark, `fast` takes half as long as `slow`."""
    return Latencies(monkeypatch, {"fast:1b": 100.0, "slow:7b": 200.0, "wrong:3b": 150.0})


@pytest.fixture
def promotion(world: World, latencies: Latencies) -> Promotion:
    """`fast` was promoted over `slow` after a final."""
    assert latencies
    for model in world.server.models.values():
        model.latency_ms = 0
    world.configure(final_passes=20)
    return promoted(world, rank_benchmark(world.database, world.run("fast", "slow")))


def promoted(world: World, ranked: RankedBenchmark) -> Promotion:
    found = world.apply(world.plan(ranked))
    assert found is not None
    return found


def validate(world: World, promotion: Promotion) -> ValidationResult:
    world.configure()  # a new process, which asks the server anew
    world.events.clear()
    return validate_promotion(world.bench, promotion, "the tests", world.events.append)


def speed(result: ValidationResult) -> str:
    return "; ".join(words for one in result.champions for words in one.speed)


def passes_of(events: list[Event]) -> int:
    return sum(isinstance(event, FinalPass) for event in events)


def test_a_machine_that_is_twice_as_slow_as_in_the_benchmark_undoes_nothing(
    world: World, latencies: Latencies, promotion: Promotion
) -> None:
    latencies.slow_down(2.0)
    result = validate(world, promotion)
    assert (result.passed, result.rollback) == (True, None)
    assert world.holds() == [FAST] * 3
    assert speed(result).startswith("0.5 times the mean latency of slow in the same session (")


def test_a_champion_that_is_truly_slower_is_taken_back(
    world: World, latencies: Latencies, promotion: Promotion
) -> None:
    latencies["fast:1b"] = 1.3 * latencies["slow:7b"]
    result = validate(world, promotion)
    assert only(result.reasons).startswith("fast is 30.0% slower than slow in the same session (")
    assert world.holds() == [SLOW] * 3
    assert [one.bar for one in world.promotions()] == [None, "benchmark"]  # the next benchmark may show it faster


def test_a_champion_that_is_as_fast_as_the_incumbent_stays(
    world: World, latencies: Latencies, promotion: Promotion
) -> None:
    """It is not shown to be slower, however long one measures."""
    latencies["fast:1b"] = latencies["slow:7b"]
    world.configure(final_passes=8)
    assert validate(world, promotion).passed
    assert passes_of(world.events) == 8


@pytest.mark.parametrize("factor", [0.5, 2.0], ids=["faster", "slower"])
def test_the_session_ends_as_soon_as_it_is_decided(
    world: World, latencies: Latencies, promotion: Promotion, factor: float
) -> None:
    latencies["fast:1b"] = factor * latencies["slow:7b"]
    before = len(world.server.log)
    validate(world, promotion)
    passes = 1 + LOOKS[0]
    assert Counter(world.calls(since=before)) == {
        (model, case): passes for model in ("fast:1b", "slow:7b") for case in CASES
    }


def test_a_champion_must_be_right_in_every_pass_of_the_session(world: World, promotion: Promotion) -> None:
    model = world.server.models["fast:1b"]
    model.fault, model.fault_on_calls = Fault.LENGTH, {model.calls + 12}  # in its second pass with the incumbent
    result = validate(world, promotion)
    assert "got 3/4 cases right" in only(result.reasons)
    assert [one.bar for one in world.promotions()] == [None, "evidence"]
    assert "fast did not get through its test cases" in speed(result)


def test_a_champion_that_is_wrong_at_once_meets_nobody(world: World, promotion: Promotion) -> None:
    world.server.models["fast:1b"].answers = {}
    assert not validate(world, promotion).passed
    assert passes_of(world.events) == 0


# Incumbents that cannot run any more


def become(**changes: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        for name, value in changes.items():
            setattr(world.server.models["slow:7b"], name, value)

    return change


def behind_a_server_that_is_down(world: World) -> None:
    world.configure(openai_num_ctx=4096)
    world.set_actor(SLOW, execution_path="openai:http://127.0.0.1:9/v1#slow")


def behind_a_server_without_a_stated_context(world: World) -> None:
    world.set_actor(SLOW, execution_path=f"openai:{world.server.url}/v1#slow:7b")


def fails_in_the_session(world: World) -> None:
    model = world.server.models["slow:7b"]
    model.fault, model.fault_on_calls = Fault.SERVER_ERROR, range(model.calls + 8, 10_000)


GONE = [
    pytest.param(lambda w: w.remove_actor(SLOW), "the actor no longer exists", id="the actor is deleted"),
    pytest.param(lambda w: w.set_actor(SLOW, enabled=False), "it is not enabled", id="the actor is disabled"),
    pytest.param(lambda w: w.server.models.pop("slow:7b"), "is not installed", id="the model is removed"),
    pytest.param(behind_a_server_that_is_down, "no OpenAI-compatible server answers", id="its runtime is down"),
    pytest.param(behind_a_server_without_a_stated_context, "num_ctx", id="its runtime cannot keep the protocol"),
    pytest.param(become(fault=Fault.LOADING_REFUSED), "it did not get through the session", id="it does not load"),
    pytest.param(fails_in_the_session, "it did not get through the session", id="it fails in the session"),
    pytest.param(become(answers={}), "it did not get through the session", id="it is wrong now"),
]


@pytest.mark.parametrize(("changes", "says"), GONE)
def test_without_the_incumbent_correctness_alone_decides_and_the_result_says_so(
    world: World, latencies: Latencies, promotion: Promotion, changes: Callable[[World], None], says: str
) -> None:
    latencies["fast:1b"] = 10_000.0
    changes(world)
    result = validate(world, promotion)
    assert (result.passed, world.holds()) == (True, [FAST] * 3)
    assert speed(result).startswith("speed not compared with slow: ")
    assert says in speed(result)
    (details,) = only(world.rows("benchmark_validations", "details"))
    assert only(details["champions"])["speed"] == list(only(result.champions).speed)


@pytest.mark.parametrize(("changes", "_"), GONE)
def test_a_wrong_champion_is_taken_back_with_or_without_the_incumbent(
    world: World, promotion: Promotion, changes: Callable[[World], None], _: str
) -> None:
    world.server.models["fast:1b"].answers = {}
    changes(world)
    assert not validate(world, promotion).passed


@pytest.mark.usefixtures("latencies")
def test_an_incumbent_that_did_not_qualify_is_no_measure_of_speed(world: World, latencies: Latencies) -> None:
    world.configure(final_passes=20)
    for conversation in SERVED:
        world.give(conversation, WRONG)
    promotion = promoted(world, rank_benchmark(world.database, world.run("fast", "wrong")))
    latencies["fast:1b"] = 10_000.0
    result = validate(world, promotion)
    assert result.passed
    assert speed(result) == "speed not compared with wrong: it did not qualify in the promotion's benchmark"


def test_without_a_final_nothing_is_compared(world: World, promotion: Promotion) -> None:
    world.configure(final_passes=0)
    result = validate(world, promotion)
    assert (result.passed, speed(result)) == (True, "speed not compared: BENCH_FINAL_PASSES is below 2")


# The anchor


@pytest.fixture
def with_anchor(world: World, latencies: Latencies) -> Promotion:
    """The same promotion, from a benchmark with an anchor that took 150 ms."""
    world.server.models["anchor:3b"] = replace(world.server.models["fast:1b"], digest="sha256:an")
    latencies["anchor:3b"] = 150.0
    for model in world.server.models.values():
        model.latency_ms = 0
    world.configure(final_passes=20, anchor="anchor:3b")
    return promoted(world, measure(world.bench, MeasurementRequest("grading", ["fast"]), world.events.append))


def test_an_anchor_stands_in_for_incumbents_that_are_gone(
    world: World, latencies: Latencies, with_anchor: Promotion
) -> None:
    """The champion may take as many times its latency as the incumbent did, on whatever machine."""
    world.set_actor(SLOW, enabled=False)
    latencies.slow_down(2.0)
    result = validate(world, with_anchor)
    assert result.passed
    assert "the anchor anchor:3b stands in for slow, which took 1.33 times its latency" in speed(result)
    assert "0.667 times the mean latency of anchor:3b in the same session" in speed(result)


def test_a_champion_that_is_slower_beside_the_anchor_than_the_incumbent_was_is_taken_back(
    world: World, latencies: Latencies, with_anchor: Promotion
) -> None:
    world.set_actor(SLOW, enabled=False)
    latencies["fast:1b"] = 1.3 * latencies["slow:7b"]
    result = validate(world, with_anchor)
    assert only(result.reasons).startswith("fast takes 1.73 times the mean latency of anchor:3b (")
    assert only(result.reasons).endswith("more than 1.4")
    assert world.holds() == [SLOW] * 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(
            lambda w: setattr(w.server.models["anchor:3b"], "digest", "sha256:new"),
            "cannot stand in",
            id="pulled again",
        ),
        pytest.param(lambda w: w.server.models.pop("anchor:3b"), "cannot stand in", id="removed"),
        pytest.param(lambda w: w.configure(repeats=2), "it is not enabled", id="measured under other terms"),
    ],
)
def test_an_anchor_that_is_not_what_it_was_decides_nothing(
    world: World, latencies: Latencies, with_anchor: Promotion, changes: Callable[[World], None], says: str
) -> None:
    world.set_actor(SLOW, enabled=False)
    latencies["fast:1b"] = 10_000.0
    changes(world)
    result = validate(world, with_anchor)
    assert result.passed
    assert says in speed(result)


def test_the_anchor_is_not_asked_where_the_incumbent_can_run(
    world: World, latencies: Latencies, with_anchor: Promotion
) -> None:
    before = len(world.server.log)
    assert latencies
    assert validate(world, with_anchor).passed
    assert {model for model, _ in world.calls(since=before)} == {"fast:1b", "slow:7b"}


# Failovers


def test_a_failover_is_not_undone_because_the_runner_up_is_slower(world: World, promotion: Promotion) -> None:
    assert promotion.promotion_id == 1
    failover = fail_over(world.bench, GRADE_A, "Ann")
    result = validate(world, failover)
    assert result.passed
    assert speed(result) == "speed not compared: a failover replaces a champion that failed"


# Where people look


def test_the_command_line_says_what_was_compared(typed: Typed, world: World, promotion: Promotion) -> None:
    assert promotion.promotion_id == 1
    world.set_actor(SLOW, enabled=False)
    done = typed("validate", "--task", "grading")
    assert (done.returncode, "fast: speed not compared" in done.stdout) == (0, True)


def test_dagster_shows_what_was_compared(pipeline: Pipeline, promotion: Promotion) -> None:
    assert promotion.promotion_id == 1
    run = with_settings(pipeline, final_passes=20).run(assets=["grading/validation"])
    shown = "0.5 times the mean latency of slow in the same session"
    assert shown in str(pipeline.metadata("grading/validation")["speed"])
    (check,) = [one for one in run.get_asset_check_evaluations() if one.check_name == "validation_passed"]
    assert (check.passed, shown in str(check.description)) == (True, True)
