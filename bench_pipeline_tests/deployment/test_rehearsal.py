"""The shipped deployment, up on this machine: which process can promote, and what the proxy lets through."""

from __future__ import annotations

import base64
import time
from typing import Any

import psutil
import pytest
from sqlalchemy import create_engine, text
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bench_pipeline.assets.workbench_resource import USER_TAG
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.rehearsal import OPERATOR, VIEWER, Rehearsal
from bench_pipeline_tests.kit.tasks import GRADE_A

pytestmark = [pytest.mark.ui, pytest.mark.postgres, pytest.mark.timeout(400)]

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { id } } }
}
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"
PROMOTER = "BENCH_PROMOTER_URL"
RELOAD = "mutation { reloadWorkspace { __typename } }"


def launched(rehearsal: Rehearsal, location: str, job: str, tags: dict[str, str] | None = None) -> dict[str, Any]:
    """What launching a job answers; whoever launches it also claims to be somebody else."""
    selector = {"repositoryLocationName": location, "repositoryName": "__repository__", "jobName": job}
    metadata = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
    params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": metadata}
    claimed = {"X-Forwarded-User": "somebody else", "X_Forwarded_User": "somebody else"}
    with rehearsal.client(headers=claimed) as client:
        answer = client.post("/graphql", json={"query": LAUNCH, "variables": {"params": params}}).raise_for_status()
    launch: dict[str, Any] = answer.json()["data"]["launchRun"]
    return launch


