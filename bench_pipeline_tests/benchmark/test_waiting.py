"""A server that says "not yet" in the middle of a benchmark: its pauses are kept, and cost neither retries nor time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench_pipeline.assets.workbench_resource import workbench_resource
from bench_pipeline.benchmark import loaded_model
from bench_pipeline.benchmark.events import CallRetried
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline_tests.fakes.recorded_server import Recorded
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE

LOADING = Recorded({"error": {"message": "Loading model", "code": 503}}, 503)
LIMITED = Recorded({"error": {"message": "Rate limit reached"}}, 429, {"Retry-After": "6"})
CHAT, V1_CHAT = "/api/chat", "/v1/chat/completions"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, on a clock that nobody waits for."""
    made: list[float] = []
    monkeypatch.setattr(loaded_model, "time", SimpleNamespace(sleep=made.append))
    return made


def benchmark(world: World, refusals: list[Recorded], path: str = CHAT, **terms: object) -> RankedBenchmark:
    world.server.refusals[path] = refusals
    own = {
        "retries": 0,
        "placement": "any",
    }  # no server is surveyed, so that the refusals meet the models' own requests
    return world.ranked("fast", "slow", on_event=world.events.append, final=False, **(own | terms))


def standings(ranked: RankedBenchmark) -> dict[str, Standing]:
    return {result.model: result.standing for result in ranked.scoreboard.results}


def told(world: World) -> list[str]:
    return [event.failure for event in world.events if isinstance(event, CallRetried) and event.attempt == 0]


QUALIFIED = {"fast": Standing.QUALIFIED, "slow": Standing.QUALIFIED}


def test_a_model_that_is_still_loading_is_waited_for_without_a_retry(world: World, pauses: list[float]) -> None:
    """containers/ramalama #2343, earendil-works/pi #1887: three attempts are over long before a model is loaded."""
    assert standings(benchmark(world, [LOADING] * 8)) == QUALIFIED
    assert pauses == [1.0] * 8
    assert told(world) == [f"busy: fast:1b: {world.server.url} answered 503: Loading model"]


def test_the_pause_that_a_server_asks_for_in_a_call_is_kept_and_is_no_part_of_the_latency(
    world: World, pauses: list[float]
) -> None:
    """BobTheBuidler/dank_mids #84, HolmesGPT/holmesgpt #1033."""
    world.configure(openai_num_ctx=4096)
    for actor, address in ((FAST, "fast:1b"), (SLOW, "slow:7b")):
        world.set_actor(actor, execution_path=f"openai:{world.server.url}/v1#{address}")
    ranked = benchmark(world, [LIMITED], V1_CHAT)
    assert standings(ranked) == QUALIFIED
    assert pauses == [6.0]
    assert [sample.attempts for sample in ranked.samples["fast"]] == [()] * len(ranked.samples["fast"])


def test_pauses_are_bounded_by_the_limit_for_loading(world: World, pauses: list[float]) -> None:
    ranked = benchmark(world, [LOADING] * 99, retries=2, load_time_limit_s=5.0)
    assert pauses == [1.0] * 5 * len(QUALIFIED)
    assert standings(ranked)["fast"] is Standing.INCONCLUSIVE


def test_a_pause_that_is_longer_than_the_limit_is_not_begun(world: World, pauses: list[float]) -> None:
    hour = Recorded("", 429, {"Retry-After": "3600"})
    ranked = benchmark(world, [hour], retries=2, load_time_limit_s=600.0)
    assert pauses == []
    assert standings(ranked)["fast"] is Standing.INCONCLUSIVE


def test_a_server_that_is_busy_and_asks_for_no_pause_is_retried_as_before(world: World, pauses: list[float]) -> None:
    full = Recorded({"error": "server busy, please try again. maximum pending requests exceeded"}, 503)
    assert standings(benchmark(world, [full], retries=1, retry_pause_s=3.0)) == QUALIFIED
    assert pauses == [3.0]
    assert told(world) == []


def test_a_run_waits_for_a_server_that_loads_when_it_is_described(
    world: World, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_pipeline.runtimes.failures.LOADING_PAUSE_S", 0.01)
    world.server.refusals["/api/version"] = [LOADING] * 5
    done = typed("run", "--task", "grading", "--models", "fast")
    assert (done.returncode, world.server.refusals["/api/version"]) == (0, [])


def test_the_list_of_models_does_not_wait(world: World, typed: Typed) -> None:
    world.server.refusals["/api/version"] = [LOADING] * 5
    done = typed("models")
    assert "answered 503: Loading model" in done.stdout
    assert len(world.server.refusals["/api/version"]) == 4


def test_a_run_in_dagster_waits_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_pipeline.runtimes.failures.LOADING_PAUSE_S", 0.01)
    world.server.refusals["/api/version"] = [LOADING] * 3
    roster = workbench_resource(world.settings).candidates(world.bench, "run")
    assert [line.name for line in roster if line.eligible] == ["fast", "slow", "wrong", "silent", "broken"]


def test_a_run_tells_once_that_it_waits(
    world: World, typed: Typed, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PLACEMENT", "any")
    world.server.refusals[CHAT] = [LOADING] * 3
    done = typed("run", "--task", "grading", "--models", "fast")
    assert done.stdout.count("(load): ⏳ waiting for the server: busy: fast:1b: ") == 1
    assert pauses == [1.0] * 3
