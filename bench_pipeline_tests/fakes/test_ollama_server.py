"""The fake Ollama answers as the real one is reported to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import pytest

from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ollama_ref
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.fakes.recorded_server import Recorded

JSON = '{"verdict": "PASS"}'
THINKS = ("completion", "thinking")
MODELS = {
    "gpt:20b": FakeModel(family="gptoss", capabilities=THINKS),
    "prose:4b": FakeModel(capabilities=THINKS, answers={"": JSON}, unformatted="I would pass it."),
}


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    with FakeOllama(deepcopy(MODELS)) as server:
        yield server


def said(server: FakeOllama, model: str, **more: object) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": False, **more}
    lines = httpx.post(f"{server.url}/api/chat", json=body, trust_env=False).text.splitlines()
    last: dict[str, Any] = json.loads(lines[-1])
    return last


def test_gpt_oss_answers_nothing_when_it_may_not_think(server: FakeOllama) -> None:
    """vectorize-io/hindsight #3246."""
    assert said(server, "gpt:20b", think=False)["message"]["content"] == ""
    assert said(server, "gpt:20b", think="low")["message"]["content"] == "[PASS] fine"


def test_the_runtime_asks_gpt_oss_for_a_level(server: FakeOllama) -> None:
    with OllamaRuntime(server.url) as runtime:
        reply = runtime.call(ollama_ref("gpt:20b"), user_request("Hi"), DecodingOptions(), 10.0)
    assert reply.text == "[PASS] fine"


def test_the_format_is_ignored_while_thinking_is_off(server: FakeOllama) -> None:
    """ollama/ollama #15260 (gemma4), #14645 (qwen3.5)."""
    assert said(server, "prose:4b", think=False, format="json")["message"]["content"] == "I would pass it."
    assert said(server, "prose:4b", format="json")["message"]["content"] == JSON


def test_counts_of_zero_are_left_out(server: FakeOllama) -> None:
    """Ollama's Go structures have `omitempty`, so a reply without a token has no `eval_count`."""
    model = server.models["gpt:20b"]
    model.fault = Fault.NO_TOKENS
    assert "eval_count" not in said(server, "gpt:20b", think="low", stream=True)


def test_a_refusal_is_given_once_and_with_its_headers(server: FakeOllama) -> None:
    server.refusals["/api/version"] = [Recorded({"error": "slow down"}, 429, {"Retry-After": "2"})]
    first, second = (httpx.get(f"{server.url}/api/version", trust_env=False) for _ in range(2))
    assert (first.status_code, first.headers["retry-after"], second.status_code) == (429, "2", 200)
