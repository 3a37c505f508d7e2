"""Asking the runtimes who their models are: what a dead, slow or loading server costs the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bench_pipeline.benchmark.describing import identities
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind, ollama_ref
from bench_pipeline.runtimes import deadline
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline_tests.fakes.recorded_server import Recorded, RecordedServer, silent_port
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.world import World

MANY = 500
LOADING = Recorded({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, 503)
LISTED = {"data": [{"id": f"m{number}"} for number in range(MANY)]}


def openai_refs(url: str, count: int = MANY) -> list[ModelRef]:
    return [ModelRef(RuntimeKind.OPENAI_COMPATIBLE, f"m{number}", f"{url}/v1") for number in range(count)]


@dataclass
class Scripted:
    """A runtime at the edge: what `describe` does, and how often it was asked."""

    act: Callable[[ModelRef], ModelIdentity]
    asked: list[str] = field(default_factory=list)

    def describe(self, model: ModelRef) -> ModelIdentity:
        self.asked.append(model.address)
        return self.act(model)


class ScriptedRuntimes(Runtimes):
    """The runtimes of a test, by the address of their server."""

    def __init__(self, runtimes: dict[str, Scripted]) -> None:
        super().__init__(Settings())
        self.runtimes = runtimes

    def _make(self, model: ModelRef) -> Scripted:  # type: ignore[override]
        return self.runtimes[model.base_url or ""]


def fails(kind: FailureKind) -> Callable[[ModelRef], ModelIdentity]:
    def act(model: ModelRef) -> ModelIdentity:
        raise RuntimeFailure(kind, f"{model.address} failed")

    return act


@pytest.mark.parametrize(
    "kind", [FailureKind.UNAVAILABLE, FailureKind.DEADLINE, FailureKind.CONNECTION_LOST, FailureKind.BUSY]
)
def test_a_server_that_fails_is_asked_once_and_all_its_models_get_the_reason(kind: FailureKind) -> None:
    """dagster-io/dagster #14830: a tick that asks a dead server for each of 13 actors never ends."""
    down = Scripted(fails(kind))
    refs = [ollama_ref(f"m{number}:1b") for number in range(MANY)]
    found = identities(refs, ScriptedRuntimes({"": down}), 0.0)
    assert down.asked == ["m0:1b"]
    assert {str(found[ref]) for ref in refs} == {"m0:1b failed"}


@pytest.mark.parametrize("kind", [FailureKind.NOT_FOUND, FailureKind.SERVER_ERROR, FailureKind.BAD_RESPONSE])
def test_a_failure_of_one_model_is_none_of_the_next(kind: FailureKind) -> None:
    server = Scripted(fails(kind))
    refs = [ollama_ref("a:1b"), ollama_ref("b:1b")]
    assert [str(one) for one in identities(refs, ScriptedRuntimes({"": server}), 0.0).values()] == [
        "a:1b failed",
        "b:1b failed",
    ]


def test_servers_are_asked_side_by_side() -> None:
    """Each waits until the other one has been asked, which never happens one after the other."""
    meeting = threading.Barrier(2, timeout=30)

    def meet(model: ModelRef) -> ModelIdentity:
        meeting.wait()
        return ModelIdentity(name=model.address, runtime="openai")

    refs = [ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "m", url) for url in ("http://a/v1", "http://b/v1")]
    found = identities(refs, ScriptedRuntimes({"http://a/v1": Scripted(meet), "http://b/v1": Scripted(meet)}), 0.0)
    assert all(isinstance(found[ref], ModelIdentity) for ref in refs)


def test_a_model_that_two_actors_call_is_described_once() -> None:
    server = Scripted(lambda model: ModelIdentity(name=model.address, runtime="ollama"))
    identities([ollama_ref("a:1b")] * 3, ScriptedRuntimes({"": server}), 0.0)
    assert server.asked == ["a:1b"]


@pytest.mark.parametrize("open_runtime", [OllamaRuntime, lambda url: OpenAICompatibleRuntime(f"{url}/v1", None)])
def test_a_server_that_takes_the_connection_and_hangs_fails_within_the_limit_for_a_list(
    open_runtime: Callable[[str], OllamaRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    sending = deadline.TotalTimeoutTransport.handle_request

    def noted(self: deadline.TotalTimeoutTransport, request: object) -> object:
        limits.append(request.extensions["timeout"]["read"])  # type: ignore[attr-defined]
        request.extensions["timeout"]["read"] = 0.1  # type: ignore[attr-defined]
        return sending(self, request)  # type: ignore[arg-type]

    monkeypatch.setattr(deadline.TotalTimeoutTransport, "handle_request", noted)
    with (
        silent_port() as port,
        open_runtime(f"http://127.0.0.1:{port}") as runtime,
        pytest.raises(RuntimeFailure) as caught,
    ):
        runtime.describe(ollama_ref("m:1b"))
    assert caught.value.kind is FailureKind.DEADLINE
    assert len(limits) == 1
    assert max(limits) <= deadline.LISTING_LIMIT_S < 10
    assert deadline.CONNECT_LIMIT_S < 10


# Servers that say "not yet"


def test_a_server_that_loads_is_waited_for_while_there_is_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_pipeline.runtimes.failures.LOADING_PAUSE_S", 0.01)
    with RecordedServer({"/v1/models": [LOADING, Recorded(LISTED)]}) as server:
        refs = openai_refs(server.url, 2)
        with Runtimes(Settings(allowed_hosts="127.0.0.1")) as runtimes:
            found = identities(refs, runtimes, patience_s=5.0)
    assert [found[ref].name for ref in refs] == ["m0", "m1"]  # type: ignore[union-attr]


def test_without_patience_a_server_that_loads_is_asked_once() -> None:
    """The list of all models and a sensor's tick stay quick."""
    with RecordedServer({"/v1/models": LOADING}) as server:
        with Runtimes(Settings(allowed_hosts="127.0.0.1")) as runtimes:
            found = identities(openai_refs(server.url), runtimes, patience_s=0.0)
        assert server.paths() == ["/v1/models"]
    assert {one.kind for one in found.values()} == {FailureKind.BUSY}  # type: ignore[union-attr]


def test_a_server_that_asks_for_more_than_there_is_patience_is_not_waited_for() -> None:
    with RecordedServer({"/v1/models": Recorded("", 429, {"Retry-After": "3600"})}) as server:
        with Runtimes(Settings(allowed_hosts="127.0.0.1")) as runtimes:
            identities(openai_refs(server.url, 2), runtimes, patience_s=600.0)
        assert server.paths() == ["/v1/models"]


# One bad address


@ONE_ENGINE
@pytest.mark.parametrize(
    "path",
    [
        "openai:http://[::1/v1#m",
        "openai:http://host:port/v1#m",
        "openai:http://user:pa[ss@host/v1#m",
        "ollama:m:1b@http://[::1",
        "ollama:m:1b@host:99999",
    ],
)
def test_a_malformed_address_excludes_its_actor_and_no_other(world: World, path: str) -> None:
    """cheshire-cat-ai/core #1032; python/cpython: `urlsplit` raises ValueError for a bracket without its partner."""
    before = {line.actor_id: line for line in world.candidates()}
    world.add_actor(20, "odd", path)
    after = {line.actor_id: line for line in world.candidates()}
    assert after.pop(20).exclusion is Exclusion.UNKNOWN_EXECUTION_PATH
    assert after == before
