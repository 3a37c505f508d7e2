"""Which code servers a workspace needs, and under which names Dagster knows them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import yaml

from bench_pipeline.domain.errors import InputError
from bench_pipeline.ui.code_servers import CodeServer, code_servers

ROOT = Path(__file__).parent.parent.parent


def servers_of(folder: Path, text: str) -> tuple[list[CodeServer], list[object]]:
    """The code servers of a workspace file with this text, and the entries that the others are given."""
    (folder / "in").mkdir()
    (folder / "in" / "workspace.yaml").write_text(text)
    servers, written = code_servers(folder / "in" / "workspace.yaml", "unused", folder)
    return list(servers), yaml.safe_load(written.read_text())["load_from"]


@pytest.mark.parametrize(
    ("entry", "location", "words"),
    [
        ("python_module: a.b", "a.b", ["--module-name", "a.b"]),
        (
            "python_module: {module_name: a.b, working_directory: src, location_name: here}",
            "here",
            ["--module-name", "a.b", "--working-directory", "{base}/src"],
        ),
        (
            "python_module: {module_name: a, attribute: defs}",
            "a:defs",
            ["--module-name", "a", "--attribute", "defs"],
        ),
        ("python_package: a", "a", ["--package-name", "a"]),
        ("python_file: sub/one.py", "one.py", ["--python-file", "{base}/sub/one.py"]),
        ("python_file: {relative_path: /abs/one.py}", "one.py", ["--python-file", "/abs/one.py"]),
    ],
)
def test_each_entry_of_python_code_gets_a_server_under_dagsters_own_name(
    tmp_path: Path, entry: str, location: str, words: list[str]
) -> None:
    (server,), entries = servers_of(tmp_path, f"load_from:\n  - {entry}\n")

    at = str(tmp_path / "0.sock")
    command = list(server.command)
    assert command[-len(words) :] == [word.format(base=tmp_path / "in") for word in words]
    assert command[command.index("--location-name") + 1] == location
    assert command[0] == sys.executable
    assert entries == [{"grpc_server": {"host": "localhost", "location_name": location, "socket": at}}]


def test_an_entry_that_is_served_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    elsewhere = {"grpc_server": {"host": "gpu-1", "port": 4000, "location_name": "promote"}}
    text = yaml.safe_dump({"load_from": [elsewhere, {"python_module": "a"}]})

    servers, entries = servers_of(tmp_path, text)

    assert [server.location for server in servers] == ["a"]
    assert elsewhere in entries


def test_an_environment_of_its_own_is_used(tmp_path: Path) -> None:
    (server,), _ = servers_of(
        tmp_path, "load_from: [{python_module: {module_name: a, executable_path: /v/bin/python}}]"
    )
    assert server.command[:4] == ["/v/bin/python", "-m", "dagster", "code-server"]


def test_the_shipped_workspace_keeps_the_name_under_which_schedules_are_on(tmp_path: Path) -> None:
    (server,), _ = code_servers(ROOT / "workspace.yaml", "unused", tmp_path)
    assert server.location == "bench_pipeline.definitions"


@pytest.mark.parametrize("text", ["", "load_from:", "load_from: []", "- a", "{", "load_from: 3", "other: []"])
def test_a_file_that_is_no_workspace_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"workspace\.yaml: is not a workspace; write load_from"):
        servers_of(tmp_path, text)


def test_a_server_answers_once_something_listens(tmp_path: Path) -> None:
    address = str(tmp_path / "s")
    server = CodeServer("a", [], address)
    assert not server.answers()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        assert server.answers()
