"""`bench cases show` prints what a benchmark sends, and a command that sends the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from bench_pipeline_tests.fakes.ollama_state import Record
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import CASES, TEMPLATE, suite_value, task_value, write_task
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE
SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}}
WHOLE_REQUEST = {
    "prompt": {
        "syntax": r"\{\{(\w+)\}\}",
        "messages": [
            {"role": "system", "content": 'You grade; it\'s "strict".'},
            {"role": "user", "content": "{{session_1_output}}: {{posting}} $HOME `x` {{summary}} naïve ✓"},
        ],
    },
    "decoding": {
        "num_ctx": 2048,
        "num_predict": 32,
        "temperature": 0.7,
        "json_schema": SCHEMA,
        "think": "low",
        "keep_alive": "30m",
        "options": {"top_p": 0.9, "stop": ["'###'"]},
    },
}


def state(world: World, **changes: Any) -> None:  # noqa: ANN401
    """Write the sample task with these parts, and a case that has a field of its own."""
    suite = suite_value()
    for case in suite["test_cases"]:
        case["input"] = {"session_1_output": "a result of the first step"}
    write_task(world.folder / "testcases", suite, task_value() | changes)


def call_of_case(world: World, case: str) -> Record:
    """The request in which a benchmark sent this case."""
    return next(one for one in world.server.log if "chat" in one.path and CASES[case] in one.raw.decode())


@pytest.mark.parametrize("changes", [{}, WHOLE_REQUEST], ids=["a plain task", "all that a task can state"])
def test_the_request_is_shown_as_a_benchmark_sends_it(typed: Typed, world: World, changes: dict[str, Any]) -> None:
    world.server.models["fast:1b"].capabilities = ("completion", "thinking")
    state(world, **changes)
    shown = json.loads(typed("cases", "show", "PASS_001", "--model", "fast").stdout)
    typed("run", "--task", "grading", "--models", "fast")
    called = call_of_case(world, "PASS_001")
    assert shown["url"] == f"{world.server.url}{called.path}"
    assert shown["body"] == called.body
    assert {name: called.headers[name] for name in shown["headers"]} == shown["headers"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("changes", [{}, WHOLE_REQUEST], ids=["a plain task", "all that a task can state"])
def test_the_curl_command_sends_the_bytes_that_a_benchmark_sends(
    typed: Typed, world: World, changes: dict[str, Any]
) -> None:
    world.server.models["fast:1b"].capabilities = ("completion", "thinking")
    state(world, **changes)
    command = typed("cases", "show", "PASS_001", "--model", "fast", "--curl").stdout
    typed("run", "--task", "grading", "--models", "fast")
    called = call_of_case(world, "PASS_001")
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=30)
    replayed = world.server.log[-1]
    assert replayed is not called
    assert (replayed.path, replayed.raw) == (called.path, called.raw)
    assert replayed.headers["content-type"] == called.headers["content-type"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_key_is_a_variable_that_the_shell_fills(typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_OLLAMA_API_KEY", "sk-canary")
    command = typed("cases", "show", "PASS_001", "--model", "fast", "--curl").stdout
    assert "sk-canary" not in command
    environment = os.environ | {"OLLAMA_API_KEY": "sk-canary"}
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, env=environment, timeout=30)
    assert world.server.log[-1].headers["authorization"] == "Bearer sk-canary"


def test_nothing_is_generated_by_looking(typed: Typed, world: World) -> None:
    typed("cases", "show", "PASS_001", "--model", "fast")
    assert world.server.requests("/api/chat") == []


def test_the_command_can_be_had_as_json(typed: Typed) -> None:
    done = typed("cases", "show", "PASS_001", "--model", "fast", "--curl", "--json")
    assert json.loads(done.stdout)["curl"].startswith("curl ")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        pytest.param(["NO_CASE", "-m", "fast"], 2, "case 'NO_CASE' is in no valid task", id="no such case"),
        pytest.param(
            ["NO_CASE", "-m", "fast", "--task", "grading"], 2, "grading has no case 'NO_CASE'; it has", id="not there"
        ),
        pytest.param(["PASS_001", "-m", "fast", "--task", "x"], 2, "there is no task 'x'", id="no such task"),
        pytest.param(["PASS_001", "-m", "absent:1b"], 1, "absent:1b is not installed", id="no such model"),
        pytest.param(["PASS_001", "-m", "ticket.py"], 1, "actor_type is 'script'", id="a script"),
    ],
)
def test_what_cannot_be_shown_is_told_in_a_line(typed: Typed, arguments: list[str], status: int, message: str) -> None:
    done = typed("cases", "show", *arguments)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr


def test_a_case_of_two_tasks_needs_the_tasks_name(typed: Typed, world: World) -> None:
    write_task(world.folder / "testcases", suite_value("again"), task_value("again", ()), "again")
    done = typed("cases", "show", "PASS_001", "-m", "fast")
    assert done.returncode == 2
    assert "is in again, grading; name one with --task" in done.stderr
    assert typed("cases", "show", "PASS_001", "-m", "fast", "--task", "again").returncode == 0


def test_an_option_that_the_server_would_ignore_is_refused_here_too(typed: Typed, world: World) -> None:
    state(world, decoding={"options": {"top_q": 1}})
    done = typed("cases", "show", "PASS_001", "-m", "fast")
    assert done.returncode == 1
    assert "Ollama would ignore decoding.options: top_q" in done.stderr


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param(f"{TEMPLATE} {{session_2_output}}", "session_2_output: is needed by the prompt", id="not filled"),
        pytest.param("{{posting}} {summary}", "{{posting}} would be sent as it is", id="of another syntax"),
    ],
)
def test_a_placeholder_that_nothing_fills_is_named(typed: Typed, world: World, template: str, message: str) -> None:
    state(world, prompt={"template": template})
    done = typed("cases", "show", "PASS_001", "-m", "fast", "--task", "grading")
    assert done.returncode == 2
    assert message in done.stderr
