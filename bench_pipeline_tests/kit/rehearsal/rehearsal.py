"""The deployment of deploy/ on this machine, with its own units, variables, workspace and proxy, and nothing of root's.

PostgreSQL comes from its wheel, nginx from the system, and a supervisor stands for systemd.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import trustme

from bench_pipeline.domain.errors import InputError
from bench_pipeline_tests.fakes.postgres import free_port, server_account
from bench_pipeline_tests.kit.rehearsal import shipped
from bench_pipeline_tests.kit.rehearsal.postgres import LOGINS, Cluster, make_cluster
from bench_pipeline_tests.kit.rehearsal.supervision import Program, Supervisor, plain_environment

HOST = "127.0.0.1"
OPERATOR, VIEWER = "operator", "viewer"
NO_NGINX = "nginx is not on this machine's PATH; install it (apt-get install nginx-light, brew install nginx)"
_BIN = Path(sys.executable).parent
_PORTS = ("nginx", "postgres", "measure", "promote", "web", "read_only_web")
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }
"""
_MAIN = """
{user}daemon off;
pid {home}/nginx.pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/dagster.conf;
}}
"""


def nginx_program() -> str | None:
    """The path of nginx, which Debian installs where only root looks."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


@dataclass
class Rehearsal:
    """The whole set in `folder`; as a context manager it is up inside.

    `fill` makes production in an empty database, `variables` are added to those of both code locations. Ports are free
    ones unless `port` says where nginx listens.
    """

    folder: Path
    fill: Callable[[str], None]
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    # What it does

    def up(self, limit_s: float = 240) -> None:
        """Start what does not run, in the order of the units, and wait until every part answers."""
        if nginx_program() is None:
            raise InputError(NO_NGINX)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._supervisor.pid is not None and self.is_ready():
            return
        if self._supervisor.pid is None:
            self._refuse_taken_port()
            self._write_files()
            self._supervisor.start()
        _until(self.cluster.answers, "PostgreSQL", 60, self.trouble)
        self.cluster.fill(self.fill)
        self._install()
        self._supervisor.run(*self._supervisor.programs)
        _until(self.is_ready, "every part to answer", limit_s, self.trouble)

    def down(self) -> None:
        """Stop everything. The databases and the files stay."""
        if self._was_up:
            self._supervisor.stop()

    def remove(self) -> None:
        """Kill everything, and delete what lies outside of the folder."""
        if not self._was_up:
            return
        if self._supervisor.pid is not None:
            self._supervisor.kill()
        self._supervisor.remove()
        if (self.folder / "postgres").is_symlink():
            shutil.rmtree((self.folder / "postgres").resolve())

    def kill(self, *names: str) -> None:
        """SIGKILL processes, which the supervisor starts again; with no name everything, the supervisor too."""
        self._supervisor.kill(*names)

    def kill_runs(self) -> int:
        """SIGKILL the processes of all runs, and return how many there were."""
        found = self.run_processes()
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return len(found)

    def run_unit(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the command of a unit that does not run all the time, as its timer would."""
        unit = shipped.units()[name]
        environment = plain_environment() | self.environment_of(unit)
        [command] = map(self._here, unit.commands(environment))
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    # What it tells

    @property
    def url(self) -> str:
        """Where nginx listens."""
        return f"https://{HOST}:{self.ports['nginx']}"

    @property
    def pids(self) -> dict[str, int]:
        """The process of each part."""
        return self._supervisor.pids()

    @property
    def supervisor_pid(self) -> int | None:
        """The process of the supervisor, None when it is down."""
        return self._supervisor.pid

    def run_processes(self) -> list[psutil.Process]:
        """The processes of runs: what the code locations started."""
        found = self.pids
        return [
            child
            for name in ("measure", "promote")
            if name in found
            for child in psutil.Process(found[name]).children()
            if "resource_tracker" not in " ".join(child.cmdline())
        ]

    def client(self, user: str | None = OPERATOR, **options: Any) -> httpx.Client:  # noqa: ANN401 - of httpx
        """A client that trusts the certificate, logged in as this user."""
        auth = (user, self.logins[user]) if user else None
        return httpx.Client(base_url=self.url, verify=self.trust, auth=auth, trust_env=False, timeout=60, **options)

    def graphql(self, query: str, user: str = OPERATOR, **variables: object) -> dict[str, Any]:
        """Ask through nginx and return the data."""
        with self.client(user) as client:
            answer = client.post("/graphql", json={"query": query, "variables": variables}).raise_for_status().json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def is_ready(self) -> bool:
        """Whether both code locations are loaded, the daemon is heard of, and both web servers answer."""
        with suppress(httpx.HTTPError, AssertionError):
            for user in (OPERATOR, VIEWER):
                state = self.graphql(_LOCATIONS, user)
                entries = state["workspaceOrError"]["locationEntries"]
                loaded = [one["locationOrLoadError"] or {} for one in entries if one["loadStatus"] == "LOADED"]
                if [one.get("__typename") for one in loaded] != ["RepositoryLocation"] * 2:
                    return False
            daemons = state["instance"]["daemonHealth"]["allDaemonStatuses"]
            return all(one["healthy"] for one in daemons if one["required"])
        return False

    def trouble(self) -> str:
        """The last lines of each log."""
        logs = sorted((self.folder / "logs").glob("*.log"))
        return "\n".join(f"== {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs)

    def logged(self, *names: str) -> str:
        """All that these parts wrote."""
        return "".join((self.folder / "logs" / f"{name}.log").read_text(encoding="utf-8") for name in names)

    # How it is made

    @cached_property
    def ports(self) -> dict[str, int]:
        """The port of each part, the same ones every time."""
        return self._kept("ports", lambda: {name: free_port() for name in _PORTS}) | (
            {"nginx": self.port} if self.port else {}
        )

    @cached_property
    def logins(self) -> dict[str, str]:
        """The users of the web server and their passwords."""
        return self._kept("logins", lambda: {name: secrets.token_urlsafe(9) for name in (OPERATOR, VIEWER)})

    @cached_property
    def cluster(self) -> Cluster:
        """PostgreSQL."""
        passwords = self._kept("passwords", lambda: {name: secrets.token_urlsafe(12) for name in LOGINS})
        return make_cluster(self.folder / "postgres", passwords, self.ports["postgres"])

    @cached_property
    def environments(self) -> dict[str, dict[str, str]]:
        """The variables of each file in deploy/env, with the values of this machine."""
        state, ports = self.folder, {name: str(port) for name, port in self.ports.items()}
        own = {
            "dagster.env": {
                "DAGSTER_HOME": str(state / "dagster"),
                "DAGSTER_PG_PORT": ports["postgres"],
                "DAGSTER_PG_PASSWORD": self.cluster.passwords["dagster"],
                "MEASURE_PORT": ports["measure"],
                "PROMOTE_PORT": ports["promote"],
            },
            "bench.env": {
                "BENCH_DATABASE_URL": self.cluster.url("bench_recorder"),
                "BENCH_TESTCASES_DIR": str(shipped.ROOT / "testcases"),
                **self.variables,
            },
            "measure.env": {"BENCH_REPORTS_DIR": str(state / "reports"), "BENCH_CACHE_DIR": str(state / "cache")},
            "promote.env": {
                "BENCH_PROMOTER_URL": self.cluster.url("bench_promoter"),
                "BENCH_PRODUCTION_DIR": str(state / "production"),
                "BENCH_CACHE_DIR": str(state / "cache"),
            },
            "web.env": {
                "WEB_PORT": ports["web"],
                "READ_ONLY_WEB_PORT": ports["read_only_web"],
                "BENCH_UI_NAMES": HOST,
            },
            "nginx.env": {
                "LISTEN": f"{HOST}:{ports['nginx']}",
                "SERVER_NAME": HOST,
                "ORIGIN": self.url,
                "TLS_CERTIFICATE": str(state / "certificate.pem"),
                "TLS_KEY": str(state / "key.pem"),
                "LOGINS": str(state / "htpasswd"),
                "OPERATORS": str(state / "operators"),
                "WEB": f"{HOST}:{ports['web']}",
                "READ_ONLY_WEB": f"{HOST}:{ports['read_only_web']}",
            },
        }
        files = {path.name: shipped.read_variables(path) for path in shipped.ENVIRONMENTS.iterdir()}
        return {name: values | own[name] for name, values in files.items()}

    def environment_of(self, unit: shipped.Unit) -> dict[str, str]:
        """The variables of a unit's process, and no others of ours."""
        values = {"PATH": f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
        if "PYTHONPATH" in os.environ:
            values["PYTHONPATH"] = os.environ["PYTHONPATH"]
        for name in unit.environments:
            values |= self.environments[name]
        return values

    @cached_property
    def _supervisor(self) -> Supervisor:
        account = server_account()
        user = pwd.getpwuid(account["user"]).pw_name if account else None
        programs = [Program("postgres", self.cluster.command, {}, user, autostart=True)]
        for unit in shipped.processes():
            environment = self.environment_of(unit)
            [command] = unit.commands(environment)
            programs.append(Program(unit.part, self._here(command), environment))
        programs.append(Program("nginx", [nginx_program() or "nginx", "-c", str(self.folder / "nginx.conf")], {}))
        sockets = Path(self._kept("sockets", lambda: {"folder": tempfile.mkdtemp(prefix="bench-")})["folder"])
        sockets.mkdir(mode=0o700, exist_ok=True)
        return Supervisor(self.folder, programs, sockets)

    @property
    def _was_up(self) -> bool:
        return (self.folder / "ports.json").exists()

    @staticmethod
    def _here(command: list[str]) -> list[str]:
        """The command of a unit with this machine's paths."""
        paths = {"/opt/bench_pipeline/.venv/bin": str(_BIN), "/opt/bench_pipeline": str(shipped.ROOT)}
        for theirs, ours in paths.items():
            command = [word.replace(theirs, ours) for word in command]
        return command

    def _write_files(self) -> None:
        home = self.folder / "dagster"
        for folder in (home, self.folder / "reports", self.folder / "production"):
            folder.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text(shipped.dagster_yaml(), encoding="utf-8")
        users = "".join(f"{name}:{_hashed(password)}\n" for name, password in self.logins.items())
        (self.folder / "htpasswd").write_text(users, encoding="utf-8")
        (self.folder / "operators").write_text(f"{OPERATOR} bench_web;\n", encoding="utf-8")
        if not (self.folder / "ca.pem").exists():
            authority = trustme.CA()
            certificate = authority.issue_cert(HOST, "localhost")
            authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
            certificate.private_key_pem.write_to_path(str(self.folder / "key.pem"))
            for one in certificate.cert_chain_pems:
                one.write_to_path(str(self.folder / "certificate.pem"))
        template = (shipped.DEPLOY / "nginx.conf.template").read_text(encoding="utf-8")
        filled = shipped.filled(template, self.environments["nginx.env"])
        (self.folder / "dagster.conf").write_text(filled, encoding="utf-8")
        user = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(_MAIN.format(home=self.folder, user=user), encoding="utf-8")

    def _install(self) -> None:
        """Do what the guide does before the first start: the instance, and bench's tables and roles."""
        instance = shipped.units()[shipped.INSTANCE]
        environment = plain_environment() | self.environment_of(instance)
        owner = {
            "BENCH_OWNER_URL": self.cluster.url("postgres"),
            "BENCH_DATABASE_URL": self.cluster.url("bench_recorder"),
            "BENCH_RECORDER_PASSWORD": self.cluster.passwords["bench_recorder"],
            "BENCH_PROMOTER_PASSWORD": self.cluster.passwords["bench_promoter"],
        }
        install = [str(_BIN / "bench"), "db", "install", "--no-rehearse"]
        with ThreadPoolExecutor(1) as beside:  # another database, and seconds that a test waits for
            tables = beside.submit(self._finish, [install], environment | owner)
            self._finish(map(self._here, instance.commands(environment)), environment)
            tables.result()

    def _finish(self, commands: Iterable[list[str]], environment: Mapping[str, str]) -> None:
        for command in commands:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
            )
            assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.ports["nginx"]))
            except OSError as error:
                raise InputError(
                    f"port {self.ports['nginx']} is taken: {error.strerror}; choose another: make up PORT=9443"
                ) from None

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """What trusts the proxy's certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))

    def _kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` made the first time."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(json.dumps(make()), encoding="utf-8")
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return kept


def _hashed(password: str) -> str:
    """A password as nginx reads it on every system."""
    salt = secrets.token_bytes(8)
    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()


def _until(condition: Callable[[], bool], what: str, limit_s: float, tell: Callable[[], str] = str) -> None:
    ends = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {limit_s:.0f} s for {what}\n{tell()}")
        time.sleep(0.3)
