"""The two database engines that everything runs on, and a small world in a database of each."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from bench_pipeline.cli.main import main
from bench_pipeline_tests.fakes.postgres import create_database, drop_database, postgres_server, server_programs
from bench_pipeline_tests.kit import json_schemas
from bench_pipeline_tests.kit.models import FINAL_PASSES
from bench_pipeline_tests.kit.shell import Shell, Typed, shell_in
from bench_pipeline_tests.kit.world import World, open_prepared, prepare_database

if TYPE_CHECKING:
    from bench_pipeline_tests.kit.pipeline import Pipeline

# How long an example takes depends on how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server, one a session (and so one a worker), started when a test first asks."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def other_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of another version, where this machine has a second one."""
    _, *others = server_programs().values()
    if not others:
        pytest.skip("this machine has one version of PostgreSQL; install the system's postgresql beside the wheel")
    with postgres_server(tmp_path_factory.mktemp("other"), programs=others[0]) as url:
        yield url


@pytest.fixture(scope="session")
def guarded_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that asks every login for a password, and logs every statement."""
    with postgres_server(tmp_path_factory.mktemp("guarded"), "c4n4ry of the owner's p@ss", log_statement="all") as url:
        yield url


@pytest.fixture(scope="session")
def prepared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database that holds what a world starts with; tests copy it."""
    file = tmp_path_factory.mktemp("prepared") / "bench.db"
    prepare_database(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def prepared_template(postgres: str) -> str:
    """The name of a PostgreSQL database that holds the same; tests copy it."""
    prepare_database(create_database(postgres, "prepared"))
    return "prepared"


@pytest.fixture(scope="session")
def other_prepared_template(other_postgres: str) -> str:
    """The same on the server of another version."""
    prepare_database(create_database(other_postgres, "prepared"))
    return "prepared"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database of the test's own: what a world starts with if the test has one, else nothing."""
    prepared = "world" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "bench.db"
        if prepared:
            shutil.copy(request.getfixturevalue("prepared_file"), file)
        yield f"sqlite:///{file}"
        return
    server: str = request.getfixturevalue(request.param)
    template_of = {"postgres": "prepared_template", "other_postgres": "other_prepared_template"}
    template = request.getfixturevalue(template_of[request.param]) if prepared else "template1"
    name = f"test_{secrets.token_hex(8)}"
    yield create_database(server, name, template)
    drop_database(server, name)


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with open_prepared(database_url, tmp_path) as world:
        yield world


@pytest.fixture
def shell(world: World) -> Shell:
    """The command line in the world's folder."""
    return shell_in(world.folder, world.url, world.server.url, world.promoter_url)


@pytest.fixture
def pipeline(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """The definitions of Dagster over the world."""
    from bench_pipeline_tests.kit.pipeline import open_pipeline  # Dagster takes a second to import

    with open_pipeline(world, monkeypatch) as pipeline:
        yield pipeline


@pytest.fixture
def with_final(world: World, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A final that is long enough to decide, in the world and for what is typed there."""
    world.configure(final_passes=FINAL_PASSES)
    shell.settings["BENCH_FINAL_PASSES"] = str(FINAL_PASSES)
    monkeypatch.setenv("BENCH_FINAL_PASSES", str(FINAL_PASSES))


@pytest.fixture
def typed(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """The same command line in this process: its own entry point, without a second's start for each.

    What it prints with --json fits the published schema.
    """
    for name in os.environ:
        if name.startswith(("BENCH_", "OLLAMA_")):
            monkeypatch.delenv(name)
    for name, value in shell.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(shell.folder)

    def bench(*arguments: str) -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        json_schemas.check_output(arguments, out)
        return CompletedProcess(arguments, int(ended.value.code or 0), out, err)

    return bench
