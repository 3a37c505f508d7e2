"""What the models run on changed: hardware, or the version of a server. What is unknown is no change."""

from __future__ import annotations

from datetime import UTC, datetime

from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding
from bench_pipeline.operation.causes.server_changed import find_server_changed
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import BROKEN
from bench_pipeline_tests.kit.tasks import GRADE_A
from bench_pipeline_tests.kit.world import World

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def found_in(world: World) -> list[Finding]:
    return find_server_changed(world.bench, "grading", world.candidates(), NOW)


def on_hardware(world: World, name: str) -> None:
    """What an operator states after the machine was changed."""
    world.configure(server_hardware={"127.0.0.1": name})


def localhost(server: FakeOllama) -> str:
    """The address of a server of this machine under another name, for which other hardware can be stated."""
    return server.url.replace("127.0.0.1", "localhost")


def with_version(world: World, version: str) -> None:
    world.server.version = version
    world.configure()  # another process, which has not listed the models yet


def test_other_hardware_measures_everything_again_what_production_uses_first(world: World) -> None:
    on_hardware(world, "RTX 4090")
    world.run("fast", "slow")
    assert found_in(world) == []

    on_hardware(world, "H200")

    (finding,) = found_in(world)
    assert (finding.cause, finding.cause.action, finding.subject) == (Cause.SERVER_CHANGED, Action.MEASURE, "hardware")
    assert finding.why == (
        "the hardware changed: server H200 instead of RTX 4090; what production uses is measured first"
    )
    assert finding.models == ("slow", "fast", "wrong", "silent", "broken")


@ONE_ENGINE
def test_champion_and_runner_up_follow_the_incumbents(world: World) -> None:
    world.promoted()
    world.give(GRADE_A, BROKEN)
    on_hardware(world, "H200")

    (finding,) = found_in(world)

    assert finding.models == ("fast", "broken", "slow", "wrong", "silent")


@ONE_ENGINE
def test_hardware_that_was_measured_is_no_cause_and_hardware_that_comes_back_neither(world: World) -> None:
    on_hardware(world, "RTX 4090")
    world.run("slow")
    on_hardware(world, "H200")
    (first,) = found_in(world)
    world.run("slow")
    assert found_in(world) == []
    on_hardware(world, "RTX 4090")
    assert found_in(world) == []

    on_hardware(world, "H300")
    (second,) = found_in(world)

    assert first.evidence != second.evidence


@ONE_ENGINE
def test_another_version_of_the_server_measures_the_measured_models_again_until_each_was(world: World) -> None:
    with_version(world, "0.12.6")
    world.run("fast", "slow")

    with_version(world, "0.13.0")
    (finding,) = found_in(world)
    assert (finding.subject, finding.models) == (world.server.url, ("slow", "fast"))
    assert finding.why.startswith(f"{world.server.url} has version 0.13.0 instead of 0.12.6; what production uses")

    world.run("slow")
    (rest,) = found_in(world)
    assert rest.models == ("fast",)

    world.run("fast")
    assert found_in(world) == []
    with_version(world, "0.13.1")
    (next_one,) = found_in(world)
    assert next_one.evidence != finding.evidence


@ONE_ENGINE
def test_each_server_is_a_cause_of_its_own(world: World) -> None:
    with FakeOllama({"other:1b": FakeModel()}) as second:
        world.add_actor(20, "other", f"ollama:other:1b@{second.url}")
        world.run("slow", "other")
        second.version = "99.0"
        world.configure()

        (finding,) = found_in(world)

        assert (finding.subject, finding.models) == (second.url, ("other",))


@ONE_ENGINE
def test_a_server_that_does_not_answer_is_unknown_and_not_changed(world: World) -> None:
    on_hardware(world, "RTX 4090")
    world.run("fast", "slow")
    with FakeOllama({"other:1b": FakeModel()}) as elsewhere:
        world.add_actor(20, "other", f"ollama:other:1b@{localhost(elsewhere)}")
        world.server.broken |= {"/api/version", "/api/tags"}
        world.server.version = "99.0"
        world.configure(server_hardware={"127.0.0.1": "RTX 4090", "localhost": "laptop"})

        assert [one.name for one in world.candidates() if one.eligible] == ["other"]
        assert found_in(world) == []


@ONE_ENGINE
def test_new_hardware_beside_that_of_the_incumbents_is_no_change(world: World) -> None:
    on_hardware(world, "RTX 4090")
    world.run("fast", "slow")
    with FakeOllama({f"m{n}:1b": FakeModel() for n in range(9)}) as elsewhere:
        for n in range(9):
            world.add_actor(20 + n, f"m{n}", f"ollama:m{n}:1b@{localhost(elsewhere)}")
        world.configure(server_hardware={"127.0.0.1": "RTX 4090", "localhost": "laptop"})
        assert found_in(world) == []


@ONE_ENGINE
def test_a_task_that_changed_too_is_not_measured_for_its_server(world: World) -> None:
    on_hardware(world, "RTX 4090")
    world.run("slow")
    world.set_template(GRADE_A, "Judge {summary} by {posting}.")
    on_hardware(world, "H200")
    assert found_in(world) == []


@ONE_ENGINE
def test_a_task_that_was_never_measured_is_left_to_a_person(world: World) -> None:
    assert found_in(world) == []
