"""Reads that a database with many rows must answer by an index, as each engine's planner tells."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, event, text

from bench_pipeline.domain.measuring.benchmark import Purpose
from bench_pipeline.storage import (
    benchmarks,
    champions,
    decisions,
    documents,
    history,
    ledger,
    measured,
    promotions,
    samples,
)
from bench_pipeline.storage.database import Database

AT = datetime(2026, 1, 1, tzinfo=UTC)
READS: dict[str, Callable[[Connection], object]] = {
    "the samples of model runs": lambda c: samples.samples_of(c, [1, 2]),
    "the failures of a suite's cases": lambda c: samples.case_failures(c, "suite"),
    "the model runs of a benchmark": lambda c: benchmarks.model_runs(c, "b"),
    "model runs by their ids": lambda c: benchmarks.model_runs_by_id(c, [1, 2]),
    "earlier runs under the same evidence": lambda c: benchmarks.earlier_model_runs(c, "key", AT),
    "measured models under the same evidence": lambda c: measured.measured_models(c, "key"),
    "models that ran on a task": lambda c: measured.models_run_before(c, "grading"),
    "a whole benchmark since a moment": lambda c: measured.measured_whole(c, "grading", AT, "suite", "protocol"),
    "the last benchmarks of Dagster's": lambda c: benchmarks.benchmarks_of_dagster(c, "grading", 5),
    "when a task was first benchmarked": lambda c: measured.first_benchmark_at(c, "grading"),
    "unfinished benchmarks": lambda c: benchmarks.unfinished_benchmarks(c, Purpose.BENCHMARK, "key", AT),
    "the latest benchmark of a task": lambda c: benchmarks.latest_benchmark(c, "grading"),
    "the models that did not take part": lambda c: benchmarks.excluded_candidates(c, "b"),
    "a scoreboard": lambda c: history.stored_scoreboard(c, "b"),
    "the history of a task": lambda c: history.past_benchmarks(c, "grading"),
    "the ledger of a benchmark": lambda c: ledger.benchmark_ledger(c, "b"),
    "the models that are too large": documents.too_large,
    "the champion of a conversation": lambda c: champions.champion(c, 1),
    "a change": lambda c: promotions.promotion_by_id(c, 1),
    "the change that applied a plan": lambda c: promotions.promotion_by_plan(c, "hash"),
    "the last validation of a change": lambda c: promotions.last_validation(c, 1),
    "the last validation of a task": lambda c: promotions.last_validation_of_task(c, "grading"),
    "open intents": promotions.open_intents,
    "the decisions of a plan": lambda c: decisions.decisions_of_plan(c, "hash"),
    "the decisions from a benchmark": lambda c: decisions.decisions_of(c, "b"),
}
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}
SCANNED = {"sqlite": r"SCAN (benchmark_\w+)", "postgresql": r"Seq Scan on (benchmark_\w+)"}


def scanned_tables(connection: Connection, read: Callable[[Connection], object]) -> set[str]:
    """The tables of which a read sees every row."""
    asked = []

    @event.listens_for(connection, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            asked.append((statement, parameters))

    read(connection)
    event.remove(connection, "before_cursor_execute", note)
    engine = connection.dialect.name
    plans = [connection.exec_driver_sql(EXPLAIN[engine] + one, values).all() for one, values in asked]
    return {found for plan in plans for row in plan for found in re.findall(SCANNED[engine], str(row))}


def test_no_read_of_one_thing_sees_every_row_of_a_table(database: Database) -> None:
    with database.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET enable_seqscan = off"))  # the tables are empty: only a missing index scans
        found = {name: scanned_tables(connection, read) for name, read in READS.items()}

    assert {name: tables for name, tables in found.items() if tables} == {}


def test_a_read_of_all_rows_is_recognised(database: Database) -> None:
    with database.engine.connect() as connection:
        assert scanned_tables(connection, promotions.all_promotions) >= {"benchmark_promotions"}
