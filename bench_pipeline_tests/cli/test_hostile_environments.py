"""Whatever the environment is, every command ends with one of its exit statuses, and never with a traceback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest

from bench_pipeline.cli.main import COMMANDS, bench
from bench_pipeline.settings import Settings
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.world import World

STATUSES = {0, 1, 2}
ARGUMENTS = {
    "demo": "--tasks typo",  # a task that exists would be downloaded for
    "run": "--task grading --models fast",
    "models": "",
    "cases show": "PASS_001 --model fast",
    "cases import": "3336 --yes --task imported",
    "cases check": "",
    "history": "--task grading",
    "rescore": "--task grading",
    "why": "fast",
    "plan": "--task grading",
    "decide": "--task grading",
    "promote": "--task grading",
    "approve": "57b9a46af00c",
    "freeze": "--reason test",
    "thaw": "",
    "rollback": "",
    "failover": "3336",
    "validate": "--task grading",
    "reconcile": "",
    "log": "--plans",
    "blame": "3336",
    "docs": "",
    "db map": "",
    "db prune": "--keep 24m --yes",
    "db uninstall": "",  # asks, and nobody can answer
    "db install": "",
    "db rehearse": "--yes",
    "triggers": "",
    "retry": "",
    "ui": "--host 203.0.113.1",  # an address of no machine, so that no server starts
    "heal": "",
    "alerts": "",
    "doctor": "",
    "completion": "bash",
}

Prepare = Callable[[Path], None]


def _text(name: str, content: bytes = b"not what is expected\n") -> Prepare:
    def prepare(folder: Path) -> None:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return prepare


def _folder(name: str) -> Prepare:
    return lambda folder: (folder / name).mkdir()


def _in(name: str) -> Prepare:
    return lambda _: os.chdir(name)


def _deleted(folder: Path) -> None:
    gone = folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()


VARIABLES = {
    "BENCH_DATABASE_URL": [
        "nonsense", "sqlite:///.", "sqlite:///notes.txt", "sqlite:////proc/absent/x.db", "sqlite:///a\udcffb.db",
        "sqlite://", "mysql://h/x", "absent+driver://h/x", "postgresql+absent://h/x", "postgresql://127.0.0.1:1/x",
        "postgresql://h:99999999/x", "postgresql://[::1/x", "postgresql://", "postgresql:///x?sslmode=nonsense",
        '"sqlite:///x.db"', "sqlite:///x.db\n",
    ],
    "BENCH_PROMOTER_URL": ["nonsense", "postgresql://127.0.0.1:1/x"],
    "BENCH_OWNER_URL": ["nonsense", "sqlite:///."],
    "BENCH_OLLAMA_HOST": [
        "::1", "garbage garbage", "http://[::1", "http://h:port", "http://", "unix:///x", '"http://127.0.0.1:1"',
        "127.0.0.1:1", "http://h\udcff", "http://" + "a" * 70, "http://127.0.0.1:99999999",
    ],
    "BENCH_TESTCASES_DIR": ["absent", "notes.txt", "/proc/absent", "a\udcffb", "x" * 300],
    "BENCH_REPORTS_DIR": ["notes.txt", "/proc/absent", "x" * 300],
    "BENCH_PRODUCTION_DIR": ["notes.txt", "/proc/absent"],
    "BENCH_CACHE_DIR": ["notes.txt", "/proc/absent", "x" * 300],
    "BENCH_PRODUCTION_NAMES": ['{"nonsense": "x"}', '{"actors": "a b; c"}', '{"actors": ""}', "[]", "{"],
    "BENCH_VALIDATION_HOOK": ["absent:hook", "/proc/absent", "'"],
    "BENCH_ANCHOR": ["absent", " "],
    "BENCH_SCHEDULE": ["every month", "61 * * * *"],
    "BENCH_SCHEDULE_TIMEZONE": ["Berlin", "../x", "/etc/passwd", "\udcff", "x" * 300],
    "BENCH_ALLOWED_HOSTS": [",,", "\udcff"],
    "BENCH_EXCLUDED_NAMES": ["[]", '["["]', "[1]"],
    "HOME": ["", "relative", "/absent"],
    "XDG_CACHE_HOME": ["relative", ""],
    "TMPDIR": ["/absent"],
    "TZ": ["Absent/Zone", ":", "\udcff"],
    "COLUMNS": ["1", "abc", "-1", "99999999999999999999"],
    "PAGER": ["absent"],
    "HTTP_PROXY": ["nonsense", "http://127.0.0.1:1"],
    "all_proxy": ["socks5://127.0.0.1:1"],
    "SSL_CERT_FILE": ["/absent"],
    "DAGSTER_HOME": ["relative", "~/dagster", "/absent", "/etc/passwd", "/proc"],
}  # fmt: skip
FOLDERS: dict[str, Prepare] = {
    ".env in UTF-16": _text(".env", "BENCH_REPEATS=3\n".encode("utf-16")),
    ".env in Latin-1": _text(".env", b"BENCH_ANCHOR=gr\xf6\xdfer\n"),
    ".env with a faulty line": _text(".env", b"BENCH_REPEATS 3\n"),
    ".env a folder": _folder(".env"),
    "the database a text": _text("bench.db"),
    "the database damaged": _text("bench.db", b"SQLite format 3\0" + b"\xff" * 8192),
    "reports a file": _text("reports"),
    "production a file": _text("production"),
    "testcases a file": _text("testcases"),
    "testcases empty": lambda folder: shutil.rmtree(folder / "testcases/grading"),
    "task.yaml not text": _text("testcases/grading/task.yaml", b"\xff\xfe\0"),
    "a task a file": _text("testcases/grading"),
    "suite.json not JSON": _text("testcases/grading/suite.json", b"\x89PNG"),
    "suite.json nested": _text("testcases/grading/suite.json", b"[" * 100_000),
    "workspace.yaml nonsense": _text("workspace.yaml", b"["),
    "a folder of the system": _in("/proc"),
    "a folder that was deleted": _deleted,
}
EVERYWHERE = {"BENCH_DATABASE_URL"}
"""Variables that every command reads; of the others, the commands below read most."""
READERS = ("demo", "run", "models", "cases check", "promote", "docs", "ui", "doctor", "completion")
EMPTY = {f"BENCH_{name.upper()}": "" for name in Settings.model_fields}


def cells() -> Iterator[object]:
    for name, values in VARIABLES.items():
        commands = list(ARGUMENTS) if name in EVERYWHERE else READERS
        for value in values:
            yield pytest.param({name: value}, _as_it_is, commands, id=f"{name}={value[:40]!a}")
    for name, prepare in FOLDERS.items():
        yield pytest.param({}, prepare, list(ARGUMENTS), id=name)
    yield pytest.param(EMPTY, _as_it_is, list(ARGUMENTS), id="all variables empty")


def _as_it_is(_: Path) -> None:
    """Change nothing in the folder."""


def leaves() -> Iterator[str]:
    for name in COMMANDS:
        command = bench.get_command(click.Context(bench), name)
        yield from (f"{name} {inner}" for inner in command.commands) if isinstance(command, click.Group) else [name]


def test_every_command_is_tried() -> None:
    assert list(ARGUMENTS) == list(leaves())


@ONE_ENGINE
@pytest.mark.parametrize(("variables", "prepare", "commands"), list(cells()))
def test_no_command_ends_in_a_traceback(
    typed: Typed,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    prepare: Prepare,
    commands: Sequence[str],
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (world.folder / "notes.txt").write_text("notes\n", encoding="utf-8")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    prepare(world.folder)
    wrong = []
    for command in commands:
        done = typed(*command.split(), *ARGUMENTS[command].split(), "--json")
        if done.returncode not in STATUSES or "Traceback" in done.stderr or not _is_json(done.stdout):
            wrong.append((command, done.returncode, done.stdout[-300:], done.stderr[-600:]))
    assert wrong == []


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@ONE_ENGINE
@pytest.mark.parametrize(
    "variables", [{"TZ": "Absent/Zone", "LC_ALL": "absent_LOCALE"}, {"HOME": "", "TERM": "absent"}], ids=str
)
def test_what_a_process_reads_at_its_start_is_no_hindrance(shell: Shell, variables: dict[str, str]) -> None:
    done = shell.bench("models", **variables)
    assert (done.returncode, done.stderr) == (0, "")


@ONE_ENGINE
@pytest.mark.parametrize(
    "host",
    [
        "::1",
        "http://[::1",
        "garbage garbage",
    ],
)
def test_a_server_address_that_the_client_reads_at_its_start_is_no_hindrance(shell: Shell, host: str) -> None:
    """Fosowl/agenticSeek #276: the client reads OLLAMA_HOST as it is imported, also beside BENCH_OLLAMA_HOST."""
    done = shell.bench("models", OLLAMA_HOST=host)
    assert (done.returncode, done.stderr) == (0, "")
