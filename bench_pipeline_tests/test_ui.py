"""`bench ui` for real: web server and daemon start, show the asset graph and materialize what is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.json_schemas import assert_fits
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.world import World

pytestmark = [pytest.mark.ui, pytest.mark.timeout(280)]

ROOT = Path(__file__).parent.parent
BENCH = Path(sys.executable).with_name("bench")
LOCATION = {"repositoryLocationName": "bench_pipeline.definitions", "repositoryName": "__repository__"}
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { id } } }
}
"""


PROXY = {"X-Forwarded-User": "alice"}


class Ui:
    """The web server, asked as a browser asks it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, headers=PROXY, timeout=30)
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

    def launches(self) -> bool:
        """Whether a run can be launched now."""
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            return bool(self.materialize("grading/test_cases"))
        return False

    def status(self, run_id: str) -> str:
        with contextlib.suppress(httpx.HTTPError):
            answer = self.ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)
            return str(answer["runOrError"]["status"])
        return "not known"

    def tags(self, run_id: str) -> dict[str, str]:
        query = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { tags { key value } } } }"
        return {tag["key"]: tag["value"] for tag in self.ask(query, id=run_id)["runOrError"]["tags"]}

    def cancel(self, run_id: str) -> None:
        self.ask("mutation ($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)


def until(condition: Callable[[], bool], what: str, limit_s: float = 120) -> None:
    """Wait for other processes; a limit that is reached fails the test."""
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends, f"waited {limit_s:.0f} s for {what}"
        time.sleep(0.2)


class Server:
    """A `bench ui` that runs, with what it printed."""

    def __init__(self, process: subprocess.Popen[str], port: int, first_words: str) -> None:
        self.process = process
        self.port = port
        self.first_words = first_words

    def children(self, word: str) -> list[psutil.Process]:
        """The living processes below the server whose command line has this word."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found += [child] if word in " ".join(child.cmdline()) else []
        return found


