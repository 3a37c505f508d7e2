"""The passwords of the databases are nowhere: not in files, logs, metadata or reports, nor in what commands print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from sqlalchemy import make_url

from bench_pipeline_tests.pipeline import Pipeline, open_pipeline, set_environment
from bench_pipeline_tests.world import Shell, World, shell_in

pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
CANARY = "c4n@ry/Piep:%&"
FORMS = sorted({CANARY, quote(CANARY), quote(CANARY, safe=""), CANARY.replace("&", "&amp;"), "Piep"})


def with_password(url: str) -> str:
    """The server trusts everybody, so any password will do."""
    return make_url(url).set(password=CANARY).render_as_string(hide_password=False)


@dataclass
class Kept:
    """The world with passwords in its addresses, and everything that was written or printed."""

    world: World
    printed: str = ""

    def bench(self, shell: Shell, *arguments: str, **settings: str) -> int:
        done = shell.bench(*arguments, **settings)
        self.printed += done.stdout + done.stderr
        return done.returncode

    def found(self) -> list[str]:
        """Where a form of the password stands."""
        files = [path for path in self.world.folder.rglob("*") if path.is_file()]
        places = [(str(path), path.read_bytes()) for path in files] + [("printed", self.printed.encode())]
        assert len(places) >= 3
        return [f"{place}: {form}" for place, text in places for form in FORMS if form.encode() in text]


@pytest.fixture
def kept(world: World) -> Kept:
    world.url = with_password(world.url)
    world.promoter_url = with_password(str(world.promoter_url))
    return Kept(world)


@pytest.fixture
def pipeline(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    set_environment(kept.world, monkeypatch)
    with dg.instance_for_test(temp_dir=str(home(kept))) as instance:
        yield open_pipeline(kept.world, instance)


def home(kept: Kept) -> Path:
    folder = kept.world.folder / ".dagster"
    folder.mkdir()
    return folder


def test_a_run_in_dagster_keeps_no_password(pipeline: Pipeline, kept: Kept, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline.run()
    assert pipeline.metadata("grading/production_update")["changed"] == 3
    kept.printed = "".join(capfd.readouterr())
    assert kept.found() == []


@pytest.mark.parametrize("variable", ["BENCH_DATABASE_URL", "BENCH_PROMOTER_URL"])
def test_a_run_in_dagster_that_cannot_reach_the_database_keeps_no_password(
    pipeline: Pipeline, kept: Kept, variable: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = str(kept.world.promoter_url)
    monkeypatch.setenv(variable, make_url(url).set(port=1).render_as_string(hide_password=False))
    pipeline.run(fails=True)
    kept.printed = "".join(capfd.readouterr())
    assert kept.found() == []


def test_no_command_tells_a_password(kept: Kept) -> None:
    shell = shell_in(kept.world.folder, kept.world.url, kept.world.server.url, kept.world.promoter_url)
    for command in (
        ("run", "--task", "grading", "--models", "fast,slow"), ("plan", "--task", "grading", "--json"),
        ("promote", "--task", "grading"), ("log", "--json"), ("blame", "3336"), ("doctor",), ("doctor", "--json"),
        ("rollback",), ("docs", "--json"),
    ):  # fmt: skip
        assert kept.bench(shell, *command) == 0, command
    assert kept.found() == []


@pytest.mark.parametrize(
    ("command", "change"),
    [
        pytest.param(("doctor",), {"port": 1}, id="nobody answers"),
        pytest.param(("plan", "--task", "grading"), {"username": "nobody_at_all"}, id="there is no such role"),
        pytest.param(("models", "--json"), {"database": "no_such_database"}, id="there is no such database"),
        pytest.param(("log",), {"drivername": "oracle"}, id="another kind of database"),
    ],
)
def test_no_failure_tells_a_password(kept: Kept, command: tuple[str, ...], change: dict[str, object]) -> None:
    shell = shell_in(kept.world.folder, kept.world.url, kept.world.server.url)
    address = make_url(kept.world.url).set(**change)  # type: ignore[arg-type]
    wrong = address.render_as_string(hide_password=False)
    for variable in ("BENCH_DATABASE_URL", "BENCH_PROMOTER_URL"):
        kept.bench(shell, *command, **{variable: wrong})
    assert "bench: " in kept.printed or "❌" in kept.printed
    assert kept.found() == []


def test_installing_tells_no_password_of_the_roles(kept: Kept) -> None:
    shell = shell_in(kept.world.folder, kept.world.url, kept.world.server.url)
    owner = with_password(kept.world.owner.engine.url.render_as_string(hide_password=False))
    passwords = {"BENCH_RECORDER_PASSWORD": CANARY, "BENCH_PROMOTER_PASSWORD": CANARY}
    for arguments in (("db", "install"), ("db", "install", "--sql"), ("db", "install", "--json")):
        assert kept.bench(shell, *arguments, BENCH_OWNER_URL=owner, **passwords) == 0
    assert kept.bench(shell, "db", "install", BENCH_OWNER_URL=kept.world.url, **passwords) == 2
    assert kept.found() == []
