"""A database of schema 0006 is upgraded, alone and beside tables that a team made from a recipe.

The files in `golden/schema_0006` were made by the last version with that schema, as those of `version_0_1` were: two
benchmarks of the task `grading`; promotion 1, and rollback 2 of it; a freeze and a thaw; promotion 3, validated;
failover 4 of conversation 3337. Then conversation 3339 was edited by hand, and a plan for it was approved, but not
applied.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.kit.models import fake_models
from bench_pipeline_tests.kit.shell import Shell, Typed, shell_in
from bench_pipeline_tests.kit.world import as_role
from bench_pipeline_tests.storage.version_0_1 import FAST, SLOW, fill_postgresql, write_task_of_old

GOLDEN = Path(__file__).parent / "golden" / "schema_0006"
APPROVED = "4b69d848fa3a"
BENCHMARKS = ("grading-20261130T174841Z-299a", "grading-20261130T174847Z-ca3a")
TOLD = {
    "log": (
        *("promotion 1 ", "rolled_back by 2: the nightly run took too long", "promotion 3 ", "validated", "failover 4"),
        "85.8% faster than slow",
    ),
    "log --plans": (APPROVED, "make a new plan"),
    "blame 3336": ("promotion 3", "decision 4: PROMOTE", BENCHMARKS[1], "4/4 cases correct", "passed"),
    "history --task grading": BENCHMARKS,
    "plan --task grading": ("3336 Grade A  KEEP", "failover 4 replaced it", "3339 Regrade  PROMOTE"),
}
RECIPE = (
    "CREATE TABLE {table} (benchmark_id INTEGER PRIMARY KEY, task_type VARCHAR(50), model_name VARCHAR(100), "
    "correctness_score DECIMAL(5,2), avg_latency_ms INTEGER, speed_score DECIMAL(10,2), rank INTEGER, "
    "benchmark_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
    "INSERT INTO {table} (task_type, benchmark_id, model_name, rank) VALUES ('grading', 1, 'theirs', 1)",
)


@dataclass(frozen=True)
class Old:
    """The database, as its owner sees it, and the names of the team's own tables in it."""

    url: str
    owner: Engine
    theirs: tuple[str, ...]

    @property
    def is_sqlite(self) -> bool:
        return self.owner.dialect.name == "sqlite"

    def holds(self) -> list[int]:
        """The actors of the task's conversations."""
        query = (
            "SELECT actor_id FROM conversations WHERE conversation_id IN (3336, 3337, 3339) ORDER BY conversation_id"
        )
        with self.owner.connect() as connection:
            return list(connection.scalars(text(query)))

    def rows_of_theirs(self) -> list[tuple[object, ...]]:
        with self.owner.connect() as connection:
            return [tuple(connection.execute(text(f"SELECT * FROM {name}")).one()) for name in self.theirs]  # noqa: S608


def write_sqlite_of_now(file: Path) -> None:
    """Write the database file, with all moments moved so that it was made now: its evidence is young enough."""
    script = (GOLDEN / "database.sql").read_text(encoding="utf-8")
    moment = re.compile(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})'")
    later = datetime.now(UTC).replace(tzinfo=None) - datetime.fromisoformat(max(moment.findall(script)))
    moved = moment.sub(lambda found: f"'{datetime.fromisoformat(found[1]) + later:%Y-%m-%d %H:%M:%S.%f}'", script)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(moved)


@pytest.fixture
def old(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Old]:
    theirs: tuple[str, ...] = request.param
    owner = create_engine(database_url)
    if owner.dialect.name == "sqlite":
        write_sqlite_of_now(tmp_path / "bench.db")
    else:
        fill_postgresql(database_url, tmp_path, GOLDEN, "0006")
    with owner.begin() as connection:
        if "crew.benchmark_history" in theirs:
            connection.execute(text("CREATE SCHEMA crew"))
        for table in theirs:
            for statement in RECIPE:
                connection.execute(text(statement.format(table=table)))
    yield Old(database_url, owner, theirs)
    owner.dispose()


@pytest.fixture
def shell(old: Old, tmp_path: Path) -> Iterator[Shell]:
    write_task_of_old(tmp_path, GOLDEN)
    recorder, promoter = (
        (None, None) if old.is_sqlite else (as_role(old.url, f"bench_{one}") for one in ("recorder", "promoter"))
    )
    with FakeOllama(fake_models()) as server:
        made = shell_in(tmp_path, recorder or old.url, server.url, promoter)
        yield Shell(made.folder, {**made.settings, "BENCH_OWNER_URL": old.url, "BENCH_FINAL_PASSES": "8"})


BESIDE = ("earlier_history", "crew.benchmark_history")
UPGRADED = [
    pytest.param("sqlite", (), id="sqlite"),
    pytest.param("sqlite", BESIDE[:1], id="sqlite beside a renamed table"),
    pytest.param("postgres", (), id="postgresql", marks=pytest.mark.postgres),
    pytest.param("postgres", BESIDE, id="postgresql beside both", marks=pytest.mark.postgres),
    pytest.param("other_postgres", BESIDE, id="another version of it", marks=pytest.mark.postgres),
]


@pytest.mark.parametrize(("database_url", "old"), UPGRADED, indirect=True)
def test_what_was_stored_is_told_applied_anew_and_undone(typed: Typed, old: Old) -> None:
    theirs = old.rows_of_theirs()
    assert old.holds() == [FAST, SLOW, SLOW]
    if not old.is_sqlite:
        done = typed("db", "install")
        assert (done.returncode, done.stderr) == (0, "")

    for command, says in TOLD.items():
        done = typed(*command.split())
        assert (done.returncode, [part for part in says if part not in done.stdout]) == (0, []), command
    stale = typed("promote", "--plan", APPROVED)
    assert (stale.returncode, "nothing was changed, make a new plan" in stale.stderr) == (1, True)
    (plan,) = re.findall(r"bench approve (\w+)", typed("promote", "--task", "grading").stderr)
    assert typed("approve", plan).returncode == 0
    assert typed("promote", "--plan", plan, "--no-validate").returncode == 0
    assert old.holds() == [FAST, SLOW, FAST]
    assert typed("rollback", "5").returncode == 0
    assert old.holds() == [FAST, SLOW, SLOW]
    assert "3336 Grade A: fast → slow" in typed("rollback", "3").stdout
    assert old.holds() == [SLOW] * 3
    assert old.rows_of_theirs() == theirs
