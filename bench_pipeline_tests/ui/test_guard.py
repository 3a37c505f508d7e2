"""The guard before Dagster's web server: a page of another site changes nothing, and learns nothing by a name."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench_pipeline.ui.guard import Guard

JSON = {"content-type": "application/json"}
RAW = "/graphql?query=mutation+%7B+launchRun+%7D"


async def reached(scope: Scope, receive: Receive, send: Send) -> None:
    """Whatever is behind the guard."""
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).accept()
    else:
        await PlainTextResponse("reached")(scope, receive, send)


def client(app: ASGIApp | None = None, host: str = "127.0.0.1:3000") -> TestClient:
    return TestClient(app or Guard(reached, names=["dagster.example", "gpu-1:8080"]), base_url=f"http://{host}")


@pytest.mark.parametrize(
    ("host", "method", "path", "headers"),
    [
        ("127.0.0.1:3000", "GET", "/", {}),
        ("localhost:3000", "GET", "/assets/report_asset_check?view=lineage", {}),
        ("[::1]:3000", "GET", "/logs/one/two.err", {}),
        ("192.168.0.7:3000", "HEAD", "/", {}),
        ("dagster.example", "GET", "/runs/1?focus=x", {}),
        ("GPU-1:8080", "GET", "/", {}),
        ("127.0.0.1:3000", "GET", "/graphql", {"accept": "text/html"}),
        ("127.0.0.1:3000", "POST", "/graphql", JSON),
        ("127.0.0.1:3000", "POST", "/graphql", {"content-type": "Application/JSON; charset=utf-8"}),
        ("127.0.0.1:3000", "POST", "/graphql?op=AssetGraphLiveQuery", JSON),
        ("127.0.0.1:3000", "POST", "/graphql", JSON | {"origin": "http://127.0.0.1:3000"}),
        ("127.0.0.1:3000", "POST", "/graphql", JSON | {"origin": "https://dagster.example"}),
        ("dagster.example:8443", "POST", "/graphql", JSON | {"origin": "https://dagster.example:8443"}),
    ],
)
def test_the_servers_own_pages_and_scripts_without_a_page_pass(
    host: str, method: str, path: str, headers: dict[str, str]
) -> None:
    assert client(host=host).request(method, path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "text"),
    [
        ("GET", RAW, {}, 405, "send GraphQL in the body of a POST; an address must not start anything"),
        ("GET", RAW, {"accept": "text/html"}, 405, "in the body of a POST"),
        ("GET", "/%67raphql?query=x", {}, 405, "in the body of a POST"),
        ("HEAD", RAW, {}, 405, ""),
        ("POST", RAW, JSON, 405, "in the body of a POST"),
        ("POST", "/graphql?op=Launch&query=mutation", JSON, 405, "in the body of a POST"),
        ("POST", "/graphql?op=%7Bx%7D", JSON, 405, "in the body of a POST"),
        ("PUT", "/graphql", JSON, 405, "send GraphQL by POST"),
        ("POST", "/graphql", {}, 415, "with Content-Type: application/json"),
        ("POST", "/graphql", {"content-type": "text/plain"}, 415, "with Content-Type: application/json"),
        ("POST", "/graphql", {"content-type": "text/plain; application/json"}, 415, "application/json"),
        ("POST", "/graphql", {"content-type": "application/graphql"}, 415, "application/json"),
        ("POST", "/graphql", {"content-type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ("POST", "/report_asset_materialization/grading/scoreboard", JSON, 403, "only runs record events"),
        ("POST", "/report_asset_check/grading/validation", JSON, 403, "only runs record events"),
        ("POST", "/report_asset_observation/actors", JSON, 403, "only runs record events"),
        ("POST", "/a_route_of_a_later_version", JSON, 403, "only GraphQL changes anything here"),
        ("DELETE", "/logs/one.err", {}, 403, "only GraphQL changes anything here"),
    ],
)
def test_nothing_but_graphql_as_json_by_post_changes_anything(
    method: str, path: str, headers: dict[str, str], status: int, text: str
) -> None:
    answer = client().request(method, path, headers=headers)

    assert answer.status_code == status
    assert text in answer.text


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:8888",
        "http://127.0.0.1",
        "http://dagster.example.evil.example",
        "http://evil.example?dagster.example",
        "chrome-extension://127.0.0.1:3000",
        "http://[::1",
        "null",
        "",
    ],
)
def test_a_page_of_another_origin_is_refused_whatever_it_asks(origin: str, method: str) -> None:
    answer = client().request(method, "/graphql", headers=JSON | {"origin": origin})

    assert answer.status_code == 403
    assert answer.json() == {"errors": [{"message": f"pages of {origin!r} may not use this server; open it directly"}]}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost.evil.example"]
)
def test_a_name_that_leads_here_and_is_not_ours_is_refused_even_for_a_page_of_that_name(host: str) -> None:
    answer = client(host=host).get("/", headers={"origin": f"http://{host}"})

    assert answer.status_code == 403
    assert answer.json()["errors"][0]["message"] == (
        f"{host!r} is not a name of this server; add it to BENCH_UI_NAMES if it is"
    )


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/graphql", {"origin": "https://evil.example"}), ("/graphql", {"host": "evil.example"}), ("/elsewhere", {})],
)
def test_a_socket_of_another_page_is_closed_before_it_opens(path: str, headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDisconnect), client().websocket_connect(path, headers=headers):
        pass


@pytest.mark.parametrize("headers", [{}, {"origin": "http://127.0.0.1:3000"}])
def test_a_socket_of_the_servers_own_pages_opens(headers: dict[str, str]) -> None:
    with client().websocket_connect("/graphql", headers={"host": "127.0.0.1:3000", **headers}):
        pass


def test_a_path_prefix_moves_graphql_and_nothing_else() -> None:
    behind = client(Guard(reached, prefix="/dagster"))

    assert behind.post("/dagster/graphql", headers=JSON).status_code == 200
    assert behind.get("/dagster/graphql?query=x").status_code == 405
    assert behind.post("/graphql", headers=JSON).status_code == 403
