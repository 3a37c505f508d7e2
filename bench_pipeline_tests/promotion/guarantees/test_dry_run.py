"""G15: what only shows writes nothing, neither a row nor a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from bench_pipeline.promotion.plan import store_plan
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import SLOW
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, REGRADE
from bench_pipeline_tests.kit.world import World, as_role

pytestmark = pytest.mark.usefixtures("hurried")

LOOKS = (
    "plan --task grading",
    "plan --task grading --json",
    "decide --task grading",
    "decide --task grading --json",
    "decide --replay 1",
    "log",
    "log --json",
    "log --plans",
    f"blame {GRADE_B}",
    f"blame {GRADE_B} --json",
)
WRITES = ("docs", "freeze --reason fair", "thaw")
READ_ONLY = "-c default_transaction_read_only=on"


@pytest.fixture
def lived(world: World) -> World:
    """There is something to see: a promotion, after it a plan that is stored, and another one since."""
    world.promoted()
    world.give(GRADE_A, SLOW)
    store_plan(world.database, world.decided(), "Ann")
    world.give(REGRADE, SLOW)
    return world


def files(world: World) -> dict[Path, int]:
    """Every file that is not SQLite's own, with when it was changed."""
    found = [path for path in world.folder.rglob("*") if path.is_file() and "bench.db" not in path.name]
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.fixture
def reader(lived: World) -> str:
    """The address of a login that may read every table and nothing else."""
    lived.change(
        text(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'only_looks') "
            "THEN CREATE ROLE only_looks LOGIN; END IF; END $$"
        ),
        text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO only_looks"),
    )
    return as_role(lived.url, "only_looks")


@pytest.fixture
def watcher(lived: World) -> Iterator[sqlite3.Connection]:
    """A connection that notices every commit of another one."""
    with closing(sqlite3.connect(str(make_url(lived.url).database))) as connection:
        yield connection


def commits(watcher: sqlite3.Connection) -> int:
    number: int = watcher.execute("PRAGMA data_version").fetchone()[0]
    return number


@ONLY_POSTGRESQL
def test_g15_a_login_that_may_only_read_can_look_at_everything(
    typed: Typed, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", reader)
    monkeypatch.delenv("BENCH_PROMOTER_URL")

    statuses = {look: typed(*look.split()).returncode for look in LOOKS}

    assert statuses == dict.fromkeys(LOOKS, 0)


@ONLY_POSTGRESQL
def test_g15_in_a_session_that_refuses_writes_one_can_look_at_everything(
    typed: Typed, lived: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make_url(lived.url).update_query_dict({"options": READ_ONLY})
    monkeypatch.setenv("BENCH_DATABASE_URL", address.render_as_string(hide_password=False))

    statuses = {look: typed(*look.split()).returncode for look in LOOKS}

    assert statuses == dict.fromkeys(LOOKS, 0)


@ONLY_POSTGRESQL
@pytest.mark.parametrize("command", ["freeze --reason fair", "promote --task grading"])
def test_g15_there_what_writes_is_refused_in_one_line(
    typed: Typed, reader: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", reader)

    done = typed(*command.split())

    assert done.returncode == 2
    assert done.stderr.startswith("bench: postgresql+psycopg2://only_looks@")
    assert "permission denied for table benchmark_" in done.stderr
    assert "bench db install" in done.stderr
    assert done.stderr.count("\n") == 1


@ONE_ENGINE
def test_g15_no_look_commits_anything_to_the_file(typed: Typed, lived: World, watcher: sqlite3.Connection) -> None:
    before = commits(watcher)

    changed = {look for look in LOOKS if typed(*look.split()).returncode or commits(watcher) != before}

    assert changed == set()


@ONE_ENGINE
def test_g15_the_watcher_sees_what_writes(typed: Typed, lived: World, watcher: sqlite3.Connection) -> None:
    seen = [commits(watcher)]
    for command in WRITES:
        typed(*command.split())
        seen.append(commits(watcher))

    assert len(set(seen)) == len(WRITES) + 1


@ONE_ENGINE
def test_g15_no_look_writes_a_file(typed: Typed, lived: World) -> None:
    typed("docs")
    before = files(lived)

    for look in LOOKS:
        typed(*look.split())

    assert files(lived) == before
