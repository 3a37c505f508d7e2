"""`make ui` for real: web server and daemon start, show the asset graph and materialize what is asked for."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench_pipeline_tests.kit.world import World

pytestmark = [pytest.mark.ui, pytest.mark.timeout(280)]

ROOT = Path(__file__).parent.parent
LOCATION = {"repositoryLocationName": "bench_pipeline.definitions", "repositoryName": "__repository__"}
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { id } } }
}
"""


class Ui:
    """The web server, asked as a browser asks it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        answer = httpx.post(f"{self._url}/graphql", json={"query": query, "variables": variables}, timeout=30)
        data: dict[str, Any] = answer.raise_for_status().json()["data"]
        return data

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return bool(self.ask("{ assetNodes { assetKey { path } } }")["assetNodes"])
        return False

    def materialize(self, *assets: str) -> str:
        """Launch a run of these assets and return its id."""
        selector = LOCATION | {
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": asset.split("/")} for asset in assets],
        }
        answer = self.ask(LAUNCH, params={"selector": selector, "runConfigData": {}, "mode": "default"})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["id"])

    def status(self, run_id: str) -> str:
        answer = self.ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)
        return str(answer["runOrError"]["status"])


def until(condition: Callable[[], bool], what: str, limit_s: float = 120) -> None:
    """Wait for other processes; a limit that is reached fails the test."""
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends, f"waited {limit_s:.0f} s for {what}"
        time.sleep(0.2)


@pytest.fixture
def ui(world: World, tmp_path: Path) -> Iterator[Ui]:
    """`dagster dev` as the Makefile starts it; on PostgreSQL Dagster's own storage is there, too."""
    home = tmp_path / "home"
    home.mkdir()
    address = world.owner.engine.url  # whose tables Dagster keeps: the recorder may make none
    sqlite = address.get_backend_name() == "sqlite"
    shutil.copyfile(ROOT / ("dagster.yaml" if sqlite else "deploy/dagster.yaml"), home / "dagster.yaml")
    environment = os.environ | {
        "DAGSTER_HOME": str(home),
        "BENCH_DATABASE_URL": world.url,
        **({"BENCH_PROMOTER_URL": world.promoter_url} if world.promoter_url else {}),
        "BENCH_OLLAMA_HOST": world.server.url,
        "BENCH_TESTCASES_DIR": str(world.folder / "testcases"),
        "BENCH_REPORTS_DIR": str(tmp_path / "reports"),
        "BENCH_PRODUCTION_DIR": str(tmp_path / "production"),
        "DAGSTER_PG_HOST": address.host or "",
        "DAGSTER_PG_PORT": str(address.port or ""),
        "DAGSTER_PG_USERNAME": address.username or "",
        "DAGSTER_PG_PASSWORD": address.password or "",
        "DAGSTER_PG_DB": address.database or "",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dagster = Path(sys.executable).with_name("dagster")
    with (tmp_path / "ui.log").open("w") as log:
        running = subprocess.Popen(
            [dagster, "dev", "--workspace", "workspace.yaml", "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            found = Ui(f"http://127.0.0.1:{port}")
            until(found.is_ready, "the web server")
            yield found
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(timeout=30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def test_web_server_and_daemon_show_the_graph_and_materialize_an_asset(ui: Ui, world: World) -> None:
    nodes = ui.ask("{ assetNodes { assetKey { path } dependencyKeys { path } isPartitioned } }")["assetNodes"]
    graph = {"/".join(node["assetKey"]["path"]): node for node in nodes}
    assert graph["grading/model_runs"]["isPartitioned"]
    assert graph["grading/scoreboard"]["dependencyKeys"] == [{"path": ["grading", "model_runs"]}]

    run_id = ui.materialize("eligible_models", "grading/test_cases")
    until(lambda: ui.status(run_id) in ("SUCCESS", "FAILURE"), "the run")

    assert ui.status(run_id) == "SUCCESS"
    partitions = ui.ask(
        "query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys } } }",
        key={"path": ["grading", "model_runs"]},
    )
    assert set(partitions["assetNodeOrError"]["partitionKeys"]) == {"fast", "slow", "wrong", "silent", "broken"}
