"""What else ran during a pass: whose CPU time counts, and on which machine there is something to see."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.machine import Machine
from bench_pipeline.benchmark.ranking import rank_benchmark, read_ranked
from bench_pipeline.benchmark.runner import run_benchmark
from bench_pipeline.benchmark.system import OperatingSystem
from bench_pipeline.domain.measuring.pass_load import GpuUse, PassLoad
from bench_pipeline.domain.models.model_ref import ModelRef, parse_execution_path
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline_tests.fakes.system import OTHER, OURS, RUNNER, SERVER, FakeSystem
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.world import World

HERE = "http://127.0.0.1:11434"
OLLAMA = parse_execution_path("ollama:qwen2.5:7b")
EMBEDDED = parse_execution_path("llama_cpp:smollm2:135m")
BUSY = {OURS: 0.1, SERVER: 0.2, RUNNER: 1.0, OTHER: 1.5}
GAME = GpuUse(0, "game", 2 * 10**9, 0.8)


def server_on(port: int, **changes: Any) -> FakeSystem:  # noqa: ANN401
    return FakeSystem(**{"cores": dict(BUSY), "ports": {port: {SERVER}}} | changes)


def load_of(system: FakeSystem, model: ModelRef = OLLAMA, ollama_host: str = HERE) -> PassLoad | None:
    machine = Machine(Runtimes(Settings(ollama_host=ollama_host)).address_of, system)
    machine.begin(model)
    return machine.end(3)


# Whose time counts


def test_the_time_of_all_processes_but_ours_and_the_servers_with_its_children_is_others() -> None:
    found = load_of(server_on(11434))
    assert found is not None
    assert (found.repeat, found.other_cores, found.gpu_others) == (3, pytest.approx(1.5), None)


def test_an_embedded_model_has_no_server() -> None:
    found = load_of(FakeSystem({OURS: 2.0, OTHER: 0.4}), EMBEDDED)
    assert found is not None
    assert found.other_cores == pytest.approx(0.4)


def test_a_counter_that_runs_ahead_gives_no_negative_load() -> None:
    system = FakeSystem({OURS: 1.0})
    machine = Machine(Runtimes(Settings(ollama_host=HERE)).address_of, system)
    machine.begin(EMBEDDED)
    system.cores[OURS] = 0.5
    found = machine.end(1)
    assert found is not None
    assert found.other_cores >= 0


def test_a_pass_of_less_than_a_second_is_too_short_to_tell() -> None:
    assert load_of(FakeSystem(step_s=0.9), EMBEDDED) is None
    assert load_of(FakeSystem(step_s=1.0), EMBEDDED) is not None


# Where there is something to see


@pytest.mark.parametrize(
    ("model", "ollama_host", "port"),
    [
        ("ollama:a:1b", "http://127.0.0.1:11434", 11434),
        ("ollama:a:1b", "http://localhost:9999", 9999),
        ("ollama:a:1b", "http://[::1]:9999", 9999),
        ("ollama:a:1b", "localhost", 11434),
        ("ollama:a:1b", "127.0.0.1:9999", 9999),
        ("ollama:a:1b", "0.0.0.0", 11434),  # noqa: S104 - as OLLAMA_HOST may say it; nothing is bound
        ("ollama:a:1b", "http://127.0.0.1", 80),
        ("ollama:a:1b@localhost:9000", "http://gpu-box:11434", 9000),
        ("openai:http://127.0.0.1:8000/v1#m", "http://gpu-box:11434", 8000),
        ("openai:http://LOCALHOST/v1#m", "http://gpu-box:11434", 80),
        ("openai:https://127.9.9.9/v1#m", "http://gpu-box:11434", 443),
    ],
)
def test_a_server_on_this_machine_is_found_by_its_port(model: str, ollama_host: str, port: int) -> None:
    found = load_of(server_on(port), parse_execution_path(model), ollama_host)
    assert found is not None
    assert found.other_cores == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("model", "ollama_host"),
    [
        ("ollama:a:1b", "http://gpu-box:11434"),
        ("ollama:a:1b", "http://192.168.1.7:11434"),
        ("openai:https://api.example.com/v1#m", HERE),
        ("openai:http://10.0.0.1:8000/v1#m", HERE),
    ],
)
def test_of_a_server_elsewhere_nothing_is_recorded(model: str, ollama_host: str) -> None:
    system = server_on(11434, names={"ollama": {SERVER}})
    assert load_of(system, parse_execution_path(model), ollama_host) is None


def test_an_ollama_server_of_another_account_is_found_by_its_name() -> None:
    found = load_of(server_on(1, names={"ollama": {SERVER}}))
    assert found is not None
    assert found.other_cores == pytest.approx(1.5)


@pytest.mark.parametrize("model", ["ollama:a:1b", "openai:http://127.0.0.1:8000/v1#m"])
def test_of_a_server_whose_processes_are_not_found_nothing_is_recorded(model: str) -> None:
    """Its own work would look like that of other programs."""
    assert load_of(server_on(1), parse_execution_path(model)) is None


def test_a_server_is_looked_up_once() -> None:
    system = server_on(11434)
    machine = Machine(Runtimes(Settings(ollama_host=HERE)).address_of, system)
    for number in (1, 2, 3):
        machine.begin(OLLAMA)
        assert machine.end(number) is not None
    assert system.asked.count("port") == 1


def test_a_server_that_was_restarted_is_looked_up_again() -> None:
    system = server_on(11434)
    machine = Machine(Runtimes(Settings(ollama_host=HERE)).address_of, system)
    machine.begin(OLLAMA)
    system.broken.add("used")
    assert machine.end(1) is None
    system.broken.clear()
    machine.begin(OLLAMA)
    assert machine.end(2) is not None
    assert system.asked.count("port") == 2


# It never fails a benchmark


@pytest.mark.parametrize("question", ["now", "busy", "used", "port"])
def test_a_system_that_refuses_to_tell_leaves_the_pass_unrecorded(question: str) -> None:
    assert load_of(server_on(11434, broken={question})) is None


def test_the_driver_is_asked_of_the_seconds_of_the_pass_and_told_which_processes_are_ours() -> None:
    system = server_on(11434)
    load_of(system)
    assert system.gpu_asked == ({OURS, SERVER, RUNNER}, 10.0)


def test_a_driver_that_fails_leaves_the_gpu_unrecorded() -> None:
    found = load_of(server_on(11434, gpu=(GAME,), broken={"gpu"}))
    assert found is not None
    assert found.gpu_others is None


def test_a_pass_that_was_not_begun_has_no_load() -> None:
    assert Machine(Runtimes(Settings(ollama_host=HERE)).address_of, FakeSystem()).end(1) is None


# The real system


def test_the_real_system_counts_the_time_of_this_process_within_that_of_all() -> None:
    system = OperatingSystem()
    busy_s, used_s = system.busy_s(), system.used_s([])
    sum(n * n for n in range(200_000))
    assert 0 < used_s <= system.used_s([])
    assert busy_s <= system.busy_s()
    assert psutil.Process().pid in system.family([])


@pytest.mark.usefixtures("world")
def test_the_real_system_finds_the_process_that_listens(world: World) -> None:
    port = int(world.server.url.rpartition(":")[2])
    assert OperatingSystem().listening_on(port) == {psutil.Process().pid}
    assert OperatingSystem().listening_on(1) == set()


class FakeNvml(SimpleNamespace):
    """The driver's library: two GPUs, one of which counts no use by process."""

    class NVMLError(Exception):
        pass

    def __init__(self, pid: int, fails: bool = False) -> None:
        super().__init__(pid=pid, fails=fails, down=0)

    def nvmlInit(self) -> None:  # noqa: N802
        if self.fails:
            raise self.NVMLError

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.down += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, gpu: int) -> int:  # noqa: N802
        return gpu

    def nvmlDeviceGetComputeRunningProcesses(self, _gpu: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=5 * 10**8) for pid in (self.pid, 2**30)]

    def nvmlDeviceGetProcessUtilization(self, gpu: int, _since_us: int) -> list[SimpleNamespace]:  # noqa: N802
        if gpu == 1:
            raise self.NVMLError
        return [SimpleNamespace(pid=self.pid, smUtil=percent) for percent in (40, 80)]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml(psutil.Process().pid)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_another_process_on_a_gpu_is_named_with_its_memory_and_its_share_of_the_time(nvml: FakeNvml) -> None:
    name = psutil.Process().name()[:60]
    assert OperatingSystem().gpu_use(set(), 10.0) == (
        GpuUse(0, name, 5 * 10**8, pytest.approx(0.6)),  # type: ignore[arg-type]
        GpuUse(1, name, 5 * 10**8, None),
    )
    assert nvml.down == 1


