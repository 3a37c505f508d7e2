"""Several hosts: models are distributed, ranked only on equal machines, and move when a host is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from bench_pipeline.benchmark.accelerators import lock_of
from bench_pipeline.benchmark.events import (
    Event,
    FinalOmitted,
    FinalPass,
    HostSkipped,
    HostStopped,
    ModelFinished,
    ModelStarted,
    OnHost,
    SampleTaken,
)
from bench_pipeline.benchmark.measurement import MeasurementRequest, measure
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.storage.locks import LockTaken, this_host
from bench_pipeline_tests.fakes.ollama_server import FakeModel, FakeOllama
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import fake_models
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import CASES
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

MODELS = tuple(f"m{number:02d}:1b" for number in range(20))
AMPLE_S = 60


def alike(names: tuple[str, ...], latency_ms: float = 1.0) -> dict[str, FakeModel]:
    """Models that are right in every case, each with weights of its own."""
    right = fake_models()["fast:1b"]
    return {name: replace(right, digest=f"sha256:{name}", latency_ms=latency_ms) for name in names}


@pytest.fixture
def hosts(world: World) -> Iterator[dict[str, FakeOllama]]:
    """Two named hosts with the same twenty models."""
    with FakeOllama(alike(MODELS)) as one, FakeOllama(alike(MODELS)) as two:
        servers = {"gpu1": one, "gpu2": two}
        name_hosts(world, servers)
        yield servers


def name_hosts(world: World, servers: dict[str, FakeOllama], **changes: object) -> None:
    stated = ",".join(f"{name}={server.url}" for name, server in servers.items())
    world.configure(ollama_hosts=SecretStr(stated), **changes)


def measured(
    world: World, *names: str, on_event: Callable[[Event], None] | None = None, **terms: object
) -> RankedBenchmark:
    request = MeasurementRequest("grading", names or MODELS, terms={"final_passes": 0} | terms)
    return measure(world.bench, request, on_event or world.events.append)


def told(world: World, kind: type[Event]) -> list[tuple[str, Event]]:
    """The events of this kind with their hosts."""
    return [(one.host, one.event) for one in world.events if isinstance(one, OnHost) and isinstance(one.event, kind)]


def calls(server: FakeOllama) -> int:
    return sum(bool(record.body["messages"]) for record in server.requests("/api/chat"))


def hosts_of_runs(world: World) -> dict[str, str]:
    return dict(world.rows("benchmark_model_runs", "model_name", "host"))


# The models are distributed


def test_every_model_is_measured_once_and_both_hosts_take_models(world: World, hosts: dict[str, FakeOllama]) -> None:
    ranked = measured(world)
    assert {result.model for result in ranked.scoreboard.ranked} == set(MODELS)
    assert len(world.rows("benchmark_samples", "case_id")) == len(MODELS) * len(CASES)
    assert set(hosts_of_runs(world).values()) == {"gpu1", "gpu2"}
    for name, server in hosts.items():
        taken = [model for model, host in hosts_of_runs(world).items() if host == name]
        assert {record.model for record in server.requests("/api/chat") if record.body["messages"]} == set(taken)


def test_the_hosts_measure_at_the_same_time(world: World, hosts: dict[str, FakeOllama]) -> None:
    """Each host's first call is answered only when the other has one as well."""
    both = threading.Barrier(2)

    def meet(prompt: str) -> str:
        both.wait(AMPLE_S)
        return fake_models()["fast:1b"].reply_to(prompt)

    for server in hosts.values():
        for model in server.models.values():
            model.answers = meet
    assert len(measured(world, *MODELS[:2]).scoreboard.ranked) == 2


def test_the_events_are_told_one_at_a_time_in_the_callers_thread_with_their_host(
    world: World, hosts: dict[str, FakeOllama]
) -> None:
    threads = set()

    def listen(event: Event) -> None:
        threads.add(threading.get_ident())
        world.events.append(event)

    measured(world, *MODELS[:4], on_event=listen)
    assert threads == {threading.get_ident()}
    assert {event.model: host for host, event in told(world, ModelStarted)} == hosts_of_runs(world)
    assert len(told(world, SampleTaken)) == 4 * len(CASES)


def test_a_model_that_one_host_has_goes_there_first(world: World, hosts: dict[str, FakeOllama]) -> None:
    del hosts["gpu1"].models["m03:1b"]
    measured(world, *MODELS[:4])
    first = next(event.model for host, event in told(world, ModelStarted) if host == "gpu2")
    assert (first, hosts_of_runs(world)["m03:1b"]) == ("m03:1b", "gpu2")


