"""Who meets in a benchmark: the chosen ones, the incumbents, the anchor, and whoever must be measured again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.field import Field, field_of, fresh_enough, incumbent_models
from bench_pipeline.benchmark.model_patterns import expanded
from bench_pipeline.benchmark.ranking import rank_benchmark
from bench_pipeline.benchmark.runner import run_benchmark
from bench_pipeline.domain.errors import InputError
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, REGRADE
from bench_pipeline_tests.kit.world import World

ALL = ("fast", "slow", "wrong", "silent", "broken")


def field(world: World, *names: str, **protocol: str) -> Field:
    prepared = world.prepared()
    prepared = prepared.with_terms(**protocol)
    return field_of(world.bench, world.candidates(*names), prepared)


def test_the_incumbent_of_the_task_is_measured_with_whoever_is_chosen(world: World) -> None:
    chosen = field(world, "fast", "wrong")
    assert [candidate.name for candidate in chosen.candidates] == ["fast", "wrong", "slow"]
    assert chosen.incumbents == {"slow"}


def test_every_conversation_has_its_incumbent_and_each_is_measured_once(world: World) -> None:
    world.give(GRADE_A, FAST)
    world.give(REGRADE, None)
    assert incumbent_models(world.bench, world.prepared().task) == ["fast", "slow"]
    chosen = field(world, "slow")
    assert [candidate.name for candidate in chosen.candidates] == ["slow", "fast"]
    assert chosen.incumbents == {"slow", "fast"}


def test_without_production_there_is_no_incumbent(world: World) -> None:
    assert incumbent_models(replace(world.bench, application=None), world.prepared().task) == []


def test_nobody_is_added_to_a_choice_of_which_nobody_can_be_measured(world: World) -> None:
    assert [candidate.name for candidate in field(world, "absent").candidates] == ["absent"]


def test_the_anchor_may_be_an_actor_or_a_model_of_the_server(world: World) -> None:
    for name in ("fast", "fast:1b"):
        anchor = field(world, "wrong", anchor=name).anchor
        assert anchor is not None
        assert anchor.eligible


def test_an_anchor_that_cannot_be_measured_is_named(world: World) -> None:
    with pytest.raises(InputError, match=r"BENCH_ANCHOR: absent cannot be measured: .*not installed"):
        field(world, "wrong", anchor="absent")


# Reuse


def test_what_was_measured_under_the_same_evidence_need_not_run_again_but_for_the_incumbent(world: World) -> None:
    world.run("fast", "slow", "wrong")
    again = field(world)
    fresh = fresh_enough(world.database, world.evidence_key, again, reuse_days=1)
    assert fresh.keys() == {"fast", "wrong"}
    assert [c.name for c in again.reusing(fresh).candidates if c.eligible] == ["slow", "silent", "broken"]


def change_the_weights(world: World) -> None:
    world.server.models["fast:1b"].digest = "sha256:new"


def change_the_server(world: World) -> None:
    world.server.version = "0.34.0"


def change_the_prompt(world: World) -> None:
    world.set_template(GRADE_A, "Now judge {summary} by {posting}")


@pytest.mark.parametrize("changes", [change_the_weights, change_the_server, change_the_prompt])
def test_evidence_of_other_weights_another_server_or_prompt_is_measured_again(
    world: World, changes: Callable[[World], None]
) -> None:
    world.run("fast", "slow")
    changes(world)
    with Runtimes(world.settings) as runtimes:  # what it asked before is a second old at most
        now = candidates(replace(world.bench, runtimes=runtimes))
        again = field_of(replace(world.bench, runtimes=runtimes), now, world.prepared())
    assert fresh_enough(world.database, world.evidence_key, again, reuse_days=1) == {}


def test_evidence_that_is_too_old_is_measured_again(world: World) -> None:
    world.run("fast", "slow")
    assert fresh_enough(world.database, world.evidence_key, field(world), reuse_days=0) == {}


def test_a_reused_run_is_ranked_with_the_new_ones_and_named(world: World) -> None:
    first = world.run("fast", "slow", "wrong")
    again = field(world, "fast", "slow", "wrong")
    again = again.reusing(fresh_enough(world.database, world.evidence_key, again, reuse_days=1))
    second = run_benchmark(world.bench, world.prepared(), again, world.events.append)
    ranked = rank_benchmark(world.database, second)
    assert [result.model for result in ranked.scoreboard.ranked] == ["fast", "slow"]
    assert {model: run.benchmark_id for model, run in ranked.reused.items()} == {"fast": first, "wrong": first}


def test_a_model_of_another_conversation_is_no_incumbent_of_the_task(world: World) -> None:
    world.give(GRADE_B, FAST)
    assert "ticket.py" not in field(world, "wrong").incumbents


# Patterns


@ONE_ENGINE
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("ollama:*", ["broken:3b", "fast:1b", "silent:3b", "slow:7b", "wrong:3b"]),
        ("ollama:*:3b", ["broken:3b", "silent:3b", "wrong:3b"]),
        ("ollama:[fs]*", ["fast:1b", "silent:3b", "slow:7b"]),
        ("ollama:FAST*", ["fast:1b"]),
    ],
)
def test_a_pattern_stands_for_the_models_of_the_server(world: World, pattern: str, names: list[str]) -> None:
    assert expanded(world.bench, [pattern]) == names


@ONE_ENGINE
def test_a_pattern_may_name_the_server(world: World) -> None:
    host = world.server.url.removeprefix("http://")
    assert expanded(world.bench, [f"ollama:fast*@{host}"]) == [f"ollama:fast:1b@{host}"]


@ONE_ENGINE
def test_a_pattern_leaves_out_what_the_settings_exclude_by_name(world: World) -> None:
    world.server.models |= {"llava:7b": FakeModel(), "bge-m3:latest": FakeModel()}
    assert "llava:7b" not in expanded(world.bench, ["ollama:*"])
    with pytest.raises(InputError, match=r"the settings exclude llava:7b"):
        expanded(world.bench, ["ollama:llava*"])


@ONE_ENGINE
def test_a_pattern_that_matches_nothing_names_what_there_is(world: World) -> None:
    with pytest.raises(InputError, match=r"ollama:zz\* matches no model of the server: it has broken:3b, fast:1b"):
        expanded(world.bench, ["ollama:zz*"])


@ONE_ENGINE
def test_names_without_a_pattern_stay_and_each_is_measured_once(world: World) -> None:
    assert expanded(world.bench, ["slow", "fast:1b", "ollama:fast*", "llama_cpp:*.gguf"]) == [
        "slow",
        "fast:1b",
        "llama_cpp:*.gguf",
    ]
