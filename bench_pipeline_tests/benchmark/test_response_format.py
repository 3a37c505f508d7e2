"""A server that accepts a response format and ignores it is named, not the model that it spoils.

Reports: ollama/ollama 14645, 14850 (qwen3.5) and 15260 (gemma4) for schemas without thinking.
"""

from __future__ import annotations

import pytest

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.tasks import task_value, write_task
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE
SCHEMA = {"type": "object", "properties": {"verdict": {"enum": ["PASS", "FAIL"]}}, "required": ["verdict"]}


def result_of_a_task_with_a_schema(world: World, think: str = "off") -> ModelResult:
    task = task_value() | {
        "verdict": {"reader": "json"},
        "decoding": {"num_ctx": 2048, "num_predict": 32, "json_schema": SCHEMA, "think": think},
    }
    write_task(world.folder / "testcases", task=task)
    ranked = world.ranked("fast", final=False)
    return next(result for result in ranked.scoreboard.results if result.model == "fast")


def served(world: World, **properties: object) -> FakeModel:
    model = world.server.models["fast:1b"]
    model.answers = {}
    for name, value in properties.items():
        setattr(model, name, value)
    return model


def test_a_schema_that_is_ignored_while_thinking_is_off_is_the_servers_fault(world: World) -> None:
    served(world, capabilities=("completion", "thinking"), unformatted="[PASS] fine")
    result = result_of_a_task_with_a_schema(world)
    assert result.standing is Standing.INCONCLUSIVE
    assert "the server ignores the response format" in result.reason
    assert "set decoding.think to default or a level" in result.reason
    assert world.calls() == []


@pytest.mark.parametrize("think", ["default", "on", "low"])
def test_a_form_of_thinking_that_the_server_can_keep_is_measured(world: World, think: str) -> None:
    served(world, capabilities=("completion", "thinking"), unformatted="[PASS] fine")
    result = result_of_a_task_with_a_schema(world, think)
    assert "ignores the response format" not in result.reason
    assert len(world.calls()) == 4


def test_a_server_that_never_holds_a_reply_to_json_is_named_too(world: World) -> None:
    served(world, answers={"(warm-up)": "Sure! Here is the JSON you asked for:"})
    result = result_of_a_task_with_a_schema(world)
    assert "the server ignores the response format" in result.reason
    assert "or leave out the format" in result.reason


@pytest.mark.parametrize("reply", ['{"verdict": "PA', ' \n{"verdict": "PASS"}', "[1]", "", "null", '"PASS"', "-1"])
def test_a_reply_that_may_be_json_says_nothing_about_the_server(world: World, reply: str) -> None:
    """A warm-up may be cut off, and a schema may ask for any value."""
    served(world, answers={"(warm-up)": reply})
    assert "response format" not in result_of_a_task_with_a_schema(world).reason


def test_without_a_format_a_reply_may_be_anything(world: World) -> None:
    served(world, answers={"(warm-up)": "Sure!"})
    ranked = world.ranked("fast", final=False)
    assert all("response format" not in result.reason for result in ranked.scoreboard.results)