@ONE_ENGINE
def test_a_model_named_with_its_host_stays_there(world: World, hosts: dict[str, FakeOllama]) -> None:
    measured(world, *(f"ollama:{name}@gpu2" for name in MODELS[:3]))
    assert set(hosts_of_runs(world).values()) == {"gpu2"}
    assert calls(hosts["gpu1"]) == 0


@ONE_ENGINE
def test_a_pattern_stands_for_the_models_of_all_hosts(world: World, hosts: dict[str, FakeOllama]) -> None:
    del hosts["gpu1"].models["m00:1b"]
    del hosts["gpu2"].models["m01:1b"]
    assert len(measured(world, "ollama:m0[01]*").scoreboard.ranked) == 2


@ONE_ENGINE
def test_a_race_keeps_a_model_on_its_host(world: World, hosts: dict[str, FakeOllama]) -> None:
    measured(world, *MODELS[:4], strategy="race", repeats=2)
    of_model: dict[str, set[str]] = {}
    for host, event in told(world, SampleTaken):
        of_model.setdefault(event.model, set()).add(host)
    assert set(map(len, of_model.values())) == {1}


# Nothing is ranked across fingerprints


@ONE_ENGINE
@pytest.mark.parametrize("differ", ["hardware", "version"])
def test_a_host_that_differs_is_left_out_and_its_own_models_are_excluded(
    world: World, hosts: dict[str, FakeOllama], differ: str
) -> None:
    """The benchmark is that of the machines that have most of the models."""
    hosts["gpu2"].models = alike(("m00:1b", "only:1b"))
    if differ == "hardware":
        name_hosts(world, hosts, server_hardware={"gpu1": "RTX 4090", "gpu2": "RTX 3060"})
        why = "it is RTX 3060 with Ollama 0.33.0; this benchmark ranks models on RTX 4090 with Ollama 0.33.0"
    else:
        hosts["gpu2"].version = "0.34.0"
        name_hosts(world, hosts, server_hardware={"gpu1": "RTX 4090", "gpu2": "RTX 4090"})
        why = "it is RTX 4090 with Ollama 0.34.0; this benchmark ranks models on RTX 4090 with Ollama 0.33.0"
    ranked = measured(world, *MODELS[:3], "only:1b")
    assert hosts_of_runs(world) == dict.fromkeys(MODELS[:3], "gpu1")
    assert [event for event in world.events if isinstance(event, HostSkipped)] == [HostSkipped("gpu2", why)]
    excluded = only([one for one in ranked.excluded if one.model == "only:1b"])
    assert excluded.exclusion is Exclusion.OTHER_HARDWARE
    assert excluded.detail.startswith("it runs on gpu2: RTX 3060" if differ == "hardware" else "it runs on gpu2: RTX")


@ONE_ENGINE
def test_a_model_whose_weights_differ_is_measured_where_the_first_host_has_it(
    world: World, hosts: dict[str, FakeOllama]
) -> None:
    hosts["gpu2"].models["m00:1b"].digest = "sha256:pulled-later"
    measured(world, "m00:1b", "m01:1b")
    assert hosts_of_runs(world)["m00:1b"] == "gpu1"
    skipped = HostSkipped("gpu2", "its m00:1b is not that of gpu1; pull it again on both")
    assert [event for event in world.events if isinstance(event, HostSkipped)] == [skipped]


# A host is lost


def lost_after(server: FakeOllama, samples: int) -> Callable[[World, str], Callable[[Event], None]]:
    """A listener that ends the server once it answered so many cases."""

    def listener(world: World, host: str) -> Callable[[Event], None]:
        left = iter(range(samples - 1, -1, -1))

        def listen(event: Event) -> None:
            world.events.append(event)
            mine = isinstance(event, OnHost) and event.host == host and isinstance(event.event, SampleTaken)
            if mine and next(left, None) == 0:
                server.__exit__()

        return listen

    return listener


@pytest.mark.parametrize("samples", [6, 7, 8], ids=lambda samples: f"after {samples} of 4 a model")
def test_the_models_of_a_lost_host_move_to_the_other_and_none_is_measured_twice(
    world: World, hosts: dict[str, FakeOllama], samples: int
) -> None:
    world.configure(retry_pause_s=0.0)
    ranked = measured(world, on_event=lost_after(hosts["gpu2"], samples)(world, "gpu2"))
    assert {result.model for result in ranked.scoreboard.ranked} == set(MODELS)
    assert len(world.rows("benchmark_samples", "case_id")) == len(MODELS) * len(CASES)
    assert [event.host for event in world.events if isinstance(event, HostStopped)] == ["gpu2"]
    finished = [event.model for _, event in told(world, ModelFinished)]
    assert sorted(finished) == sorted(MODELS)
    assert "gpu2" in hosts_of_runs(world).values()


