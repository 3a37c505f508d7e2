"""One rehearsal for all tests of a worker: the shipped deployment over a small production and a fake Ollama."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.kit.models import fake_models
from bench_pipeline_tests.kit.rehearsal import NO_NGINX, Rehearsal, nginx_program, rehearsal_of_grading


@pytest.fixture(scope="session")
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama(fake_models()) as server:
        yield server


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, ollama: FakeOllama) -> Iterator[Rehearsal]:
    if nginx_program() is None:
        pytest.skip(NO_NGINX)
    folder = tmp_path_factory.mktemp("rehearsal")
    # The tests start what they need.
    with rehearsal_of_grading(folder, ollama.url, BENCH_RETRIES="0", BENCH_AUTOMATION="off") as up:
        yield up
