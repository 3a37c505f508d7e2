"""A PostgreSQL database of version 0.1 is upgraded by `bench db install`; see `version_0_1` for what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.promotions import all_promotions
from bench_pipeline.storage.schema import SCHEMA_VERSION
from bench_pipeline.storage.writers.function import installed_fault
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FINAL_PASSES, fake_models
from bench_pipeline_tests.kit.shell import Shell, Typed, shell_in
from bench_pipeline_tests.kit.world import as_role
from bench_pipeline_tests.storage.version_0_1 import (
    APPROVED,
    CHANGES,
    FAST,
    GRADE_A,
    GRADE_B,
    REGRADE,
    SCHEMA,
    SLOW,
    fill_postgresql,
    write_task_of_old,
)

pytestmark = ONLY_POSTGRESQL
OLD_PROMOTION = 5
RIGHTS = """
SELECT r.rolname, r.oid, c.relname,
    has_table_privilege(r.oid, c.oid, 'SELECT'), has_table_privilege(r.oid, c.oid, 'INSERT'),
    has_table_privilege(r.oid, c.oid, 'UPDATE'), has_table_privilege(r.oid, c.oid, 'DELETE')
FROM pg_roles r, pg_class c WHERE r.rolname IN ('bench_recorder', 'bench_promoter')
    AND c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1, 3
"""


@dataclass(frozen=True)
class Old:
    """The database, as its owner sees it."""

    url: str
    owner: Engine

    def holds(self) -> dict[int, int]:
        """The actors of the task's conversations."""
        query = text("SELECT conversation_id, actor_id FROM conversations WHERE conversation_id IN (3336, 3337, 3339)")
        with self.owner.connect() as connection:
            return {number: actor for number, actor in connection.execute(query)}  # noqa: C416 - rows, not pairs

    def rights(self) -> list[tuple[object, ...]]:
        """Who may do what to each table."""
        with self.owner.connect() as connection:
            return [tuple(row) for row in connection.execute(text(RIGHTS))]


@pytest.fixture
def old(database_url: str, tmp_path: Path) -> Iterator[Old]:
    """Version 0.1, in which its own function has just applied the approved plan."""
    fill_postgresql(database_url, tmp_path)
    promoter = create_engine(as_role(database_url, "bench_promoter"))
    owner = create_engine(database_url)
    with owner.connect() as connection:
        document = text("SELECT document FROM benchmark_plans WHERE plan_hash = :plan")
        rows = json.loads(connection.execute(document, {"plan": APPROVED}).scalar_one())["rows"]
    observed = [
        {"actor_id": row["new_actor_id"], **{key: row[key] for key in ("execution_path", "identity_hash")}}
        for row in rows
    ]
    call = text("SELECT benchmark_apply(:plan, 'root', NULL, CAST(:observed AS json))")
    with promoter.begin() as connection:
        assert connection.scalar(call, {"plan": APPROVED, "observed": json.dumps(observed)}) == OLD_PROMOTION
    promoter.dispose()
    yield Old(database_url, owner)
    owner.dispose()


@pytest.fixture
def shell(old: Old, tmp_path: Path) -> Iterator[Shell]:
    """The command line under the two roles, with the owner's address for `bench db install`."""
    write_task_of_old(tmp_path)
    recorder, promoter = as_role(old.url, "bench_recorder"), as_role(old.url, "bench_promoter")
    with FakeOllama(fake_models()) as server:
        made = shell_in(tmp_path, recorder, server.url, promoter)
        yield Shell(made.folder, {**made.settings, "BENCH_OWNER_URL": old.url, "BENCH_FINAL_PASSES": str(FINAL_PASSES)})


@pytest.mark.skipif(SCHEMA_VERSION == SCHEMA, reason="the tables are those of version 0.1 still")
def test_before_the_installation_the_recorder_is_told_what_to_run(typed: Typed) -> None:
    done = typed("log")
    assert done.returncode == 2
    assert f"version {SCHEMA_VERSION}" in done.stderr
    assert "run `bench db install` as the owner" in done.stderr


def test_the_installation_brings_tables_and_function_up_to_date_and_keeps_the_roles(typed: Typed, old: Old) -> None:
    before, held = old.rights(), old.holds()

    assert typed("db", "install").returncode == 0

    database = open_database(as_role(old.url, "bench_recorder"))
    assert installed_fault(database.engine, open_production(database, {})) is None
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM benchmark_schema_version")) == SCHEMA_VERSION
        kept = [(one.promotion_id, one.kind) for one in all_promotions(connection)]
    database.close()
    assert kept == [*CHANGES, (OLD_PROMOTION, "promotion")]
    assert set(old.rights()) >= set(before)
    assert old.holds() == held


def test_a_promotion_of_version_0_1_can_be_rolled_back(typed: Typed, old: Old) -> None:
    typed("db", "install")
    assert old.holds() == {GRADE_A: FAST, GRADE_B: SLOW, REGRADE: FAST}

    done = typed("rollback", str(OLD_PROMOTION), "--reason", "as before")

    assert done.returncode == 0, done.stderr
    assert old.holds() == {GRADE_A: FAST, GRADE_B: SLOW, REGRADE: SLOW}


def test_a_new_promotion_applies(typed: Typed, old: Old) -> None:
    typed("db", "install")
    typed("rollback", str(OLD_PROMOTION), "--no-bar")
    typed("run", "--task", "grading", "--models", "fast,slow")
    waits = typed("promote", "--task", "grading")
    assert waits.returncode == 1
    plan = waits.stderr.partition("bench approve ")[2][:12]
    assert typed("approve", plan).returncode == 0

    done = typed("promote", "--plan", plan)

    assert done.returncode == 0, done.stderr
    assert old.holds() == {GRADE_A: FAST, GRADE_B: FAST, REGRADE: FAST}
