"""Who takes part: every exclusion through real rows and a real socket, and nobody disappears."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from bench_pipeline.benchmark.eligibility import candidates, named_candidates
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SCRIPT
from bench_pipeline_tests.kit.production import actors
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

NEW = 20
ON_THE_SERVER = {
    "huge:latest": FakeModel(size_bytes=40_000_000_000),
    "just:fits": FakeModel(size_bytes=8_000_000_000),
    "vectors:1b": FakeModel(capabilities=("embedding",)),
    "far:away": FakeModel(remote_host="https://ollama.com"),
    "gpt:cloud": FakeModel(),
    "Sees:3b": FakeModel(capabilities=("completion", "vision")),
    "untagged:latest": FakeModel(),
}


def line_of(world: World, actor_id: int = NEW) -> Candidate:
    found: Candidate = only([line for line in world.candidates() if line.actor_id == actor_id])
    return found


@pytest.mark.parametrize(
    ("name", "path", "kind", "enabled", "exclusion", "detail"),
    [
        pytest.param("a", "just:fits", "script", True, Exclusion.TYPE, "'script', not 'ai_model'", id="type"),
        pytest.param("a", "just:fits", "ai_model", False, Exclusion.DISABLED, "not enabled", id="disabled"),
        pytest.param("a", "just:fits", "ai_model", None, Exclusion.DISABLED, "not enabled", id="enabled unknown"),
        pytest.param("a", "ollama:codellama:7b", "ai_model", True, Exclusion.NAME_PATTERN, "BENCH_EXCLUDED_NAMES",
                     id="code only"),
        pytest.param("LLaVA", "ollama:just:fits", "ai_model", True, Exclusion.NAME_PATTERN, "vision", id="vision only"),
        pytest.param("a", "ollama:nomic-embed-text", "ai_model", True, Exclusion.SPECIALIST, "BENCH_SPECIALIST_NAMES",
                     id="embedding by name"),
        pytest.param("a", "ollama:vectors:1b", "ai_model", True, Exclusion.SPECIALIST, "embedding model",
                     id="embedding by what the server says"),
        pytest.param("a", "scripts/run.py", "ai_model", True, Exclusion.UNKNOWN_EXECUTION_PATH, "name a runtime",
                     id="unknown path"),
        pytest.param("a", None, "ai_model", True, Exclusion.UNKNOWN_EXECUTION_PATH, "name a runtime", id="no path"),
        pytest.param("a", "openai:http://example.com/v1#gpt", "ai_model", True, Exclusion.HOST_NOT_ALLOWED,
                     "example.com is not in BENCH_ALLOWED_HOSTS", id="another host"),
        pytest.param("a", "ollama:absent:7b", "ai_model", True, Exclusion.NOT_INSTALLED, "ollama pull absent:7b",
                     id="not installed"),
        pytest.param("a", "ollama:huge", "ai_model", True, Exclusion.TOO_LARGE, "40.0 GB, the limit is 8.0 GB",
                     id="too large by its weights"),
        pytest.param("a", "ollama:absent:70b", "ai_model", True, Exclusion.TOO_LARGE, "70 billion parameters",
                     id="too large by its name, never asked for"),
        pytest.param("a", "ollama:far:away", "ai_model", True, Exclusion.REMOTE, "remote server", id="remote host"),
        pytest.param("a", "ollama:gpt:cloud", "ai_model", True, Exclusion.REMOTE, "remote server", id="cloud tag"),
        pytest.param("a", "just:fits", "ai_model", True, None, "", id="exactly the limit"),
        pytest.param("a", "ollama:untagged", "ai_model", True, None, "", id="the default tag"),
        pytest.param("a", "ollama:sees:3b", "ai_model", True, None, "", id="also sees, case of the name aside"),
    ],
)  # fmt: skip
def test_an_actor_is_eligible_or_excluded_with_its_reason(
    world: World, name: str, path: str | None, kind: str, enabled: bool | None, exclusion: Exclusion | None, detail: str
) -> None:
    world.server.models |= ON_THE_SERVER
    world.add_actor(NEW, name, path, kind, enabled)
    line = line_of(world)
    assert (line.name, line.exclusion, line.eligible) == (name, exclusion, exclusion is None)
    assert detail in line.detail


def test_every_actor_has_exactly_one_line(world: World) -> None:
    for number, path in enumerate(["scripts/run.py", "ollama:absent:7b", None, "llava:7b"], start=NEW):
        world.add_actor(number, f"actor {number}", path)
    with world.database.engine.connect() as connection:
        count = connection.scalar(select(func.count()).select_from(actors))
    lines = world.candidates()
    assert len(lines) == count
    assert sorted(line.actor_id or 0 for line in lines) == [1, 2, 3, 4, 5, 6, 20, 21, 22, 23]


def test_an_eligible_actor_is_known_by_what_the_server_says_of_its_model(world: World) -> None:
    identity = line_of(world, FAST).identity
    assert identity is not None
    assert (identity.digest, identity.size_bytes, identity.runtime_version) == ("sha256:fa", 1_000_000_000, "0.33.0")


@ONE_ENGINE
def test_without_a_server_every_model_is_unavailable_and_none_disappears(world: World) -> None:
    world.server.__exit__()
    lines = world.candidates()
    assert len(lines) == 6
    assert {line.exclusion for line in lines if line.actor_id != SCRIPT} == {Exclusion.RUNTIME_UNAVAILABLE}
    assert all("start it (ollama serve)" in line.detail for line in lines if line.actor_id != SCRIPT)


@ONE_ENGINE
def test_an_allowed_host_is_asked_and_another_never(world: World) -> None:
    world.add_actor(NEW, "own", f"openai:{world.server.url}/v1#fast:1b")
    world.add_actor(NEW + 1, "foreign", f"openai:{world.server.url.replace('127.0.0.1', 'localhost')}/v1#fast:1b")
    settings = world.settings.model_copy(update={"allowed_hosts": "127.0.0.1"})
    with Runtimes(settings) as runtimes:
        found = candidates(replace(world.bench, settings=settings, runtimes=runtimes))
    lines = {line.actor_id: line for line in found}
    assert lines[NEW].eligible
    assert lines[NEW + 1].exclusion is Exclusion.HOST_NOT_ALLOWED


@ONE_ENGINE
@pytest.mark.parametrize(
    ("limit_gb", "eligible"), [(3.9, ["fast"]), (4.0, ["fast", "slow", "wrong", "silent", "broken"])]
)
def test_the_size_limit_is_a_setting(world: World, limit_gb: float, eligible: list[str]) -> None:
    settings = world.settings.model_copy(update={"max_model_gb": limit_gb})
    lines = candidates(replace(world.bench, settings=settings))
    assert [line.name for line in lines if line.eligible] == eligible


@ONE_ENGINE
def test_a_database_without_actors_has_no_candidates(world: World) -> None:
    assert candidates(replace(world.bench, application=None)) == []


# Names


def test_the_second_actor_of_a_name_is_told_apart_by_its_id(world: World) -> None:
    world.add_actor(NEW, "fast", "ollama:slow:7b")
    world.add_actor(NEW + 1, "fast", "ollama:wrong:3b")
    names = [line.name for line in world.candidates()]
    assert names[0] == "fast"
    assert names[-2:] == ["fast (actor 20)", "fast (actor 21)"]


def test_two_actors_of_a_name_are_measured_and_ranked_each_for_itself(world: World) -> None:
    world.add_actor(NEW, "fast", "ollama:slow:7b")
    ranked = world.ranked("fast", "wrong")
    assert [r.model for r in ranked.scoreboard.ranked] == ["fast"]
    everyone = {r.model: r.actor_id for r in world.ranked().scoreboard.ranked}
    assert everyone == {"fast": FAST, "slow": 2, "fast (actor 20)": NEW}


def test_an_actor_without_a_name_takes_part_under_its_id(world: World) -> None:
    world.add_actor(NEW, None, "ollama:fast:1b")
    assert line_of(world).name == f"actor {NEW}"
    assert f"actor {NEW}" in {result.model for result in world.ranked().scoreboard.ranked}


# Candidates that are named


@pytest.mark.parametrize(
    ("name", "actor_id", "path", "exclusion"),
    [
        pytest.param("fast", FAST, "ollama:fast:1b", None, id="an actor"),
        pytest.param("fast:1b", None, "ollama:fast:1b", None, id="a model of the server that is no actor's name"),
        pytest.param("ollama:fast:1b", None, "ollama:fast:1b", None, id="an execution path"),
        pytest.param("untagged", None, "ollama:untagged:latest", None, id="a model without its tag"),
        pytest.param("ticket.py", SCRIPT, None, Exclusion.TYPE, id="an actor that may not take part"),
        pytest.param("absent", None, "ollama:absent:latest", Exclusion.NOT_INSTALLED, id="unknown everywhere"),
        pytest.param("no such name!", None, None, Exclusion.UNKNOWN_EXECUTION_PATH, id="no possible name"),
        pytest.param("openai:nonsense", None, None, Exclusion.UNKNOWN_EXECUTION_PATH, id="half a path"),
        pytest.param("huge", None, "ollama:huge:latest", Exclusion.TOO_LARGE, id="too large"),
    ],
)
@ONE_ENGINE
def test_a_name_is_an_actor_or_else_a_model_that_is_measured_and_never_promoted(
    world: World, name: str, actor_id: int | None, path: str | None, exclusion: Exclusion | None
) -> None:
    world.server.models |= ON_THE_SERVER
    line = only(world.candidates(name))
    assert (line.name, line.actor_id, line.exclusion) == (name, actor_id, exclusion)
    assert (line.ref.execution_path if line.ref else None) == path


@ONE_ENGINE
def test_named_candidates_come_in_the_order_of_the_names_each_once(world: World) -> None:
    assert [line.name for line in world.candidates("wrong", "fast", "wrong")] == ["wrong", "fast"]


@ONE_ENGINE
def test_models_can_be_named_without_any_production_database(world: World) -> None:
    lines = named_candidates(replace(world.bench, application=None), ["fast:1b", "fast"])
    assert [(line.name, line.actor_id, line.eligible) for line in lines] == [
        ("fast:1b", None, True),
        ("fast", None, False),
    ]


@ONE_ENGINE
def test_asking_changes_nothing(world: World) -> None:
    before = world.snapshot()
    first, second = world.candidates(), world.candidates()
    assert first == second
    assert world.snapshot() == before
