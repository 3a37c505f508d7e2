"""Code servers, daemon and web server as one program: they start and end together, and one that dies is replaced.

How processes are kept alive is in supervision.py; the web server is in webserver.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import httpx
import psutil

from bench_pipeline.demo.home import dagster_home, open_instance
from bench_pipeline.domain.errors import InputError
from bench_pipeline.operation.ghost_runs import heal
from bench_pipeline.settings import load_settings
from bench_pipeline.ui.code_servers import code_servers
from bench_pipeline.ui.supervision import Service, Supervisor

_MODULE = "bench_pipeline.definitions"
_POLL_S = 0.2


def serve(
    host: str,
    port: int,
    workspace: Path | None,
    on_ready: Callable[[str, str], None],
    tell: Callable[[str], None],
) -> None:
    """Serve a workspace file, or the installed package, until Ctrl-C or SIGTERM.

    `on_ready` is called with the address and with what is served, once the web server answers; `tell` with one line
    about each process that died and each run that was found dead. Raises `InputError` when the port is taken, and
    `GateFailed` when a process ends before it is ready or too often.
    """
    _require_free(host, port)
    home = dagster_home()
    with open_instance(home) as instance:
        for ghost in heal(instance).ended:
            tell(f"run {ghost.run_id} of {ghost.job} is over: {ghost.why}")
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    settings = load_settings()
    names = {*settings.own_ui_names, socket.gethostname(), host}
    environment = {
        "DAGSTER_HOME": str(home),
        "BENCH_UI_NAMES": ",".join(sorted(names)),
        "BENCH_AUTOMATION": settings.automation or "off",  # on this machine nothing starts by itself unless told to
    }
    supervisor = Supervisor(os.environ | environment, tell)
    with _scratch() as folder, suppress(KeyboardInterrupt), _stopped_by_signals():
        try:
            servers, served = code_servers(workspace, _MODULE, folder)
            supervisor.start(*(Service(f"code server of {s.location}", s.command, _lost_its_child()) for s in servers))
            _wait(supervisor, lambda: all(server.answers() for server in servers))
            daemon = [_script("dagster-daemon"), "run", "--log-level", "warning", "--workspace", str(served)]
            web = [sys.executable, "-m", "bench_pipeline.ui.webserver", "--host", host, "--port", str(port)]
            web += ["--dagster-log-level", "warning", "--workspace", str(served)]
            supervisor.start(Service("daemon", daemon), Service("web server", web))
            _wait(supervisor, lambda: _answers(address))
            on_ready(address, str(workspace or _MODULE))
            while True:
                supervisor.keep_alive()
                time.sleep(_POLL_S)
        finally:
            with _undisturbed():
                supervisor.stop()


def who_reaches(host: str) -> str:
    """Return who can use a web server that listens there, in words. It has no login."""
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost"
    if is_local:
        return "every process and every user of this machine"
    return (
        "everyone whose network leads to this machine; put a proxy with a login in front (deploy/nginx.conf.template)"
    )


def _wait(supervisor: Supervisor, is_ready: Callable[[], bool]) -> None:
    while not is_ready():
        supervisor.check_first_start()
        time.sleep(_POLL_S)


def _lost_its_child() -> Callable[[int], bool]:
    """Return what tells whether the process that loaded the code is dead: a code server only hands requests on to it.

    One that has just started has none yet.
    """
    had_one: set[int] = set()

    def lost(pid: int) -> bool:
        with suppress(psutil.Error):
            if any(child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process(pid).children()):
                had_one.add(pid)
                return False
        return pid in had_one

    return lost


@contextmanager
def _scratch() -> Iterator[Path]:
    """A short path: that of a unix socket may have about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="bench-ui-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


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
def _undisturbed() -> Iterator[None]:
    """Finish what would leave processes behind, however often Ctrl-C is pressed."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
