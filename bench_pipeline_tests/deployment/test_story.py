"""The story of a new model under the shipped deployment, with no hand after the model is there, and its pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import Connection, create_engine, insert, select

from bench_pipeline.assets.trigger_tags import TRIGGER
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.kit.browser import open_browser
from bench_pipeline_tests.kit.models import FAST, SLOW, fake_models
from bench_pipeline_tests.kit.production import actors, conversations, fill_production
from bench_pipeline_tests.kit.rehearsal import NO_NGINX, OPERATOR, Rehearsal, nginx_program, rehearsal_of_grading
from bench_pipeline_tests.kit.tasks import GRADE_A

pytestmark = [pytest.mark.ui, pytest.mark.postgres, pytest.mark.timeout(900), pytest.mark.xdist_group("story")]

MODEL = "fast:1b"
BENCHMARK = "benchmark_grading"
_RUNS = """
query ($job: String!) {
  runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { runId status tags { key value } } } }
}
"""
_LAUNCH = """
mutation ($job: String!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "measure", repositoryName: "__repository__", jobName: $job},
    runConfigData: {}, mode: "default"
  }) { __typename }
}
"""


def _fill_without_the_fast_model(url: str) -> None:
    fill_production(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(actors.delete().where(actors.c.actor_id == FAST))
    engine.dispose()


@pytest.fixture(scope="module")
def ollama() -> Iterator[FakeOllama]:
    models = fake_models()
    del models[MODEL]
    with FakeOllama(models) as server:
        yield server


@pytest.fixture(scope="module")
def automated(tmp_path_factory: pytest.TempPathFactory, ollama: FakeOllama) -> Iterator[Rehearsal]:
    """The deployment with its automation, after the first benchmark of its task, which a person starts."""
    if nginx_program() is None:
        pytest.skip(NO_NGINX)
    folder = tmp_path_factory.mktemp("story")
    with rehearsal_of_grading(folder, ollama.url, _fill_without_the_fast_model, BENCH_RETRIES="0") as up:
        assert up.graphql(_LAUNCH, job=BENCHMARK)["launchRun"]["__typename"] == "LaunchRunSuccess"
        _until(lambda: [run["status"] for run in _runs(up, BENCHMARK)] == ["SUCCESS"], up)
        yield up


def _runs(rehearsal: Rehearsal, job: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = rehearsal.graphql(_RUNS, job=job)["runsOrError"]["results"]
    return runs


def _until(condition: Callable[[], bool], rehearsal: Rehearsal, limit_s: float = 400) -> None:
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends, rehearsal.trouble()
        time.sleep(0.5)


def _holder(rehearsal: Rehearsal) -> int:
    with _production(rehearsal) as connection:
        query = select(conversations.c.actor_id).where(conversations.c.conversation_id == GRADE_A)
        return int(connection.scalar(query) or 0)


@contextmanager
def _production(rehearsal: Rehearsal) -> Iterator[Connection]:
    engine = create_engine(rehearsal.cluster.url("postgres"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_a_new_model_is_promoted_without_a_hand_and_its_pages_show_it(
    automated: Rehearsal, ollama: FakeOllama, tmp_path: Path
) -> None:
    assert _holder(automated) == SLOW

    ollama.models[MODEL] = fake_models()[MODEL]
    with _production(automated) as connection:
        row = {"actor_id": FAST, "actor_name": "fast", "actor_type": "ai_model", "execution_path": f"ollama:{MODEL}"}
        connection.execute(insert(actors), row | {"enabled": True})
    _until(lambda: _holder(automated) == FAST, automated)

    of_model = {"key": "dagster/partition", "value": "fast"}
    measured = [run for run in _runs(automated, BENCHMARK) if of_model in run["tags"]]
    assert [(run["status"], TRIGGER in {tag["key"] for tag in run["tags"]}) for run in measured] == [("SUCCESS", True)]
    with open_browser() as browser:
        login = {"username": OPERATOR, "password": automated.logins[OPERATOR]}
        context = browser.new_context(http_credentials=login, ignore_https_errors=True, base_url=automated.url)
        page = context.new_page()
        for name, path, texts in (
            ("partition", "/assets/grading/model_runs?view=partitions&partition=fast", ["fast"]),
            ("run", f"/runs/{measured[0]['runId']}", ["Success", BENCHMARK]),
            ("table", "/assets/grading/scoreboard?view=events", ["fast", "slow"]),
            ("diff", "/assets/grading/promotion_plan?view=events", ["slow", "fast"]),
        ):
            page.goto(path)
            for text in texts:
                expect(page.get_by_text(text).first).to_be_visible(timeout=30_000)
            page.screenshot(path=str(tmp_path / f"{name}.png"), full_page=True)