@ONE_ENGINE
def test_a_model_that_no_other_host_has_waits_with_the_reason(world: World, hosts: dict[str, FakeOllama]) -> None:
    world.configure(retry_pause_s=0.0)
    for name in MODELS[1:4]:
        del hosts["gpu1"].models[name]
    hosts["gpu2"].models["m02:1b"].latency_ms = 100.0  # the listener hears of its first call long before the last
    ranked = measured(world, *MODELS[:4], on_event=lost_after(hosts["gpu2"], 5)(world, "gpu2"))
    standings = {result.model: result.standing for result in ranked.scoreboard.results}
    assert standings == {
        "m00:1b": Standing.QUALIFIED,
        "m01:1b": Standing.QUALIFIED,
        "m02:1b": Standing.INCONCLUSIVE,
        "m03:1b": Standing.INCONCLUSIVE,
    }
    reasons = {result.reason for result in ranked.scoreboard.results if result.reason}
    assert only(reasons).startswith("gpu2: ")
    assert only(reasons).endswith("; no other host has it, run the benchmark again when one answers")


@ONE_ENGINE
def test_a_host_that_is_down_from_the_start_is_left_out(world: World, hosts: dict[str, FakeOllama]) -> None:
    hosts["gpu2"].__exit__()
    measured(world, *MODELS[:2])
    assert set(hosts_of_runs(world).values()) == {"gpu1"}
    skipped = only(event for event in world.events if isinstance(event, HostSkipped))
    assert skipped.host == "gpu2"
    assert "no Ollama server answers at" in skipped.why


class Interruption(Exception):
    """What a person's Ctrl-C is."""


def test_an_interrupted_benchmark_goes_on_where_its_models_began(world: World, hosts: dict[str, FakeOllama]) -> None:
    left = iter(range(5, -1, -1))

    def interrupt(event: Event) -> None:
        if isinstance(event, OnHost) and isinstance(event.event, SampleTaken) and next(left) == 0:
            raise Interruption

    with pytest.raises(Interruption):
        measured(world, *MODELS[:6], on_event=interrupt)
    before = world.rows("benchmark_samples", "sample_id", "case_id")
    measured(world, *MODELS[:6])
    assert set(before) <= set(world.rows("benchmark_samples", "sample_id", "case_id"))
    assert len(world.rows("benchmark_samples", "case_id")) == 6 * len(CASES)


# The anchor


@ONE_ENGINE
def test_each_host_measures_the_anchor_first_and_last(world: World, hosts: dict[str, FakeOllama]) -> None:
    measured(world, *MODELS[:2], anchor="m05:1b")
    names = [f"m05:1b (anchor, {when}, {host})" for when in ("first", "last") for host in hosts]
    rows = world.rows("benchmark_model_runs", "model_name", "host", "role")
    assert sorted(row for row in rows if row[2] != "candidate") == sorted(
        (name, name[-5:-1], "anchor_first" if "first" in name else "anchor_last") for name in names
    )


@ONE_ENGINE
def test_a_lost_host_cannot_show_that_it_did_not_drift(world: World, hosts: dict[str, FakeOllama]) -> None:
    world.configure(retry_pause_s=0.0)
    lost = lost_after(hosts["gpu2"], len(CASES) + 1)(world, "gpu2")
    ranked = measured(world, *MODELS[:6], anchor="m05:1b", on_event=lost)
    assert "gpu2 was lost before the anchor was measured there again" in (ranked.scoreboard.invalid or "")


# The final


def actors_on_hosts(world: World, hosts: dict[str, FakeOllama]) -> None:
    """`fast` and the incumbent `slow` on both hosts."""
    for server in hosts.values():
        server.models |= fake_models()


@ONE_ENGINE
def test_the_final_is_on_one_host(world: World, hosts: dict[str, FakeOllama]) -> None:
    actors_on_hosts(world, hosts)
    measured(world, "fast", "slow", final_passes=4)
    assert len({host for host, _ in told(world, FinalPass)}) == 1
    final = {host for host, event in told(world, SampleTaken) if event.sample.repeat > 1}
    assert set(world.rows("benchmark_model_runs", "final_host")) == {(only(final),)}


@ONE_ENGINE
def test_a_final_whose_host_is_lost_begins_anew_on_the_other(world: World, hosts: dict[str, FakeOllama]) -> None:
    actors_on_hosts(world, hosts)
    world.configure(retry_pause_s=0.0)
    ended: list[str] = []

    def listen(event: Event) -> None:
        world.events.append(event)
        if isinstance(event, OnHost) and isinstance(event.event, FinalPass) and event.event.number == 2 and not ended:
            ended.append(event.host)
            hosts[event.host].__exit__()

    measured(world, "fast", "slow", final_passes=4, on_event=listen)
    passes = [(host, event.number) for host, event in told(world, FinalPass)]
    lost, other = passes[0][0], passes[-1][0]
    assert passes == [(lost, 1), (lost, 2), *((other, number) for number in range(1, passes[-1][1] + 1))]
    assert lost != other
    assert set(world.rows("benchmark_model_runs", "final_host", "failure")) == {(other, None)}


