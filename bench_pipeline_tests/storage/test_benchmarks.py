"""A benchmark, its model runs and its samples come back from the database as they were measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from bench_pipeline.domain.measuring.benchmark import Purpose, RunStatus
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.models.actor import Candidate, Entrant, Exclusion
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity
from bench_pipeline.domain.models.model_ref import ollama_ref
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.samples import exclude_first_take, insert_sample, samples_of
from bench_pipeline_tests.kit.text import only

NOW = datetime(2026, 11, 24, 3, 0, 0, 5, UTC)
HOUR = timedelta(hours=1)
IDENTITY = ModelIdentity(
    name="qwen:7b", runtime="ollama", digest="sha256:aa", size_bytes=2**33, capabilities=("tools",)
)
CANDIDATE = Candidate("qwen", 1, ollama_ref("qwen:7b"), IDENTITY)
ROW = BenchmarkRow(
    benchmark_id="grading-1",
    task_type="grading",
    purpose=Purpose.BENCHMARK,
    status=RunStatus.RUNNING,
    evidence_key="k" * 64,
    suite_version="1.0.0",
    suite_hash="s" * 64,
    suite={"test_cases": [{"id": "Gärtner", "expected_output": None}]},
    prompt_hash="p" * 64,
    task={"task": "grading"},
    prompt_source="task.yaml",
    reader_version="1",
    protocol={"repeats": 1, "decoding": {"temperature": 0.0}},
    protocol_hash="q" * 64,
    hardware={"gpu": None},
    tool_version="0.1.0",
    dagster_run_id=None,
    started_at=NOW,
    finished_at=None,
)
FULL = Sample(
    case_id="GRADE_PASS_001",
    repeat=2,
    batch=1,
    outcome=Outcome.WRONG,
    expected="PASS",
    verdict="FAIL",
    reason="said FAIL, gold is PASS",
    latency_ns=2**31 + 1,
    done_reason="stop",
    reply_text="[FAIL] Gärtner 🌹",
    thinking="hm",
    timings=ServerTimings(1, 2**31, 2**40, 2**62, 5, 6, 7),
)
BARE = Sample("GRADE_PASS_002", 1, 1, Outcome.ERROR, "PASS")


def entrant_of(candidate: Candidate) -> Entrant:
    assert candidate.ref is not None
    return Entrant(candidate.name, candidate.actor_id, candidate.ref, candidate.identity or IDENTITY)


def begun(connection: Connection, row: BenchmarkRow = ROW, candidate: Candidate = CANDIDATE) -> int:
    if store.benchmark(connection, row.benchmark_id) is None:
        store.insert_benchmark(connection, row)
    return store.insert_model_run(connection, row.benchmark_id, entrant_of(candidate), NOW)


# Samples


@pytest.mark.parametrize(
    "sample", [FULL, BARE, replace(BARE, take=2)], ids=["everything known", "nothing known", "repetition"]
)
def test_a_sample_is_read_back_as_it_was_taken(database: Database, sample: Sample) -> None:
    with database.writing() as connection:
        run = begun(connection)
        insert_sample(connection, run, sample, NOW)
    with database.engine.connect() as connection:
        assert samples_of(connection, [run]) == {run: [sample]}


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_is_read_back_as_itself(database: Database, outcome: Outcome) -> None:
    with database.writing() as connection:
        run = begun(connection)
        insert_sample(connection, run, replace(BARE, outcome=outcome), NOW)
        assert samples_of(connection, [run])[run][0].outcome is outcome


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        pytest.param("[PA\x00SS]", "[PA\ufffdSS]", id="NUL"),
        pytest.param("broken \ud83d emoji", "broken \ufffd emoji", id="lone surrogate"),
        pytest.param("x" * 100_000, "x" * 100_000, id="long"),
    ],
)
@pytest.mark.parametrize("field", ["reply_text", "thinking", "reason", "done_reason"])
def test_whatever_a_model_writes_its_sample_is_stored(database: Database, field: str, text: str, stored: str) -> None:
    """Row 29."""
    sample = Sample(**{**{name: getattr(FULL, name) for name in Sample.__slots__}, field: text})
    with database.writing() as connection:
        run = begun(connection)
        insert_sample(connection, run, sample, NOW)
    with database.engine.connect() as connection:
        assert getattr(samples_of(connection, [run])[run][0], field) == stored


@pytest.mark.parametrize(
    ("second", "taken"),
    [
        pytest.param(replace(FULL, outcome=Outcome.CORRECT, batch=9), True, id="same case, same repeat"),
        pytest.param(replace(FULL, repeat=3), False, id="another repeat"),
        pytest.param(replace(FULL, take=2), False, id="the repetition of a disturbed call"),
        pytest.param(replace(FULL, case_id="OTHER"), False, id="another case"),
    ],
)
def test_a_case_has_one_sample_for_each_repeat_of_a_model_run(database: Database, second: Sample, taken: bool) -> None:
    with database.writing() as connection:
        run = begun(connection)
        insert_sample(connection, run, FULL, NOW)
    if taken:
        with pytest.raises(IntegrityError), database.writing() as connection:
            insert_sample(connection, run, second, NOW)
    else:
        with database.writing() as connection:
            insert_sample(connection, run, second, NOW)
    with database.engine.connect() as connection:
        assert samples_of(connection, [run])[run] == ([FULL] if taken else [FULL, second])


def test_a_repetition_excludes_the_call_that_it_repeats_and_no_other(database: Database) -> None:
    others = [replace(FULL, repeat=3), replace(FULL, case_id="OTHER"), replace(FULL, take=2)]
    with database.writing() as connection:
        run = begun(connection)
        for sample in (FULL, *others):
            insert_sample(connection, run, sample, NOW)
        exclude_first_take(connection, run, others[-1], "disturbed")
        assert samples_of(connection, [run])[run] == [replace(FULL, exclusion="disturbed"), *others]


def test_the_same_case_of_another_model_is_another_sample(database: Database) -> None:
    with database.writing() as connection:
        one = begun(connection)
        other = begun(connection, candidate=replace(CANDIDATE, name="other"))
        for run in (one, other):
            insert_sample(connection, run, FULL, NOW)
        assert samples_of(connection, [one, other]) == {one: [FULL], other: [FULL]}


def test_a_sample_of_no_model_run_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError), database.writing() as connection:
        insert_sample(connection, 404, FULL, NOW)


def test_samples_are_read_in_the_order_of_the_calls(database: Database) -> None:
    ids = ["c", "a", "b"]
    with database.writing() as connection:
        run = begun(connection)
        for case_id in ids:
            insert_sample(connection, run, replace(BARE, case_id=case_id), NOW)
        assert [sample.case_id for sample in samples_of(connection, [run])[run]] == ids


# Model runs


def test_a_model_run_is_read_back_with_its_identity_and_what_loading_cost(database: Database) -> None:
    with database.writing() as connection:
        number = begun(connection)
        store.record_load(connection, number, LoadReport(load_ns=2**33, memory_bytes=2**34, vram_bytes=2**32))
        store.finish_model_run(connection, number, NOW + HOUR, "unavailable: \x00 gone")
    with database.engine.connect() as connection:
        run = store.model_run(connection, "grading-1", "qwen")
        assert store.model_runs(connection, "grading-1") == [run]
        assert store.model_runs_by_id(connection, [number]) == [run]
    assert run is not None
    assert (run.ref, run.identity, run.actor_id) == (CANDIDATE.ref, IDENTITY, 1)
    assert (run.load_ns, run.memory_bytes, run.failure) == (2**33, 2**34, "unavailable: \ufffd gone")
    assert (run.started_at, run.finished_at) == (NOW, NOW + HOUR)


def test_a_model_has_one_run_in_a_benchmark(database: Database) -> None:
    with database.writing() as connection:
        begun(connection)
    with pytest.raises(IntegrityError), database.writing() as connection:
        begun(connection)


def test_a_deleted_model_run_takes_its_samples_and_no_others_with_it(database: Database) -> None:
    with database.writing() as connection:
        gone, stays = begun(connection), begun(connection, candidate=replace(CANDIDATE, name="other"))
        for run in (gone, stays):
            insert_sample(connection, run, FULL, NOW)
        store.delete_model_run(connection, gone)
        assert samples_of(connection, [gone, stays]) == {gone: [], stays: [FULL]}
        assert [run.model_run_id for run in store.model_runs(connection, "grading-1")] == [stays]


@pytest.mark.parametrize(
    ("prepare", "found"),
    [
        pytest.param(lambda c, run: store.finish_model_run(c, run, NOW, None), True, id="finished"),
        pytest.param(lambda c, run: None, False, id="not finished"),  # noqa: ARG005
        pytest.param(lambda c, run: store.finish_model_run(c, run, NOW, "lost"), False, id="failed"),
    ],
)
def test_only_a_run_that_ended_well_counts_for_a_later_benchmark(
    database: Database, prepare: Callable[[Connection, int], None], found: bool
) -> None:
    with database.writing() as connection:
        run = begun(connection)
        prepare(connection, run)
        earlier = store.earlier_model_runs(connection, ROW.evidence_key, NOW - HOUR)
    assert [r.model_run_id for r in earlier] == ([run] if found else [])


@pytest.mark.parametrize(
    ("evidence_key", "purpose", "since"),
    [
        pytest.param("other", Purpose.BENCHMARK, NOW - HOUR, id="other evidence"),
        pytest.param(ROW.evidence_key, Purpose.VALIDATION, NOW - HOUR, id="a validation"),
        pytest.param(ROW.evidence_key, Purpose.BENCHMARK, NOW + HOUR, id="too old"),
    ],
)
def test_a_run_of_other_evidence_or_purpose_or_age_does_not_count(
    database: Database, evidence_key: str, purpose: str, since: datetime
) -> None:
    with database.writing() as connection:
        run = begun(connection, replace(ROW, purpose=purpose))
        store.finish_model_run(connection, run, NOW, None)
        assert store.earlier_model_runs(connection, evidence_key, since) == []


# Benchmarks


def test_a_benchmark_is_read_back_as_it_was_begun(database: Database) -> None:
    with database.writing() as connection:
        store.insert_benchmark(connection, ROW)
    with database.engine.connect() as connection:
        assert store.benchmark(connection, "grading-1") == ROW
        assert store.benchmark(connection, "grading-2") is None


def test_the_latest_benchmark_is_the_last_that_was_begun_and_has_ended(database: Database) -> None:
    rows = [
        replace(ROW, benchmark_id="old", started_at=NOW - HOUR),
        replace(ROW, benchmark_id="new"),
        replace(ROW, benchmark_id="validation", purpose=Purpose.VALIDATION, started_at=NOW + HOUR),
        replace(ROW, benchmark_id="other task", task_type="formatting", started_at=NOW + HOUR),
    ]
    with database.writing() as connection:
        for row in rows:
            store.insert_benchmark(connection, row)
            store.finish_benchmark(connection, row.benchmark_id, NOW + HOUR)
        store.insert_benchmark(connection, replace(ROW, benchmark_id="running", started_at=NOW + HOUR))
        latest = store.latest_benchmark(connection, "grading")
    assert latest == replace(ROW, benchmark_id="new", status=RunStatus.FINISHED, finished_at=NOW + HOUR)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        pytest.param(ROW, True, id="running, same evidence, young"),
        pytest.param(replace(ROW, evidence_key="other"), False, id="other evidence"),
        pytest.param(replace(ROW, purpose=Purpose.VALIDATION), False, id="other purpose"),
        pytest.param(replace(ROW, status=RunStatus.FINISHED), False, id="ended"),
        pytest.param(replace(ROW, started_at=NOW - 2 * HOUR), False, id="too old"),
    ],
)
def test_only_a_young_benchmark_of_the_same_evidence_goes_on(
    database: Database, row: BenchmarkRow, found: bool
) -> None:
    with database.writing() as connection:
        store.insert_benchmark(connection, row)
        unfinished = store.unfinished_benchmarks(connection, Purpose.BENCHMARK, ROW.evidence_key, NOW - HOUR)
    assert unfinished == [row] * found


# Candidates


def excluded(name: str, detail: str = "") -> Candidate:
    return Candidate(name, 2, None, exclusion=Exclusion.TOO_LARGE, detail=detail)


def test_excluded_candidates_are_read_with_their_reason_by_name(database: Database) -> None:
    with database.writing() as connection:
        store.insert_benchmark(connection, ROW)
        store.replace_candidates(connection, "grading-1", [excluded("z", "9 GB"), CANDIDATE, excluded("a", "bad \x00")])
        assert store.excluded_candidates(connection, "grading-1") == [
            ("a", Exclusion.TOO_LARGE, "bad \ufffd"),
            ("z", Exclusion.TOO_LARGE, "9 GB"),
        ]


def test_replaced_candidates_leave_none_of_the_earlier_ones(database: Database) -> None:
    with database.writing() as connection:
        store.insert_benchmark(connection, ROW)
        store.replace_candidates(connection, "grading-1", [excluded("a")])
        store.replace_candidates(connection, "grading-1", [excluded("b")])
        assert [line[0] for line in store.excluded_candidates(connection, "grading-1")] == ["b"]


def test_models_beside_the_candidates_are_participants_with_the_run_that_counts_for_them(database: Database) -> None:
    with database.writing() as connection:
        number = begun(connection)
        run = only(store.model_runs(connection, ROW.benchmark_id))
        store.insert_benchmark(connection, replace(ROW, benchmark_id="grading-2"))
        store.replace_candidates(connection, "grading-2", [excluded("a", "old")])
        beside = [replace(CANDIDATE, name="b"), replace(CANDIDATE, name="c"), excluded("d", "new")]
        store.add_candidates(connection, "grading-2", beside, {"b": run})

        found = [(one.model, one.reused_run_id) for one in store.participants(connection, "grading-2")]
        assert found == [("b", number), ("c", None)]
        assert [one.model for one in store.excluded_candidates(connection, "grading-2")] == ["a", "d"]
