"""Code servers of our own, one for each code location of a workspace, and the workspace that leads to them.

Dagster would start hidden ones, and would leave a location failed for ever when one of them dies. server.py starts
these and starts them again.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench_pipeline.domain.errors import InputError

_POINTERS = {"python_module": "module_name", "python_package": "package_name", "python_file": "relative_path"}
_OPTIONS = {
    "module_name": "--module-name",
    "package_name": "--package-name",
    "relative_path": "--python-file",
    "attribute": "--attribute",
    "working_directory": "--working-directory",
}
_CONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class CodeServer:
    """How one code location is served."""

    location: str
    command: Sequence[str]
    address: str | int
    """A unix socket, or a port of this machine where there are none."""

    @property
    def entry(self) -> dict[str, Any]:
        """Where the others find it, as an entry of a workspace."""
        where = {"socket": self.address} if isinstance(self.address, str) else {"port": self.address}
        return {"grpc_server": {"host": "localhost", "location_name": self.location, **where}}

    def answers(self) -> bool:
        """Whether it has loaded its code; it listens only then."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with suppress(OSError), socket.socket(family) as probe:
            probe.settimeout(_CONNECT_S)
            probe.connect(self.address if isinstance(self.address, str) else ("localhost", self.address))
            return True
        return False


def code_servers(workspace: Path | None, module: str, folder: Path) -> tuple[Sequence[CodeServer], Path]:
    """Return the code servers of a workspace file, or of one module, and the path of the workspace that names them.

    Entries that are not Python code, such as a `grpc_server` that runs elsewhere, stay as they are. `folder` holds
    sockets and the workspace written. Raises `InputError` for a file that is not a workspace.
    """
    entries = _entries(workspace) if workspace else [{"python_module": module}]
    base = workspace.absolute().parent if workspace else Path.cwd()
    servers: list[CodeServer] = []
    kept: list[Any] = []
    for entry in entries:
        target = _target(entry, base)
        if target is None:
            kept.append(entry)
        else:
            address = str(folder / f"{len(servers)}.sock") if sys.platform != "win32" else _free_port()
            servers.append(_server(target, address))
    written = folder / "workspace.yaml"
    written.write_text(yaml.safe_dump({"load_from": [*(one.entry for one in servers), *kept]}), encoding="utf-8")
    return servers, written


def _entries(workspace: Path) -> Sequence[Any]:
    try:
        value = yaml.safe_load(workspace.read_text(encoding="utf-8"))
        entries = value["load_from"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        entries = None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{workspace}: is not a workspace; write load_from with the code locations, or leave out -w")
    return entries


def _target(entry: Any, base: Path) -> dict[str, str] | None:  # noqa: ANN401 - YAML
    """Return what a code server loads for this entry, None when it is not Python code."""
    if not isinstance(entry, Mapping) or len(entry) != 1:
        return None
    (kind, value), *_ = entry.items()
    if kind not in _POINTERS:
        return None
    target = {_POINTERS[kind]: value} if isinstance(value, str) else {key: str(value[key]) for key in value}
    for name in ("relative_path", "working_directory"):
        if name in target:
            target[name] = str(base / target[name])
    return target


def _server(target: Mapping[str, str], address: str | int) -> CodeServer:
    location = target.get("location_name") or _default_name(target)
    python = target.get("executable_path", sys.executable)
    listening = ["--socket", address] if isinstance(address, str) else ["--port", str(address)]
    pointers = [word for name, option in _OPTIONS.items() if name in target for word in (option, target[name])]
    command = [python, "-m", "dagster", "code-server", "start", "--inject-env-vars-from-instance"]
    command += ["--log-level", "error", "--location-name", location, *listening, *pointers]
    return CodeServer(location, command, address)


def _default_name(target: Mapping[str, str]) -> str:
    """Return Dagster's own name of a location: whether a schedule is on is kept under it."""
    if "relative_path" in target:
        name = Path(target["relative_path"]).name
    else:
        name = target.get("module_name") or target.get("package_name") or ""
    return f"{name}:{target['attribute']}" if "attribute" in target else name


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])