@ONE_ENGINE
def test_no_final_is_held_between_hosts(world: World, hosts: dict[str, FakeOllama]) -> None:
    actors_on_hosts(world, hosts)
    del hosts["gpu1"].models["fast:1b"]
    del hosts["gpu2"].models["slow:7b"]
    measured(world, "fast", "slow", final_passes=4)
    omitted = only(event for event in world.events if isinstance(event, FinalOmitted))
    assert "fast is on gpu2; slow is on gpu1" in omitted.why or "slow is on gpu1; fast is on gpu2" in omitted.why
    assert told(world, FinalPass) == []


# One benchmark per accelerator


def test_a_host_that_another_benchmark_uses_is_refused_and_a_host_of_its_own_is_not(
    world: World, hosts: dict[str, FakeOllama]
) -> None:
    on = {host: world.candidates(f"ollama:m00:1b@{host}") for host in hosts}
    with world.database.exclusive(lock_of(world.bench, on["gpu2"])):
        with pytest.raises(LockTaken):
            measured(world, "m00:1b")
        if world.promoter_url is not None:  # one benchmark at a time writes into a file of SQLite
            measured(world, "ollama:m00:1b@gpu1")


@ONE_ENGINE
@pytest.mark.parametrize(
    ("path", "places"),
    [
        pytest.param("ollama:fast:1b", ["{here}", "{here}:{default}"], id="the one server of this machine"),
        pytest.param("ollama:m00:1b@gpu2", ["{here}:{gpu2}"], id="a named host on this machine"),
        pytest.param("ollama:a:1b@box.example:9", ["box.example", "box.example:9"], id="an address elsewhere"),
        pytest.param("openai:http://localhost:8000/v1#m", ["{here}", "{here}:8000"], id="another server"),
        pytest.param("llama_cpp:a.gguf", ["{here}"], id="a model in this process"),
    ],
)
def test_the_lock_is_one_per_server_by_the_name_that_every_host_knows(
    world: World, hosts: dict[str, FakeOllama], path: str, places: list[str]
) -> None:
    """A server without a name may share the accelerator of its machine with others, so the machine is a place too."""
    if path == "ollama:fast:1b":
        name_hosts(world, {})
    ports = {name: server.url.rpartition(":")[2] for name, server in hosts.items()}
    ports["default"] = world.server.url.rpartition(":")[2]
    (line,) = world.candidates(path)
    lock = lock_of(world.bench, [replace(line, exclusion=None)])
    assert lock.keys == tuple(f"benchmark on {place.format(here=this_host(), **ports)}" for place in sorted(places))


@ONE_ENGINE
def test_the_guide_can_be_followed(
    world: World, hosts: dict[str, FakeOllama], typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/how-to/scale-out.md, with hosts of this machine."""
    actors_on_hosts(world, hosts)
    monkeypatch.setenv("BENCH_OLLAMA_HOSTS", ",".join(f"{name}={server.url}" for name, server in hosts.items()))
    monkeypatch.setenv("BENCH_SERVER_HARDWARE", '{"gpu1": "RTX 4090, 24 GB", "gpu2": "RTX 4090, 24 GB"}')
    doctor = typed("doctor").stdout
    assert all(f"{server.url} answers, 25 models installed" in doctor for server in hosts.values())
    run = typed("run", "--task", "grading", "--models", "fast,ollama:m00:1b@gpu1,ollama:m00:1b@gpu2")
    assert run.returncode == 0
    assert {"gpu1 │ ", "gpu2 │ "} == {line[:7] for line in run.stdout.splitlines() if " │ " in line}
    hosts["gpu2"].__exit__()
    again = typed("run", "--task", "grading", "--reuse").stdout
    assert f"host gpu2 is left out: no Ollama server answers at {hosts['gpu2'].url}; start it" in again
    assert "or set BENCH_OLLAMA_HOSTS\n" in again


@ONE_ENGINE
def test_without_names_nothing_changes(world: World) -> None:
    measured(world, "fast")
    assert not any(isinstance(event, OnHost) for event in world.events)
    assert set(world.rows("benchmark_model_runs", "execution_path", "host")) == {
        ("ollama:fast:1b", None),
        ("ollama:slow:7b", None),
    }
    with pytest.raises(GateFailed, match="nowhere"):
        measured(world, "ollama:fast:1b@nowhere")
