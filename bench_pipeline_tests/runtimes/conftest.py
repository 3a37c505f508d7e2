"""A fake server with two models, and the runtimes that talk to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    models = {"judge:7b": FakeModel(digest="sha256:aa"), "other:1b": FakeModel(digest="sha256:bb")}
    with FakeOllama(models) as server:
        yield server


@pytest.fixture
def judge(server: FakeOllama) -> FakeModel:
    return server.models["judge:7b"]


@pytest.fixture
def ollama(server: FakeOllama) -> Iterator[OllamaRuntime]:
    with OllamaRuntime(server.url, keep_alive="7m") as runtime:
        yield runtime


@pytest.fixture
def openai(server: FakeOllama) -> Iterator[OpenAICompatibleRuntime]:
    with OpenAICompatibleRuntime(f"{server.url}/v1", "sk-canary") as runtime:
        yield runtime


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken but that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
