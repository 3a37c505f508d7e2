"""One rehearsal for all tests of a worker: the shipped deployment over a small production and a fake Ollama."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.kit.models import FINAL_PASSES, fake_models
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.rehearsal import NO_NGINX, Rehearsal, nginx_program
from bench_pipeline_tests.kit.tasks import write_task


@pytest.fixture(scope="session")
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama(fake_models()) as server:
        yield server


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, ollama: FakeOllama) -> Iterator[Rehearsal]:
    if nginx_program() is None:
        pytest.skip(NO_NGINX)
    folder: Path = tmp_path_factory.mktemp("rehearsal")
    write_task(folder / "testcases")
    variables = {
        "OLLAMA_HOST": ollama.url,
        "BENCH_TESTCASES_DIR": str(folder / "testcases"),
        "BENCH_FINAL_PASSES": str(FINAL_PASSES),
        "BENCH_RETRIES": "0",
        "BENCH_AUTOMATION": "off",  # the tests start what they need
    }
    with Rehearsal(folder, fill_production, variables) as up:
        yield up
