"""What became of a model is found by every name that it goes by, in every benchmark since the first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from bench_pipeline.domain.measuring.benchmark import Purpose
from bench_pipeline.domain.measuring.ledger import LedgerLine, LookedAt, ReasonCode
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.model_ref import parse_execution_path
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.ledger import benchmark_ledger, looked_at, model_ledger, record_ledger
from bench_pipeline_tests.storage.test_benchmarks import NOW, ROW


def candidate(name: str, path: str | None = None) -> Candidate:
    return Candidate(name, 1, parse_execution_path(path) if path else None)


QWEN, MINI, FAR = (
    candidate("qwen", "ollama:qwen2.5:7b"),
    candidate("mini", "llama_cpp:smollm2:135m"),
    candidate("far", "openai:http://127.0.0.1:1/v1#org/big_model"),
)
HUGE = replace(candidate("huge", "ollama:huge:70b"), exclusion=Exclusion.TOO_LARGE, detail="40 GB")


def benchmark(
    connection: Connection,
    days_ago: int,
    *candidates: Candidate,
    task: str = "grading",
    purpose: str = Purpose.BENCHMARK,
) -> str:
    name = f"{task}-{days_ago}"
    at = NOW - timedelta(days=days_ago)
    row = replace(ROW, benchmark_id=name, task_type=task, purpose=purpose, started_at=at)
    store.insert_benchmark(connection, row)
    store.replace_candidates(connection, name, candidates)
    return name


def test_a_line_is_read_back_with_its_benchmark(database: Database) -> None:
    with database.writing() as connection:
        number = benchmark(connection, 1, QWEN, MINI)
        record_ledger(connection, number, [LedgerLine("qwen", ReasonCode.WRONG, "1 of 4 cases wrong: \x00 🌹")])
    with database.engine.connect() as connection:
        (found,) = model_ledger(connection, "qwen")
    assert (found.date, found.task, found.benchmark_id) == (datetime(2026, 11, 23, 3, 0, 0, 5, UTC), "grading", number)
    assert (found.model, found.code, found.reason) == ("qwen", "wrong", "1 of 4 cases wrong: \ufffd 🌹")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param("qwen", "qwen", id="the actor's name"),
        pytest.param("ollama:qwen2.5:7b", "qwen", id="the execution path"),
        pytest.param("qwen2.5:7b", "qwen", id="the tag on Ollama"),
        pytest.param("smollm2:135m", "mini", id="the name in the catalogue"),
        pytest.param("llama_cpp:smollm2:135m", "mini", id="the path of the embedded runtime"),
        pytest.param("org/big_model", "far", id="the model of an OpenAI-compatible server"),
        pytest.param("plain", "plain", id="a name whose path could not be read"),
        pytest.param("latest", "latest (actor 9)", id="the second actor of a name"),
        pytest.param("tagged", "x", id="an Ollama model without its tag"),
        pytest.param("7b", None, id="a part of a tag"),
        pytest.param("org/bigXmodel", None, id="an underscore is no wildcard"),
        pytest.param("qw%", None, id="a percent sign is none either"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_model_is_found_by_each_of_its_names(database: Database, asked: str, found: str | None) -> None:
    others = [candidate("plain"), candidate("latest (actor 9)"), candidate("x", "ollama:tagged")]
    with database.writing() as connection:
        benchmark(connection, 1, QWEN, MINI, FAR, *others)
        assert [entry.model for entry in model_ledger(connection, asked)] == ([found] if found else [])


def test_the_newest_benchmark_comes_first_and_one_that_did_not_look_at_it_has_a_line(database: Database) -> None:
    with database.writing() as connection:
        benchmark(connection, 9, MINI)  # before it was known
        for days_ago, code in ((7, ReasonCode.RUNNER_UP), (1, ReasonCode.CHAMPION)):
            number = benchmark(connection, days_ago, QWEN, MINI)
            record_ledger(connection, number, [LedgerLine("qwen", code, "why")])
        benchmark(connection, 3, MINI)
        benchmark(connection, 2, QWEN, purpose=Purpose.VALIDATION)
        found = model_ledger(connection, "qwen")
    assert [(entry.benchmark_id, entry.model, entry.code) for entry in found] == [
        ("grading-1", "qwen", "champion"),
        ("grading-3", None, "not_measured"),
        ("grading-7", "qwen", "runner_up"),
    ]
    assert found[1].reason == "it was not among the models of this benchmark"


def test_only_the_benchmarks_of_the_task_are_asked(database: Database) -> None:
    with database.writing() as connection:
        benchmark(connection, 1, QWEN)
        benchmark(connection, 2, QWEN, task="extraction")
        benchmark(connection, 3, MINI, task="formatting")
        assert [entry.task for entry in model_ledger(connection, "qwen", "extraction")] == ["extraction"]
        assert model_ledger(connection, "qwen", "formatting") == []
        assert {entry.task for entry in model_ledger(connection, "qwen")} == {"grading", "extraction"}


def test_before_a_benchmark_is_ranked_an_exclusion_is_told_and_the_rest_is_open(database: Database) -> None:
    with database.writing() as connection:
        number = benchmark(connection, 1, QWEN, HUGE)
        assert [(entry.model, entry.code, entry.reason) for entry in benchmark_ledger(connection, number)] == [
            ("huge", "too_large", "40 GB"),
            ("qwen", "unranked", "this benchmark was not ranked yet"),
        ]


def test_who_was_looked_at_is_read_back_by_name(database: Database) -> None:
    with database.writing() as connection:
        number = benchmark(connection, 1, QWEN, HUGE)
        record_ledger(connection, number, [])
        assert looked_at(connection, number) == [LookedAt("huge", Exclusion.TOO_LARGE, "40 GB"), LookedAt("qwen")]