def environment_of(world: World, tmp_path: Path) -> dict[str, str]:
    """Where everything lies; on PostgreSQL Dagster's own storage is there, too."""
    home = tmp_path / "home"
    home.mkdir()
    address = world.owner.engine.url  # whose tables Dagster keeps: the recorder may make none
    sqlite = address.get_backend_name() == "sqlite"
    parts = ["dagster.yaml", *([] if sqlite else ["deploy/storage.yaml"])]
    (home / "dagster.yaml").write_text("".join((ROOT / part).read_text(encoding="utf-8") for part in parts))
    return os.environ | {
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


@contextlib.contextmanager
def bench_ui(*options: str, folder: Path, environment: dict[str, str], log: Path) -> Iterator[Server]:
    """Start the command in a folder and wait for what it prints; whatever still runs in the end is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as messages:
        process = subprocess.Popen(
            [BENCH, "ui", "--port", str(port), *options],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
        )
    try:
        assert process.stdout is not None
        lines = 6 if "--json" in options else 2
        yield Server(process, port, "".join(process.stdout.readline() for _ in range(lines)).strip())
    finally:
        everything = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        for left in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


@pytest.fixture
def ui(world: World, tmp_path: Path) -> Iterator[Ui]:
    environment = environment_of(world, tmp_path) | {"BENCH_PROXY_USER_HEADER": "X-Forwarded-User"}
    options = ("--workspace", "workspace.yaml")
    with bench_ui(*options, folder=ROOT, environment=environment, log=tmp_path / "ui.log") as server:
        address = f"http://127.0.0.1:{server.port}"
        assert server.first_words == (
            f"Dagster on {address} serves workspace.yaml; Ctrl-C stops it\n"
            "It has no login. Runs, and with them promotions, can be started by every process and every user of this "
            "machine."
        )
        found = Ui(address)
        until(found.is_ready, "the asset graph")
        yield found


def refusals(url: str) -> list[int]:
    """How the server answers what a page of another site would send."""
    mutation = {"query": "mutation { setNuxSeen }"}
    answers = [
        httpx.get(f"{url}/graphql", params=mutation),
        httpx.post(f"{url}/graphql", json=mutation, headers={"Origin": "https://evil.example"}),
        httpx.post(f"{url}/graphql", json=mutation, headers={"Host": "evil.example"}),
        httpx.post(f"{url}/graphql", data=mutation),
        httpx.post(f"{url}/report_asset_check/grading/validation", json={"check_name": "validated", "passed": True}),
        httpx.post(f"{url}/report_asset_materialization/grading/scoreboard", json={}),
    ]
    return [answer.status_code for answer in answers]


def test_the_web_server_shows_the_graph_refuses_other_sites_and_materializes_for_who_clicked(
    ui: Ui, world: World
) -> None:
    nodes = ui.ask("{ assetNodes { assetKey { path } dependencyKeys { path } isPartitioned } }")["assetNodes"]
    graph = {"/".join(node["assetKey"]["path"]): node for node in nodes}
    assert graph["grading/model_runs"]["isPartitioned"]
    assert graph["grading/scoreboard"]["dependencyKeys"] == [{"path": ["grading", "model_runs"]}]

    assert refusals(ui.url) == [405, 403, 403, 415, 403, 403]

    run_id = ui.materialize("eligible_models", "grading/test_cases")
    until(lambda: ui.status(run_id) in ("SUCCESS", "FAILURE"), "the run")

    assert ui.status(run_id) == "SUCCESS"
    assert ui.tags(run_id)["bench/user"] == "alice"
    partitions = ui.ask(
        "query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys } } }",
        key={"path": ["grading", "model_runs"]},
    )
    assert set(partitions["assetNodeOrError"]["partitionKeys"]) == {"fast", "slow", "wrong", "silent", "broken"}


@ONE_ENGINE
def test_without_a_workspace_file_the_installed_package_is_served_until_a_signal_ends_it_and_its_runs(
    world: World, tmp_path: Path
) -> None:
    world.server.models["slow:7b"] = replace(world.server.models["slow:7b"], latency_ms=120_000)
    folder, log = tmp_path / "elsewhere", tmp_path / "ui.log"
    folder.mkdir()
    environment = environment_of(world, tmp_path)
    del environment["DAGSTER_HOME"]
    with bench_ui("--json", folder=folder, environment=environment, log=log) as server:
        url = f"http://127.0.0.1:{server.port}"
        assert_fits("ui", json.loads(server.first_words))
        assert json.loads(server.first_words) == {
            "url": url,
            "serves": "bench_pipeline.definitions",
            "login": False,
            "reached_by": "every process and every user of this machine",
        }
        ui = Ui(url)
        until(ui.is_ready, "the asset graph")
        ui.materialize("grading/test_cases", "grading/model_runs")
        until(
            lambda: any(call.model == "slow:7b" for call in world.server.requests("/api/chat")),
            "the call that takes long",
        )
        processes = psutil.Process(server.process.pid).children(recursive=True)

        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(timeout=60) == 0
        until(lambda: all(is_dead(process) for process in processes), "the end of all processes", 30)
    assert (folder / ".dagster" / "dagster.yaml").read_text() == (ROOT / "dagster.yaml").read_text()
    assert [word for word in ("WARNING", "Supersession", "Deprecat", "dagster.yaml") if word in log.read_text()] == []


def is_dead(process: psutil.Process) -> bool:
    """A zombie is dead; whether anyone reaps it depends on the machine."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


@ONE_ENGINE
def test_each_part_that_dies_is_replaced_and_no_run_or_pool_slot_is_lost(world: World, tmp_path: Path) -> None:
    """The code server, the daemon, the web server and the run's worker are killed in one story."""
    world.server.models["slow:7b"] = replace(world.server.models["slow:7b"], latency_ms=120_000)
    log = tmp_path / "ui.log"
    with bench_ui(folder=tmp_path, environment=environment_of(world, tmp_path), log=log) as server:
        ui = Ui(f"http://127.0.0.1:{server.port}")
        until(ui.is_ready, "the asset graph")
        runs = [ui.materialize("grading/test_cases", "grading/model_runs") for _ in range(2)]
        until(lambda: any(call.model == "slow:7b" for call in world.server.requests("/api/chat")), "a call")
        until(lambda: sorted(ui.status(run) for run in runs) == ["QUEUED", "STARTED"], "the pool of a fresh instance")
        first, second = sorted(runs, key=ui.status, reverse=True)
        worker = psutil.Process(json.loads(ui.tags(first)["bench/process"])["holder"]["pid"])

        server.children("api grpc")[0].kill()
        worker.kill()  # nobody is left to report its death: its code server died before it
        until(ui.launches, "the code server's successor")
        until(lambda: ui.status(first) == "FAILURE", "the end of the ghost")
        until(lambda: ui.status(second) == "STARTED", "the run that waited for its slot")
        until(lambda: "bench/process" in ui.tags(second), "its process")
        ui.cancel(second)
        until(lambda: ui.status(second) == "CANCELED", "the end of the cancelled run")

        for word in ("dagster-daemon", "ui.webserver"):
            server.children(word)[0].kill()
        until(ui.is_ready, "the web server's successor")
        last = ui.materialize("grading/test_cases")
        until(lambda: ui.status(last) == "SUCCESS", "a run through the daemon's successor")
    told = log.read_text()
    for name in ("code server of bench_pipeline.definitions", "daemon", "web server"):
        assert f"bench: the {name} ended with status -9; it is started again in 0.5 s" in told


@ONE_ENGINE
def test_a_taken_port_is_said_in_one_line_before_anything_starts(typed: Typed, shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = typed("ui", "--port", str(port))

    assert done.returncode == 2
    assert done.stderr == (
        f"bench: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --port or --host\n"
    )
    assert not (shell.folder / ".dagster").exists()


ASKED_BY_A_PAGE = """
import uvicorn
from starlette.testclient import TestClient
from bench_pipeline.ui import webserver

def ask(app, **_):
    page = TestClient(app, base_url="http://127.0.0.1", headers={"origin": "https://evil.example"})
    print(page.post("/graphql", json={"query": "{ version }"}).text)

uvicorn.run = ask
webserver.main(["--empty-workspace", "--port", "1"])
"""


def test_our_guard_stands_before_dagsters_web_server(tmp_path: Path) -> None:
    """Dagster's own command builds the server; an upgrade that passes our class by fails here."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED_BY_A_PAGE],
        cwd=ROOT,
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "pages of 'https://evil.example' may not use this server" in done.stdout, done.stderr
