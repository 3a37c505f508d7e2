"""A database whose owner is no superuser, copied for each test, and the command line in it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, make_url, text

from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.schema import upgrade
from bench_pipeline.storage.writers.installation import Roles, install
from bench_pipeline_tests.fakes.postgres import create_database, drop_database
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.tasks import write_task
from bench_pipeline_tests.kit.world import as_role
from bench_pipeline_tests.storage.broken.faults import Fault

TEMPLATE = "crew"
ROLES = Roles("crew_recorder", "crew_promoter")
OWNER = "crew_owner"
_TYPED = re.compile(r"as ([\w ]+): `(.+)`$")


@dataclass
class Broken:
    """One database; `url` is the superuser's."""

    url: str
    settings: dict[str, str]
    folder: Path

    def run(self, statements: str, role: str = "postgres") -> None:
        """Run statements as psql does for this role: each for itself, unless they begin a transaction."""
        engine = create_engine(as_role(self.url, role), isolation_level="AUTOCOMMIT")
        with engine.connect().execution_options(no_parameters=True) as connection:
            connection.exec_driver_sql(statements)
        engine.dispose()

    def suffer(self, fault: Fault) -> None:
        """Break the database in this way."""
        self.run(fault.statements.replace("{db}", str(make_url(self.url).database)), fault.role)
        if fault.older:
            engine = create_engine(as_role(self.url, OWNER))
            with engine.begin() as connection:
                upgrade(connection, fault.older)
                connection.execute(text(f"GRANT SELECT ON benchmark_schema_version TO {ROLES.recorder}"))
            engine.dispose()

    def type(self, remedy: str, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
        """Do what a remedy says, as whom it says."""
        if statement := _TYPED.search(remedy):
            role, words = statement.groups()
            self.run(words, {"a superuser": "postgres", "the owner of the table": OWNER}.get(role, role))
        elif "`bench db install`" in remedy:
            assert f"set BENCH_OWNER_URL to the login of {OWNER}" in remedy or "of the tables' owner" in remedy
            monkeypatch.setenv("BENCH_OWNER_URL", as_role(self.url, OWNER))
            done = typed("db", "install", "--no-rehearse")
            assert done.returncode == 0, done.stderr
        elif variable := re.search(r"`export (\w+)='(.+)'`", remedy):
            monkeypatch.setenv(variable[1], variable[2])
        else:
            (line,) = re.findall(r"write `(conversations: .+)`", remedy)
            file = self.folder / "testcases" / "grading" / "task.yaml"
            task = yaml.safe_load(file.read_text(encoding="utf-8"))
            kept = yaml.safe_load(line)["conversations"]
            file.write_text(
                yaml.safe_dump({**task, "conversations": kept, "promotion": {"auto": kept}}), encoding="utf-8"
            )


@pytest.fixture(scope="session")
def crew_template(postgres: str) -> str:
    """The name of a database that is well: production with our tables, all of which belong to a role of no power."""
    url = create_database(postgres, TEMPLATE)
    superuser = create_engine(url, isolation_level="AUTOCOMMIT")
    with superuser.connect() as connection:
        connection.execute(text(f"CREATE ROLE {OWNER} LOGIN"))
        for role in (ROLES.recorder, ROLES.promoter):
            connection.execute(text(f"CREATE ROLE {role} LOGIN NOINHERIT"))
        connection.execute(text(f"GRANT CREATE ON SCHEMA public TO {OWNER}"))
    superuser.dispose()
    fill_production(as_role(url, OWNER))
    with closing(open_database(as_role(url, OWNER))) as owner:
        install(owner, open_production(owner, {}), ROLES, {})
    return TEMPLATE


@pytest.fixture
def broken(postgres: str, crew_template: str, tmp_path: Path) -> Iterator[Broken]:
    """A copy of that database, to be broken, with the sample task beside it."""
    name = f"broken_{secrets.token_hex(4)}"
    url = create_database(postgres, name, crew_template)
    write_task(tmp_path / "testcases")
    settings = {
        "BENCH_DATABASE_URL": as_role(url, ROLES.recorder),
        "BENCH_PROMOTER_URL": as_role(url, ROLES.promoter),
        "BENCH_RECORDER_ROLE": ROLES.recorder,
        "BENCH_PROMOTER_ROLE": ROLES.promoter,
        "BENCH_CACHE_DIR": str(tmp_path / "cache"),
        "BENCH_OLLAMA_HOST": "http://127.0.0.1:1",
    }
    yield Broken(url, settings, tmp_path)
    drop_database(postgres, name)


@pytest.fixture
def shell(broken: Broken) -> Shell:
    return Shell(broken.folder, broken.settings)
