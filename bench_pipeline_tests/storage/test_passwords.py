"""The passwords of the two roles: set from the environment, good for a login, and said nowhere."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from bench_pipeline_tests.fakes.postgres import create_database
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.shell import Shell

pytestmark = pytest.mark.postgres

PASSWORDS = ["plain-canary", "pä ss%40w/o:r?d#@'\"\\$", "SCRAM-SHA-256$canary"]


@dataclass(frozen=True)
class Guarded:
    """A database on a server that asks everybody for a password and logs every statement."""

    owner_url: str
    recorder: str
    promoter: str
    shell: Shell

    def install(
        self, *arguments: str, recorder: str | None = None, promoter: str | None = None
    ) -> CompletedProcess[str]:
        """Run `bench db install` with these passwords in its environment."""
        given = {"BENCH_RECORDER_PASSWORD": recorder, "BENCH_PROMOTER_PASSWORD": promoter}
        return self.shell.bench("db", "install", *arguments, **{name: word for name, word in given.items() if word})

    def login(self, role: str, password: str | None) -> str:
        """Log in as a role and return who the server says that is."""
        address = make_url(self.owner_url)
        engine = create_engine(
            URL.create("postgresql+psycopg2", role, password, address.host, address.port, address.database)
        )
        try:
            with engine.connect() as connection:
                return str(connection.scalar(text("SELECT session_user")))
        finally:
            engine.dispose()

    def ask(self, question: str) -> str:
        """Ask as the superuser."""
        engine = create_engine(self.owner_url)
        with engine.connect() as connection:
            answer = str(connection.scalar(text(question)))
        engine.dispose()
        return answer

    @property
    def log(self) -> str:
        """What the server wrote so far, with every statement."""
        return self.ask("SELECT pg_read_file(current_setting('data_directory') || '/../log')")


@pytest.fixture
def guarded(guarded_postgres: str, tmp_path: Path) -> Guarded:
    mark = secrets.token_hex(4)
    url = create_database(guarded_postgres, f"guarded_{mark}")
    fill_production(url)
    recorder, promoter = f"recorder_{mark}", f"promoter_{mark}"
    settings = {
        "BENCH_DATABASE_URL": url,
        "BENCH_RECORDER_ROLE": recorder,
        "BENCH_PROMOTER_ROLE": promoter,
        "BENCH_CACHE_DIR": str(tmp_path / "cache"),
    }
    return Guarded(url, recorder, promoter, Shell(tmp_path, settings))


@pytest.mark.parametrize("password", PASSWORDS, ids=["letters", "all that has to be quoted", "like a verifier"])
def test_a_role_logs_in_with_the_password_that_the_environment_gave_it(guarded: Guarded, password: str) -> None:
    done = guarded.install(recorder=password, promoter="another " + password)

    assert done.returncode == 0, done.stderr
    assert guarded.login(guarded.recorder, password) == guarded.recorder
    assert guarded.login(guarded.promoter, "another " + password) == guarded.promoter


def test_no_other_password_is_good_for_a_login(guarded: Guarded) -> None:
    guarded.install(recorder="right", promoter="also right")

    for wrong in ("wrong", "also right", None):
        with pytest.raises(OperationalError, match=r"authentication failed|no password supplied"):
            guarded.login(guarded.recorder, wrong)


def test_without_a_password_in_the_environment_nobody_logs_in(guarded: Guarded) -> None:
    guarded.install()

    with pytest.raises(OperationalError, match="password authentication failed"):
        guarded.login(guarded.recorder, "anything")


def test_installing_again_without_a_password_keeps_the_one_that_was_set(guarded: Guarded) -> None:
    guarded.install(recorder="kept")

    guarded.install()

    assert guarded.login(guarded.recorder, "kept") == guarded.recorder


def test_installing_again_with_another_password_changes_it(guarded: Guarded) -> None:
    guarded.install(recorder="before")

    guarded.install(recorder="after")

    assert guarded.login(guarded.recorder, "after") == guarded.recorder
    with pytest.raises(OperationalError, match="password authentication failed"):
        guarded.login(guarded.recorder, "before")


def test_the_server_keeps_only_a_verifier(guarded: Guarded) -> None:
    guarded.install(recorder="plain-canary")

    of_the_recorder = f"oid = '{guarded.recorder}'::regrole"
    kept = guarded.ask(f"SELECT rolpassword FROM pg_authid WHERE {of_the_recorder}")  # noqa: S608 - a name of ours

    assert kept.startswith("SCRAM-SHA-256$4096:")


@pytest.mark.parametrize(
    "arguments", [(), ("--json",), ("--sql",), ("--sql", "--json")], ids=lambda words: " ".join(words)
)
def test_the_command_says_no_password(guarded: Guarded, arguments: tuple[str, ...]) -> None:
    done = guarded.install(*arguments, recorder="plain-canary", promoter="other-canary")

    assert done.returncode == 0
    assert "canary" not in done.stdout + done.stderr
    assert str(make_url(guarded.owner_url).password) not in done.stdout + done.stderr


def test_a_server_that_logs_every_statement_logs_no_password(guarded: Guarded) -> None:
    guarded.install(recorder="plain-canary", promoter="other-canary")

    assert f"ALTER ROLE {guarded.recorder} PASSWORD" in guarded.log
    assert "canary" not in guarded.log
