"""A real HTTP server of llama.cpp, which xllamacpp starts, asked over OpenAI's API."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_cache_path

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.catalogue import Catalogue
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime

pytestmark = pytest.mark.model
xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed, so there is no server of llama.cpp")

KEY = "sk-loopback"
NAME = "smollm2:135m"
MODEL = ModelRef(RuntimeKind.OPENAI_COMPATIBLE, NAME)
SHORT = DecodingOptions(num_ctx=512, num_predict=8)
AMPLE_S = 300.0


@dataclass(frozen=True)
class LlamaServer:
    """The server's address; it lives as long as `server`."""

    url: str
    server: Any


@pytest.fixture(scope="module")
def llama() -> LlamaServer:
    cache = os.environ.get("BENCH_CACHE_DIR")
    catalogue = Catalogue(Path(cache) if cache else user_cache_path("bench_pipeline"))
    catalogue.fetch(NAME)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(catalogue.path_of(NAME))
    parameters.model_alias = {NAME}
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.api_keys = [KEY]
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    server.handle_completions({"prompt": "a", "n_predict": 1})  # as in llama_cpp.py: its loop runs from now on
    return LlamaServer(server.listening_address, server)


@pytest.fixture
def runtime(llama: LlamaServer) -> Iterator[OpenAICompatibleRuntime]:
    with OpenAICompatibleRuntime(f"{llama.url}/v1", KEY, 512) as runtime:
        yield runtime


def ask(runtime: OpenAICompatibleRuntime, prompt: str = "Say hello.", **decoding: object) -> Reply:
    return runtime.call(MODEL, user_request(prompt), SHORT.model_copy(update=decoding), AMPLE_S)


def failure_of(action: Callable[[], object]) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as caught:
        action()
    assert "\n" not in str(caught.value)
    return caught.value


def test_it_is_recognised_and_lists_its_model(runtime: OpenAICompatibleRuntime) -> None:
    assert runtime.describe(MODEL).name == NAME
    assert runtime._known(MODEL).name == "llama.cpp's server"
    missing = ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "gone")
    assert failure_of(lambda: runtime.describe(missing)).kind is FailureKind.NOT_FOUND


def test_it_streams_and_tells_its_tokens_and_times(runtime: OpenAICompatibleRuntime) -> None:
    assert runtime.load(MODEL, SHORT, AMPLE_S).load_ns > 0
    reply = ask(runtime, temperature=None, seed=None)
    timings = reply.timings
    assert reply.done_reason in ("stop", "length")
    assert reply.text
    assert reply.first_token_ns is not None
    assert 0 < reply.first_token_ns <= reply.elapsed_ns
    assert timings.generated_tokens is not None
    assert 0 < timings.generated_tokens <= SHORT.num_predict
    assert None not in (timings.prompt_tokens, timings.cached_prompt_tokens, timings.prompt_ns, timings.generation_ns)


@pytest.mark.parametrize(
    ("decoding", "allowed"),
    [
        ({"json_schema": {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"],
                          "additionalProperties": False}}, {'{"a":1}'}),
        ({"grammar": 'root ::= "yes" | "no"'}, {"yes", "no"}),
        ({"grammar": 'root ::= "yes" | "no"', "endpoint": "generate", "raw": True}, {"yes", "no"}),
    ],
)  # fmt: skip
def test_a_constraint_holds(runtime: OpenAICompatibleRuntime, decoding: dict[str, object], allowed: set[str]) -> None:
    reply = ask(runtime, num_predict=32, **decoding)
    assert "".join(reply.text.split()) in allowed


def test_json_mode_gives_json(runtime: OpenAICompatibleRuntime) -> None:
    reply = ask(runtime, "Answer with a JSON object.", format="json", num_predict=200)
    if reply.done_reason == "stop":
        assert isinstance(json.loads(reply.text), (dict, list))
    assert reply.text.lstrip()[:1] in "{["


@pytest.mark.parametrize("think", ["off", "on", "low", "default"])
def test_it_takes_every_way_of_thinking_also_for_a_model_that_does_not_think(
    runtime: OpenAICompatibleRuntime, think: str
) -> None:
    assert ask(runtime, think=think).complete


def test_it_takes_the_options_of_its_table(runtime: OpenAICompatibleRuntime) -> None:
    assert ask(runtime, options={"top_k": 3, "min_p": 0.1, "stop": ["zzz"], "cache_prompt": False}).complete


def test_a_prompt_that_does_not_fit_is_refused_with_the_remedy(runtime: OpenAICompatibleRuntime) -> None:
    failure = failure_of(lambda: ask(runtime, "SECRET " * 2000))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert str(failure).endswith("raise decoding.num_ctx or shorten the prompt")
    assert "SECRET" not in str(failure)


def test_a_wrong_key_is_told_with_the_name_of_its_variable(llama: LlamaServer) -> None:
    with OpenAICompatibleRuntime(f"{llama.url}/v1", "sk-wrong", 512) as runtime:
        failure = failure_of(lambda: ask(runtime))
    assert "answered 401: Invalid API Key; set BENCH_OPENAI_API_KEY" in str(failure)


def test_a_wrong_path_is_not_a_missing_model(llama: LlamaServer) -> None:
    with OpenAICompatibleRuntime(f"{llama.url}/v2", KEY, 512) as runtime:
        failure = failure_of(lambda: runtime.load(MODEL, SHORT, AMPLE_S))
    assert failure.kind is FailureKind.NOT_FOUND
    assert "its answer: File Not Found" in str(failure)


def test_an_address_without_v1_works_as_well(llama: LlamaServer) -> None:
    """llama.cpp serves its routes with and without the prefix."""
    with OpenAICompatibleRuntime(llama.url, KEY, 512) as runtime:
        runtime.describe(MODEL)
        assert ask(runtime).complete


def test_an_idle_server_tells_that_it_has_no_requests(runtime: OpenAICompatibleRuntime) -> None:
    assert runtime.activity(AMPLE_S).requests == 0
