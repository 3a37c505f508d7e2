"""LiteLLM's real proxy in front of the fake Ollama; it is large, so it is tested only where it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_pipeline.benchmark.describing import identities
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel

LITELLM = os.environ.get("LITELLM") or shutil.which("litellm")
pytestmark = pytest.mark.skipif(LITELLM is None, reason="litellm is not installed: pip install 'litellm[proxy]'")

KEY = "sk-master"
START_LIMIT_S = 120
SHORT = DecodingOptions(num_ctx=4096, num_predict=8)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a proxy that serves a good model, one that its server lacks, and every name below `openai/`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with FakeOllama({"judge:7b": FakeModel()}) as ollama:
        config = tmp_path_factory.mktemp("litellm") / "config.yaml"
        config.write_text(
            f"""
model_list:
  - {{model_name: judge, litellm_params: {{model: "ollama_chat/judge:7b", api_base: "{ollama.url}"}}}}
  - {{model_name: gone, litellm_params: {{model: "ollama_chat/gone:7b", api_base: "{ollama.url}"}}}}
  - {{model_name: "openai/*", litellm_params: {{model: "openai/*", api_base: "{ollama.url}/v1", api_key: x}}}}
general_settings: {{master_key: {KEY}}}
litellm_settings: {{num_retries: 0}}
"""
        )
        with proxy_of(config, port) as url:
            yield url


class proxy_of:  # noqa: N801 - a context manager that reads like a function
    """The process of the proxy, from its first answer to its end."""

    def __init__(self, config: Path, port: int) -> None:
        command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        self._process = subprocess.Popen(
            command, env=os.environ | quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._url = f"http://127.0.0.1:{port}/v1"

    def __enter__(self) -> str:
        ref = ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "judge", self._url)
        settings = Settings(allowed_hosts="127.0.0.1", openai_api_key=KEY)
        for _ in range(START_LIMIT_S):
            with Runtimes(settings) as runtimes:
                if isinstance(identities([ref], runtimes, 0.0)[ref], ModelIdentity):
                    return self._url
            if self._process.poll() is not None:
                break
            with pytest.raises(subprocess.TimeoutExpired):
                self._process.wait(1)
        self.__exit__()
        pytest.skip("litellm does not start here")

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def runtime(proxy: str) -> Iterator[OpenAICompatibleRuntime]:
    with OpenAICompatibleRuntime(proxy, KEY, 4096) as runtime:
        yield runtime


def ref_of(name: str) -> ModelRef:
    return ModelRef(RuntimeKind.OPENAI_COMPATIBLE, name)


def test_it_is_recognised_and_its_patterns_are_asked_for(runtime: OpenAICompatibleRuntime) -> None:
    assert runtime.describe(ref_of("openai/not-in-its-list")).name == "openai/not-in-its-list"
    assert runtime._known(ref_of("judge")).name == "LiteLLM"
    with pytest.raises(RuntimeFailure, match="is not served"):
        runtime.describe(ref_of("nope"))


def test_it_streams_and_counts_tokens(runtime: OpenAICompatibleRuntime) -> None:
    runtime.load(ref_of("judge"), SHORT, 60.0)
    reply = runtime.call(ref_of("judge"), user_request("Hi"), SHORT, 60.0)
    assert (reply.text, reply.done_reason, reply.timings.generated_tokens) == ("[PASS] fine", "stop", 2)


def test_a_failed_call_is_told_in_its_words_and_then_it_asks_for_a_pause(runtime: OpenAICompatibleRuntime) -> None:
    failures = []
    for _ in range(2):
        with pytest.raises(RuntimeFailure) as caught:
            runtime.call(ref_of("gone"), user_request("SECRET"), SHORT, 60.0)
        failures.append(caught.value)
    assert [failure.kind for failure in failures] == [FailureKind.NOT_FOUND, FailureKind.BUSY]
    assert failures[1].retry_after_s is not None
    assert "No deployments available for selected model" in str(failures[1])
