"""A SQLite database of version 0.1 is upgraded when it is opened; see `version_0_1` for what it holds."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.plans import latest_plan
from bench_pipeline.storage.promotions import all_promotions, last_validation
from bench_pipeline.storage.schema import SCHEMA_VERSION, VERSION_TABLE
from bench_pipeline.storage.tables import AUDIT, task_terms
from bench_pipeline_tests.kit.shell import Shell, Typed, shell_in
from bench_pipeline_tests.kit.text import lines_of
from bench_pipeline_tests.storage.version_0_1 import (
    APPROVED,
    BENCHMARKS,
    CHANGES,
    DECISIONS,
    FAST,
    SLOW,
    write_sqlite,
    write_task_of_old,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file as version 0.1 left it."""
    write_task_of_old(tmp_path)
    write_sqlite(tmp_path / "bench.db")
    return tmp_path / "bench.db"


@pytest.fixture
def upgraded(file: Path) -> Iterator[Engine]:
    database = open_database(f"sqlite:///{file}")
    yield database.engine
    database.close()


@pytest.fixture
def shell(file: Path) -> Shell:
    """No model server answers: these commands need none."""
    return shell_in(file.parent, f"sqlite:///{file}", "http://127.0.0.1:9")


def columns(engine: Engine) -> dict[str, set[str]]:
    seen = inspect(engine)
    tables = [name for name in seen.get_table_names() if name.startswith("benchmark_")]
    return {name: {column["name"] for column in seen.get_columns(name)} for name in tables}


def history_of_sqlite(file: Path) -> list[dict[str, Any]]:
    """The rows of the history, which two columns identify in either version."""
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM benchmark_history")]
    return sorted(rows, key=lambda row: (row["benchmark_date"], row["model_name"]))


# What the file holds


def test_the_file_has_the_tables_of_a_new_one(upgraded: Engine, tmp_path: Path) -> None:
    new = open_database(f"sqlite:///{tmp_path / 'new.db'}")
    assert columns(upgraded) == columns(new.engine)
    new.close()
    with upgraded.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM benchmark_schema_version")) == SCHEMA_VERSION


_KEYS = ("actor_id", "conversation_id")


def named_rows(file: Path) -> dict[str, list[dict[str, object]]]:
    """Every row of every table by the names of its columns, in the order in which it was stored."""
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        query = "SELECT * FROM {} ORDER BY rowid"
        return {name: [dict(row) for row in connection.execute(query.format(name))] for name in tables}


def test_every_row_survives_with_all_its_values(file: Path) -> None:
    before = named_rows(file)

    open_database(f"sqlite:///{file}").close()

    after = named_rows(file)
    for table in before.keys() - {VERSION_TABLE, "benchmark_history"}:
        for row, old in zip(after[table], before[table], strict=True):
            # An id is kept as text, and the login has become what says who it was.
            ours = table.startswith("benchmark_")
            kept = {name: str(value) if ours and name.endswith(_KEYS) and value is not None else value
                    for name, value in old.items() if name != "database_role"}  # fmt: skip
            assert Counter(map(repr, row.values())) >= Counter(map(repr, kept.values())), table  # columns were renamed


def test_the_history_is_numbered_by_date_and_keeps_its_values(file: Path) -> None:
    before = history_of_sqlite(file)

    open_database(f"sqlite:///{file}").close()

    after = history_of_sqlite(file)
    for new, old in zip(after, before, strict=True):
        changed = {"benchmark_id": new["benchmark_id"], "actor_id": str(old["actor_id"])}
        assert new.items() >= (old | changed).items()
        assert (new["benchmark_run_id"], new["model"], new["latency_ms"]) == (
            old["benchmark_id"], old["model_name"], old["avg_latency_ms"]
        )  # fmt: skip
    by_date = sorted(after, key=lambda row: row["benchmark_id"])
    assert [row["benchmark_id"] for row in by_date] == list(range(1, 11))
    assert [row["benchmark_date"] for row in by_date] == sorted(row["benchmark_date"] for row in after)


def test_every_change_of_production_is_told_as_before(upgraded: Engine) -> None:
    with upgraded.connect() as connection:
        changes = all_promotions(connection)
        validated = [one and one.passed for one in (last_validation(connection, number) for number, _ in CHANGES)]
    assert [(one.promotion_id, one.kind) for one in changes] == list(CHANGES)
    assert [one.status for one in changes] == ["rolled_back", "applied", "validated", "applied"]
    assert validated == [True, None, True, None]
    assert changes[1].reason == "the nightly run took too long"
    assert [(row.old_actor_id, row.new_actor_id, row.changed) for row in changes[0].rows] == [(SLOW, FAST, True)] * 3


def test_a_stored_plan_keeps_its_hash_and_its_document(upgraded: Engine) -> None:
    with upgraded.connect() as connection:
        stored = latest_plan(connection, "grading")
        document: str = connection.execute(
            text("SELECT document FROM benchmark_plans WHERE plan_hash = :hash"), {"hash": APPROVED}
        ).scalar_one()
    assert stored is not None
    assert stored.plan_hash == APPROVED == sha256(document.encode()).hexdigest()
    assert [(row.old_actor, row.new_actor) for row in stored.plan.changes] == [("slow", "fast")]


@pytest.mark.parametrize("table", [table.name for table in AUDIT if table is not task_terms])
@pytest.mark.parametrize("statement", ["UPDATE {table} SET {column} = {column}", "DELETE FROM {table}"])
def test_the_audit_still_refuses_every_change(upgraded: Engine, table: str, statement: str) -> None:
    column = inspect(upgraded).get_columns(table)[1]["name"]
    with upgraded.connect() as connection, pytest.raises(DBAPIError, match=f"{table} is append-only"):
        connection.execute(text(statement.format(table=table, column=column)))


def test_opening_the_file_again_changes_nothing(file: Path) -> None:
    open_database(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as connection:
        first = list(connection.iterdump())

    open_database(f"sqlite:///{file}").close()

    with closing(sqlite3.connect(file)) as connection:
        assert list(connection.iterdump()) == first


# What the commands say about it


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("history --task grading", BENCHMARKS),
        ("log", ("promotion 1", "rollback 2", "the nightly run took too long", "promotion 3", "failover 4")),
        ("log --plans", (APPROVED[:12],)),
        ("blame 3336", ("promotion 3", "90.8% faster than slow", BENCHMARKS[2], "4/4 cases correct")),
        ("blame 3337", ("failover 4", BENCHMARKS[2], "4/4 cases correct")),
    ],
)
def test_a_command_tells_what_was_stored(typed: Typed, command: str, says: tuple[str, ...]) -> None:
    done = typed(*command.split())
    assert done.returncode == 0, done.stderr
    assert [part for part in says if part not in done.stdout] == []


def test_every_stored_decision_comes_out_the_same_again(typed: Typed) -> None:
    replayed = {number: typed("decide", "--replay", str(number)).returncode for number in DECISIONS}
    assert replayed == dict.fromkeys(DECISIONS, 0)


def test_a_plan_is_made_from_the_latest_benchmark_by_the_present_rule(typed: Typed) -> None:
    done = typed("plan", "--task", "grading")
    assert done.returncode == 1, done.stderr
    assert "did not meet in a final" in done.stdout
    assert [line.split()[:4] for line in lines_of(done.stdout, "3336", "3337", "3339")] == [
        ["3336", "Grade", "A", "KEEP"],
        ["3337", "Grade", "B", "INCONCLUSIVE"],
        ["3339", "Regrade", "INCONCLUSIVE", "slow"],
    ]
    assert BENCHMARKS[3] in done.stdout