def ended(rehearsal: Rehearsal, run: str, limit_s: float = 120) -> dict[str, Any]:
    """The run once it ended."""
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends:
        found: dict[str, Any] = rehearsal.graphql(STATUS, id=run)["runOrError"]
        if found["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
            return found
        time.sleep(0.2)
    raise AssertionError(f"the run is {found['status']}\n{rehearsal.trouble()}")


def holder(rehearsal: Rehearsal) -> int:
    """Who carries out the first step that is graded."""
    engine = create_engine(rehearsal.cluster.url("postgres"))
    with engine.connect() as connection:
        found = connection.scalar(
            text("SELECT actor_id FROM conversations WHERE conversation_id = :id"), {"id": GRADE_A}
        )
    engine.dispose()
    return int(found or 0)


def the_promoters_address_is_in_one_process(rehearsal: Rehearsal) -> None:
    held = {
        name: sorted({PROMOTER, "BENCH_OWNER_URL"} & psutil.Process(pid).environ().keys())
        for name, pid in rehearsal.pids.items()
        if name != "postgres"
    }
    assert held == {name: [] for name in held} | {"promote": [PROMOTER]}
    assert {"measure", "promote", "web", "web-read-only", "daemon", "nginx"} == set(held)


def a_run_of_measure_ends_with_the_report_and_a_run_of_promote_changes_production(rehearsal: Rehearsal) -> None:
    assert holder(rehearsal) == SLOW
    run = launched(rehearsal, "measure", "benchmark_grading")["run"]["id"]
    assert ended(rehearsal, run)["status"] == "SUCCESS", rehearsal.trouble()
    assert holder(rehearsal) == SLOW

    assert launched(rehearsal, "measure", "promote_grading")["__typename"] == "PipelineNotFoundError"

    run = launched(rehearsal, "promote", "promote_grading", {USER_TAG: "somebody else"})["run"]["id"]
    found = ended(rehearsal, run)
    assert found["status"] == "SUCCESS", rehearsal.trouble()
    assert holder(rehearsal) == FAST
    assert [tag["value"] for tag in found["tags"] if tag["key"] == USER_TAG] == [OPERATOR]


def no_asset_is_defined_twice(rehearsal: Rehearsal) -> None:
    nodes = rehearsal.graphql("{ assetNodes { assetKey { path } isMaterializable repository { location { name } } } }")[
        "assetNodes"
    ]
    where = {"/".join(one["assetKey"]["path"]): one["repository"]["location"]["name"] for one in nodes}
    assert len(where) == len(nodes)
    assert {where[f"grading/{name}"] for name in ("test_cases", "model_runs", "scoreboard", "report")} == {"measure"}
    assert {where[f"grading/{name}"] for name in ("promotion_plan", "production_update", "validation")} == {"promote"}
    assert "multiple code locations" not in rehearsal.logged("web", "daemon")


def a_viewer_reads_and_changes_nothing(rehearsal: Rehearsal) -> None:
    with rehearsal.client(VIEWER) as client:
        assert client.get("/").status_code == 200
        answer = client.post("/graphql", json={"query": RELOAD}).json()
    assert answer["data"]["reloadWorkspace"]["__typename"] == "UnauthorizedError"
    assert rehearsal.graphql(RELOAD, OPERATOR)["reloadWorkspace"]["__typename"] == "Workspace"


REFUSED: list[tuple[str, int, dict[str, Any]]] = [
    ("POST /report_asset_materialization/grading/validation", 403, {}),
    ("POST /report_asset_check/grading/validation", 403, {}),
    ("POST /report_asset_observation/grading/validation", 403, {}),
    ("GET /report_asset_materialization/grading/validation", 403, {}),
    ("POST //report_asset_check/grading/validation", 403, {}),
    ("POST /%72eport_asset_check/grading/validation", 403, {}),
    ("POST /x/../report_asset_check/grading/validation", 403, {}),
    ("GET /graphql", 403, {"params": {"query": RELOAD}}),
    ("HEAD /graphql", 403, {"params": {"query": RELOAD}}),
    ("POST /graphql", 403, {"params": {"query": RELOAD}}),
    ("POST /graphql", 403, {"params": {"query": RELOAD}, "json": {}}),
    ("POST /graphql", 403, {"params": {"op": "Reload", "query": RELOAD}, "json": {}}),
    ("POST /graphql", 403, {"params": {"op": "mutation { x }"}, "json": {}}),
    ("POST /graphql", 200, {"params": {"op": "Reload"}, "json": {"query": "{ __typename }"}}),
    ("POST /graphql", 403, {"data": {"query": RELOAD}}),
    ("POST /graphql", 403, {"content": RELOAD, "headers": {"content-type": "application/graphql"}}),
    ("POST /graphql", 403, {"content": "{}", "headers": {"content-type": "text/plain; application/json"}}),
    ("POST /graphql", 403, {"content": "{}", "headers": {"content-type": "application/json-seq"}}),
    ("POST /graphql/", 403, {"json": {"query": RELOAD}}),
    ("GET /graphql", 403, {"params": {"query": RELOAD}, "headers": {"upgrade": "websocket", "connection": "upgrade"}}),
    ("POST /graphql", 403, {"json": {"query": RELOAD}, "headers": {"origin": "https://evil.example"}}),
    ("POST /graphql", 403, {"json": {"query": RELOAD}, "headers": {"origin": "null"}}),
    ("PUT /graphql", 403, {"json": {"query": RELOAD}}),
    ("DELETE /", 403, {}),
    ("GET /", 421, {"headers": {"host": "evil.example"}}),
    ("POST /graphql", 421, {"json": {"query": RELOAD}, "headers": {"host": "evil.example"}}),
]


def the_proxy_refuses_what_could_change_something_unseen(rehearsal: Rehearsal) -> None:
    let_through = []
    with rehearsal.client() as client:
        for request_line, status, sent in REFUSED:
            method, path = request_line.split()
            answer = client.request(method, f"{rehearsal.url}{path}", **sent)
            if answer.status_code != status:
                let_through.append((request_line, sent, answer.status_code))
    assert let_through == []


def nothing_is_shown_without_a_login(rehearsal: Rehearsal) -> None:
    with rehearsal.client(None) as client:
        for path in ("/", "/server_info", "/logs/x", "/download_debug/x"):
            assert client.get(path).status_code == 401, path
        assert client.post("/graphql", json={"query": RELOAD}).status_code == 401


def opened(rehearsal: Rehearsal, origin: str) -> ClientConnection:
    address = f"{rehearsal.url.replace('https', 'wss')}/graphql"
    secret = base64.b64encode(f"{OPERATOR}:{rehearsal.logins[OPERATOR]}".encode()).decode()
    headers = {"Authorization": f"Basic {secret}"}
    return connect(address, ssl=rehearsal.trust, subprotocols=["graphql-ws"], additional_headers=headers, origin=origin)


def logs_arrive_over_a_web_socket_of_our_own_page_alone(rehearsal: Rehearsal) -> None:
    with opened(rehearsal, rehearsal.url) as socket:
        assert socket.subprotocol == "graphql-ws"
    with pytest.raises(InvalidStatus, match="403"):
        opened(rehearsal, "https://evil.example")


def what_is_up_stays_as_it_is(rehearsal: Rehearsal) -> None:
    before = rehearsal.pids
    rehearsal.up()
    assert rehearsal.pids == before


def the_doctor_outside_hears_the_daemon(rehearsal: Rehearsal) -> None:
    done = rehearsal.run_unit("bench-doctor.service")
    assert done.returncode == 0, done.stdout + done.stderr


def pages_cannot_be_framed_by_another_site(rehearsal: Rehearsal) -> None:
    with rehearsal.client() as client:
        assert client.get("/").headers["x-frame-options"] == "DENY"


BEHAVIOURS = (
    the_promoters_address_is_in_one_process,
    a_run_of_measure_ends_with_the_report_and_a_run_of_promote_changes_production,
    no_asset_is_defined_twice,
    a_viewer_reads_and_changes_nothing,
    the_proxy_refuses_what_could_change_something_unseen,
    nothing_is_shown_without_a_login,
    logs_arrive_over_a_web_socket_of_our_own_page_alone,
    what_is_up_stays_as_it_is,
    the_doctor_outside_hears_the_daemon,
    pages_cannot_be_framed_by_another_site,
)


def test_the_deployment_as_it_is_shipped(rehearsal: Rehearsal, subtests: pytest.Subtests) -> None:
    """One test, because several processes that share the tests would each start the whole set."""
    for behaviour in BEHAVIOURS:
        with subtests.test(behaviour.__name__.replace("_", " ")):
            behaviour(rehearsal)
