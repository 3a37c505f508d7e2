"""A latency belongs to the hardware of the server that it was measured on.

Reports of results that were ranked across machines: AlexsJones/llmfit 1014, huangd1999/EffiBench 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from bench_pipeline.benchmark.events import ServerOnCpu
from bench_pipeline.benchmark.hardware import hardware_of, this_machine
from bench_pipeline.benchmark.measurement import MeasurementRequest, measure
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.models.model_ref import parse_execution_path
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.system import FakeSystem
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, fake_models
from bench_pipeline_tests.kit.world import World

CARD = "RTX 4090, 24 GB"


@pytest.fixture
def elsewhere() -> Iterator[FakeOllama]:
    """A second server with the same models."""
    with FakeOllama(fake_models()) as server:
        yield server


def place_of(server: FakeOllama) -> str:
    return urlsplit(server.url).netloc


def measured(world: World, *names: str, reuse: bool = False) -> RankedBenchmark:
    request = MeasurementRequest("grading", names, terms={"final_passes": 0}, reuse=reuse)
    return measure(world.bench, request, world.events.append)


def exclusions(ranked: RankedBenchmark) -> dict[str, Exclusion]:
    return {one.model: one.exclusion for one in ranked.excluded}


# What a server runs on


@ONE_ENGINE
@pytest.mark.parametrize(
    ("path", "stated", "hardware"),
    [
        ("ollama:a:1b@gpu-box", {}, {"server": "unknown, host gpu-box"}),
        ("ollama:a:1b@gpu-box", {"gpu-box": CARD}, {"server": CARD}),
        ("ollama:a:1b@GPU-Box", {"gpu-box": CARD}, {"server": CARD}),
        ("ollama:a:1b@gpu-box", {"Gpu-Box:11434": CARD}, {"server": CARD}),
        ("ollama:a:1b@gpu-box:9", {"gpu-box:11434": CARD}, {"server": "unknown, host gpu-box"}),
        ("openai:https://gpu-box/v1#m", {}, {"server": "unknown, host gpu-box"}),
        ("openai:https://gpu-box:8000/v1#m", {"gpu-box:8000": CARD}, {"server": CARD}),
        pytest.param("ollama:a:1b@localhost:9", {"localhost:9": CARD}, {"server": CARD}, id="a tunnel to elsewhere"),
    ],
)
def test_a_server_elsewhere_runs_on_what_is_stated_or_stands_for_itself(
    world: World, path: str, stated: dict[str, str], hardware: dict[str, str]
) -> None:
    world.configure(server_hardware=stated)
    assert hardware_of(world.bench, parse_execution_path(path)) == hardware


@ONE_ENGINE
@pytest.mark.parametrize("path", ["ollama:a:1b", "llama_cpp:a.gguf", "openai:http://localhost:8000/v1#m", "a:1b@::1"])
def test_a_server_on_this_machine_runs_on_this_machine(world: World, path: str) -> None:
    found = hardware_of(world.bench, parse_execution_path(path))
    assert found == this_machine(world.bench.system)
    assert found.keys() == {"processor", "cores", "memory_gib", "system"}


def test_the_gpus_of_this_machine_are_part_of_its_hardware() -> None:
    system = FakeSystem(gpu_names=("NVIDIA H200 140 GiB", "NVIDIA H200 140 GiB"))
    assert this_machine(system)["gpu"] == "NVIDIA H200 140 GiB, NVIDIA H200 140 GiB"


def test_a_driver_that_fails_does_not_stop_a_benchmark() -> None:
    assert "gpu" not in this_machine(FakeSystem(broken={"gpus"}))


# Two servers


@ONE_ENGINE
def test_an_actor_may_name_its_host(world: World, elsewhere: FakeOllama) -> None:
    world.set_actor(FAST, execution_path=f"ollama:fast:1b@{place_of(elsewhere)}")
    ranked = measured(world, "fast", "wrong")
    assert {record.model for record in elsewhere.requests("/api/chat")} == {"fast:1b"}
    assert "fast:1b" not in {record.model for record in world.server.requests("/api/chat")}
    assert ranked.runs["fast"].ref.execution_path == f"ollama:fast:1b@http://{place_of(elsewhere)}"


@ONE_ENGINE
def test_a_host_that_is_not_allowed_gets_no_text(world: World) -> None:
    world.set_actor(FAST, execution_path="ollama:fast:1b@gpu-box")
    (line,) = world.candidates("fast")
    assert line.exclusion is Exclusion.HOST_NOT_ALLOWED


@ONE_ENGINE
def test_the_key_of_the_configured_server_is_not_sent_to_another(
    world: World, elsewhere: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-canary")
    world.set_actor(FAST, execution_path=f"ollama:fast:1b@{place_of(elsewhere)}")
    assert world.candidates("fast")[0].eligible
    assert all("authorization" not in record.headers for record in elsewhere.log)


@ONE_ENGINE
def test_models_on_other_hardware_than_the_incumbent_are_not_ranked_with_it(
    world: World, elsewhere: FakeOllama
) -> None:
    world.configure(server_hardware={place_of(elsewhere): CARD})
    world.set_actor(FAST, execution_path=f"ollama:fast:1b@{place_of(elsewhere)}")
    ranked = measured(world, "fast", "wrong")
    assert exclusions(ranked) == {"fast": Exclusion.OTHER_HARDWARE}
    assert [result.model for result in ranked.scoreboard.ranked] == ["slow"]
    assert CARD in ranked.excluded[0].detail
    assert "BENCH_SERVER_HARDWARE" in ranked.excluded[0].detail
    assert elsewhere.requests("/api/chat") == []


@ONE_ENGINE
def test_two_servers_of_equal_hardware_are_ranked_together(world: World, elsewhere: FakeOllama) -> None:
    both = {place_of(elsewhere): CARD, place_of(world.server): CARD}
    world.configure(server_hardware=both)
    world.set_actor(FAST, execution_path=f"ollama:fast:1b@{place_of(elsewhere)}")
    ranked = measured(world, "fast")
    assert {result.model for result in ranked.scoreboard.ranked} == {"fast", "slow"}
    assert ranked.benchmark.hardware == {"server": CARD}


@ONE_ENGINE
def test_a_result_of_another_server_is_not_reused(world: World, elsewhere: FakeOllama) -> None:
    measured(world, "fast")
    world.configure(ollama_host=elsewhere.url, server_hardware={place_of(elsewhere): CARD})
    ranked = measured(world, "fast", reuse=True)
    assert ranked.reused == {}
    assert elsewhere.requests("/api/chat") != []


@ONE_ENGINE
def test_a_result_of_the_same_server_is_reused(world: World) -> None:
    measured(world, "fast")
    assert set(measured(world, "fast", reuse=True).reused) == {"fast"}


# A server without a GPU


def on_cpu(world: World, *names: str) -> None:
    for name, model in world.server.models.items():
        if not names or name in names:
            model.vram_bytes = 0


def announced(world: World) -> list[ServerOnCpu]:
    return [event for event in world.events if isinstance(event, ServerOnCpu)]


@ONE_ENGINE
def test_a_server_without_a_gpu_is_measured_as_it_is_and_says_so_once_before_anything_runs(world: World) -> None:
    on_cpu(world)
    ranked = measured(world, "fast", "slow")
    assert {result.standing for result in ranked.scoreboard.results} == {Standing.QUALIFIED}
    assert announced(world) == [ServerOnCpu(world.server.url)]
    assert world.events[0] == announced(world)[0]


@ONE_ENGINE
def test_a_server_with_a_gpu_is_not_announced(world: World) -> None:
    measured(world, "fast", "slow")
    assert announced(world) == []


@ONE_ENGINE
def test_finding_a_gpu_costs_no_load(world: World) -> None:
    measured(world, "fast", "slow")
    loads = [record.model for record in world.server.requests("/api/chat") if record.loaded]
    assert loads == ["fast:1b", "slow:7b"]


@ONE_ENGINE
def test_where_the_gpu_is_required_nothing_is_loaded_twenty_times(world: World) -> None:
    on_cpu(world)
    world.configure(placement="gpu")
    with pytest.raises(GateFailed, match="BENCH_PLACEMENT=auto"):
        measured(world, "fast", "slow", "wrong", "silent")
    loaded = {record.model for record in world.server.requests("/api/chat") if record.loaded}
    assert len(loaded) <= 2
    assert world.calls() == []


@ONE_ENGINE
def test_a_first_model_that_is_too_large_for_the_gpu_does_not_make_a_server_one_without(world: World) -> None:
    on_cpu(world, "slow:7b")
    ranked = measured(world, "slow", "fast")
    by_model = {result.model: result for result in ranked.scoreboard.results}
    assert by_model["slow"].standing is Standing.INCONCLUSIVE
    assert "BENCH_PLACEMENT=any" in by_model["slow"].reason
    assert by_model["fast"].qualified


@ONE_ENGINE
def test_models_that_were_on_the_cpu_by_chance_do_not_rank_beside_those_on_the_gpu(world: World) -> None:
    on_cpu(world, "fast:1b", "wrong:3b")
    ranked = measured(world, "fast", "wrong", "slow")
    assert {sample.exclusion for sample in ranked.samples["fast"]} == {ValidityRule.NOT_ON_GPU}
    assert [result.model for result in ranked.scoreboard.ranked] == ["slow"]


@ONE_ENGINE
def test_a_gpu_of_this_machine_is_known_without_a_load(world: World) -> None:
    on_cpu(world)
    bench = replace(world.bench, system=FakeSystem(gpu_names=("NVIDIA H200",)))
    request = MeasurementRequest("grading", ["fast"], terms={"final_passes": 0})
    ranked = measure(bench, request, world.events.append)
    assert announced(world) == []
    assert {result.standing for result in ranked.scoreboard.results} == {Standing.INCONCLUSIVE}
