"""The supervisor that starts, restarts and stops the processes of a rehearsal. What they are is in rehearsal.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport


@dataclass(frozen=True)
class Program:
    """A process to supervise. `account` is the name of another account that it runs as."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    account: str | None = None
    autostart: bool = False

    def section(self, folder: Path, log: Path) -> str:
        """Return its part of the supervisor's configuration."""
        variables = ",".join(f'{name}="{_escaped(value)}"' for name, value in self.environment.items())
        lines = [
            f"[program:{self.name}]",
            f"command={_escaped(' '.join(self.command))}",
            f"directory={'/' if self.account else folder}",  # another account may not enter ours
            f"environment={variables}",
            f"autostart={str(self.autostart).lower()}",
            f"priority={1 if self.autostart else 999}",  # what starts first stops last
            "autorestart=true",
            "startsecs=0",
            "startretries=1000",
            "stopasgroup=true",
            "killasgroup=true",
            "stopwaitsecs=10",
            f"stopsignal={'QUIT' if self.name == 'nginx' else 'INT' if self.name == 'postgres' else 'TERM'}",
            "redirect_stderr=true",
            f"stdout_logfile={log / self.name}.log",
            "stdout_logfile_backups=1",
        ]
        return "\n".join([*lines, *([f"user={self.account}"] if self.account else [])]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


class Supervisor:
    """supervisord over one folder, which holds its configuration, socket and logs."""

    def __init__(self, folder: Path, programs: Sequence[Program], sockets: Path) -> None:
        self._folder = folder
        self._configuration = folder / "supervisord.conf"
        self._pid_file = folder / "supervisord.pid"
        self._socket = sockets / "supervisor"
        self.programs = {program.name: program for program in programs}

    def start(self) -> None:
        """Write the configuration and start supervisord unless it runs; autostarted programs start with it."""
        if self.pid is not None:
            return
        log = self._folder / "logs"
        log.mkdir(exist_ok=True)
        own = "[supervisord]\n" + "\n".join(
            [
                f"logfile={log}/supervisord.log",
                f"pidfile={self._pid_file}",
                *(["user=root"] if os.geteuid() == 0 else []),
            ]
        )
        control = f"[unix_http_server]\nfile={self._socket}\nchmod=0700"
        interface = (
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface"
        )
        sections = [program.section(self._folder, log) for program in self.programs.values()]
        self._configuration.touch(mode=0o600)  # it holds passwords
        self._configuration.write_text("\n\n".join([own, control, interface, *sections]), encoding="utf-8")
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        subprocess.run(command, check=True, env=plain_environment(), capture_output=True, timeout=60)

    @property
    def pid(self) -> int | None:
        """The supervisor's process, None when it does not run."""
        with suppress(OSError, ValueError, psutil.Error):
            process = psutil.Process(int(self._pid_file.read_text(encoding="utf-8")))
            if str(self._configuration) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process.pid
        return None

    def run(self, *names: str) -> None:
        """Start programs that do not run."""
        for name in names:
            with suppress(Fault):  # it runs already
                self._ask().startProcess(name, False)

    def pids(self) -> dict[str, int]:
        """The process of each program that runs."""
        return {str(one["name"]): int(one["pid"]) for one in self._ask().getAllProcessInfo() if one["pid"]}

    def kill(self, *names: str) -> None:
        """SIGKILL these programs' processes, and with no name everything, the supervisor first and all children too."""
        found = self.pids()
        if names:
            for name in names:
                os.kill(found[name], signal.SIGKILL)
            return
        assert self.pid is not None
        root = psutil.Process(self.pid)
        _kill([root, *root.children(recursive=True)])

    def stop(self) -> None:
        """Stop all programs and the supervisor, and kill what is left of them after a while."""
        if self.pid is None:
            return
        root = psutil.Process(self.pid)
        everything = [root, *root.children(recursive=True)]
        root.terminate()
        psutil.wait_procs(everything, timeout=30)
        _kill(everything)

    def remove(self) -> None:
        """Delete the folder of the socket."""
        shutil.rmtree(self._socket.parent, ignore_errors=True)

    def _ask(self) -> ServerProxy:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor  # type: ignore[return-value]


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def plain_environment() -> dict[str, str]:
    """The environment without any setting of the program, of Dagster, of Ollama or of PostgreSQL."""
    return {name: value for name, value in os.environ.items() if not ours(name) and not name.startswith("PG")}


def ours(name: str) -> bool:
    """Whether a variable is a setting of the program, of Dagster or of Ollama."""
    return name.startswith(("BENCH_", "DAGSTER_", "OLLAMA_"))
