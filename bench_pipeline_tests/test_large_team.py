"""The synthetic database on which `make team` times commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, func, select

from bench_pipeline.benchmark.fitness import fit_benchmark
from bench_pipeline.benchmark.workbench import Workbench, make_workbench
from bench_pipeline.promotion.delivery import plan_from
from bench_pipeline.reporting.workflow_docs import read_production
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.history import past_benchmarks
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.tables import benchmark_samples
from benchmarks.team import SMALL, fill, write_tasks


@pytest.fixture
def filled(database_url: str, tmp_path: Path) -> str:
    write_tasks(tmp_path, SMALL)
    fill(database_url, tmp_path, SMALL, datetime.now(UTC))
    return database_url


@pytest.fixture
def bench(filled: str, tmp_path: Path) -> Iterator[Workbench]:
    settings = Settings(testcases_dir=tmp_path / "testcases", final_passes=4)
    with closing(open_database(filled)) as database, Runtimes(settings) as runtimes:
        yield make_workbench(settings, database, open_production(database, {}), runtimes)


def samples_in(database: Database) -> int:
    with database.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(benchmark_samples)).scalar_one()


def questions(engine: Engine, ask: Callable[[], object]) -> int:
    """How many statements the database gets."""
    seen = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    ask()
    event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def test_it_holds_a_team_whose_benchmark_decides_about_every_conversation(bench: Workbench) -> None:
    plan = plan_from(bench, [fit_benchmark(bench, "grading").ranked]).plan
    with bench.database.engine.connect() as connection:
        past = past_benchmarks(connection, "grading")

    assert samples_in(bench.database) == SMALL.samples
    assert len(plan.rows) == SMALL.conversations
    assert {row.decision.value for row in plan.changes if row.decision} == {"promote"}
    assert [one.champion for one in past] == ["actor 0001"] * SMALL.benchmarks
    assert len(read_production(bench.database, bench.production, 8 * 10**9).workflows) == SMALL.workflows


def test_the_number_of_questions_to_the_database_does_not_grow_with_the_conversations(bench: Workbench) -> None:
    def plan() -> None:
        plan_from(bench, [fit_benchmark(bench, "grading").ranked])

    def documents() -> None:
        read_production(bench.database, bench.production, 8 * 10**9)

    assert questions(bench.database.engine, plan) < SMALL.conversations / 4
    assert questions(bench.database.engine, documents) < SMALL.workflows
