"""Web server and daemon as two child processes that start and end together. The web server is in webserver.py."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from bench_pipeline.demo.home import dagster_home, open_instance
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.settings import load_settings

_MODULE = "bench_pipeline.definitions"
_POLL_S = 0.2
_GRACE_S = 20.0


def serve(host: str, port: int, workspace: Path | None, on_ready: Callable[[str, str], None]) -> None:
    """Serve a workspace file, or the installed package, until Ctrl-C or SIGTERM.

    `on_ready` is called with the address and with what is served, once the web server answers. Raises
    `InputError` when the port is taken, and `GateFailed` when one of the two processes ends unexpectedly.
    """
    _require_free(host, port)
    home = dagster_home()
    with open_instance(home):
        pass
    served = ["--workspace", str(workspace)] if workspace else ["--module-name", _MODULE]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    listening = ["--host", host, "--port", str(port), "--dagster-log-level", "warning"]
    # The daemon replaces its code server every minute, and the old one warns each time that it has lost its daemon.
    quiet = ["--code-server-log-level", "error"]
    commands = {
        "daemon": [_script("dagster-daemon"), "run", "--log-level", "warning", *quiet, *served],
        "web server": [sys.executable, "-m", "bench_pipeline.ui.webserver", *listening, *quiet, *served],
    }
    with suppress(KeyboardInterrupt), _stopped_by_signals(), _started(commands, home) as children:
        ready = False
        while True:
            for name, child in children.items():
                if (status := child.poll()) is not None:
                    raise GateFailed(f"the {name} ended unexpectedly with status {status}; its messages are above")
            if not ready and (ready := _answers(address)):
                on_ready(address, str(workspace or _MODULE))
            time.sleep(_POLL_S)


def _require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if sys.platform != "win32":  # Windows frees the port of a server that has just ended
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port or --host"
            ) from error
        except (TypeError, UnicodeError):  # a name that cannot be encoded, or is too long
            raise InputError(f"{host}: is not a host name or an address; choose another with --host") from None


def _script(name: str) -> str:
    """Return the path of a command that was installed with this interpreter."""
    path = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if path is None:
        raise InputError(f"{name} is not installed next to {sys.executable}; reinstall the package")
    return path


def _answers(address: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{address}/server_info", trust_env=False).is_success
    return False


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let a service manager or a closed terminal stop the server as Ctrl-C does."""
    signals = [signal.SIGTERM] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGHUP]
    before = {number: signal.signal(number, signal.default_int_handler) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(home: Path) -> dict[str, str]:
    """Return this environment for Dagster; nothing starts by itself unless BENCH_AUTOMATION says so."""
    return {**os.environ, "DAGSTER_HOME": str(home), "BENCH_AUTOMATION": load_settings().automation or "off"}


@contextmanager
def _started(commands: Mapping[str, Sequence[str]], home: Path) -> Iterator[Mapping[str, subprocess.Popen[bytes]]]:
    """Start each process in its own group, together with its code server and its runs.

    Ctrl-C then reaches each of them once, from here. It also ends a run in progress, whose code server would
    otherwise continue unseen until the run has promoted.
    """
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            children[name] = subprocess.Popen(  # noqa: S603 - our own commands
                command, env=_environment(home), stdin=subprocess.DEVNULL, start_new_session=True
            )
        yield children
    finally:
        for child in children.values():
            _interrupt(child)
        for child in children.values():
            _wait(child)


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        child.terminate()
    else:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