def test_our_own_processes_on_a_gpu_are_not_others(nvml: FakeNvml) -> None:
    assert OperatingSystem().gpu_use({nvml.pid}, 10.0) == ()


def test_without_a_driver_nothing_is_known_of_a_gpu(nvml: FakeNvml) -> None:
    nvml.fails = True
    assert OperatingSystem().gpu_use(set(), 10.0) is None


def test_without_the_package_nothing_is_known_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert OperatingSystem().gpu_use(set(), 10.0) is None


# A benchmark


def watched(world: World, system: FakeSystem, **terms: object) -> str:
    prepared = world.prepared(**terms)
    bench = replace(world.bench, system=system)
    return run_benchmark(bench, prepared, Field(tuple(world.candidates("fast")), frozenset()), world.events.append)


def on_the_fake_server(world: World, **changes: Any) -> FakeSystem:  # noqa: ANN401
    return server_on(int(world.server.url.rpartition(":")[2]), **changes)


def test_every_pass_of_a_benchmark_has_its_load(world: World) -> None:
    benchmark_id = watched(world, on_the_fake_server(world, gpu=(GAME,)), repeats=2)
    ranked = rank_benchmark(world.database, benchmark_id)
    assert ranked.loads == {"fast": [PassLoad(n, pytest.approx(1.5), (GAME,)) for n in (1, 2)]}  # type: ignore[arg-type]
    assert read_ranked(world.database, benchmark_id).loads == ranked.loads


@ONE_ENGINE
@pytest.mark.parametrize("question", ["now", "busy", "used", "port"])
def test_a_benchmark_goes_on_where_nothing_can_be_seen(world: World, question: str) -> None:
    benchmark_id = watched(world, on_the_fake_server(world, broken={question}))
    ranked = rank_benchmark(world.database, benchmark_id)
    assert ranked.scoreboard.champion is not None
    assert ranked.loads == {"fast": []}


@ONE_ENGINE
def test_what_is_stored_of_a_gpu_is_plain_json(world: World) -> None:
    watched(world, on_the_fake_server(world, gpu=(GAME,)))
    ((others,),) = world.rows("benchmark_pass_loads", "gpu_others")
    assert json.loads(json.dumps(others)) == [{"gpu": 0, "process": "game", "memory_bytes": 2 * 10**9, "busy": 0.8}]
