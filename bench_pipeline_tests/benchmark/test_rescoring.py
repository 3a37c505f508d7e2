"""Stored replies read again: what changes, what is stored beside the old benchmark, and what is never touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from bench_pipeline.benchmark.hardware import this_machine
from bench_pipeline.benchmark.ranking import (
    RankedBenchmark,
    latest_benchmark_id,
    rank_benchmark,
    read_ranked,
    up_to_date_benchmark,
)
from bench_pipeline.benchmark.rescoring import Rescoring, rejudged, rescore_benchmark, save_rescored
from bench_pipeline.domain.errors import FileRefused, InputError
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import FinalLine, LeadingTag
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.storage import tables
from bench_pipeline.storage.locks import BENCHMARK, LockTaken
from bench_pipeline_tests.domain.tasks.judging import case_of
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.tasks import task_value, write_task
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

LAST_LINE = {"reader": "final_line"}


def rescored(world: World, benchmark_id: str | None = None) -> Rescoring:
    return rescore_benchmark(world.database, world.settings, "grading", benchmark_id)


def state_contract(world: World, contract: dict[str, Any]) -> None:
    write_task(world.folder / "testcases", task=task_value() | {"verdict": contract})


def age(world: World) -> None:
    """Make the stored benchmark one of an older reader, which could not read the first case."""
    c = tables.benchmark_samples.c
    unread = {
        "outcome": "invalid",
        "verdict": None,
        "reason": "not understood",
        "latency_ns": None,
        "exclusion": "no_verdict",
    }
    world.change(
        update(tables.benchmark_runs).values(reader_version="0", evidence_key="0" * 64),
        update(tables.benchmark_samples).where(c.case_id == "PASS_001").values(unread),
    )
    rank_benchmark(world.database, latest_benchmark_id(world.database, "grading"))


def changes_of(rescoring: Rescoring) -> list[tuple[str, str, Outcome, Outcome]]:
    return [(c.model, c.before.case_id, c.before.outcome, c.after.outcome) for c in rescoring.changes]


# One sample


def sample_of(outcome: Outcome, reply: str | None = "[PASS] fine", **more: Any) -> Sample:  # noqa: ANN401
    stored: dict[str, Any] = {"verdict": None, "done_reason": "stop", "reply_text": reply}
    return Sample("CASE_1", 1, 1, outcome, "PASS", **stored | more)


@pytest.mark.parametrize(
    ("sample", "outcome", "latency_ns"),
    [
        pytest.param(sample_of(Outcome.CORRECT, verdict="PASS", latency_ns=5), Outcome.CORRECT, 5, id="as before"),
        pytest.param(
            sample_of(Outcome.INVALID, elapsed_ns=9, exclusion="no_verdict", timings=ServerTimings(load_ns=2)),
            Outcome.CORRECT,
            7,
            id="a verdict is read now",
        ),
        pytest.param(sample_of(Outcome.CORRECT, "fine", latency_ns=5), Outcome.INVALID, None, id="none is read now"),
        pytest.param(sample_of(Outcome.INVALID, done_reason="length"), Outcome.INVALID, None, id="cut off"),
        pytest.param(sample_of(Outcome.INVALID, done_reason=None), Outcome.INVALID, None, id="incomplete"),
        pytest.param(sample_of(Outcome.ERROR, done_reason=None), Outcome.ERROR, None, id="an infrastructure error"),
        pytest.param(sample_of(Outcome.ERROR), Outcome.ERROR, None, id="an error with a reply"),
        pytest.param(sample_of(Outcome.INVALID, ""), Outcome.ERROR, None, id="a reply without a token"),
        pytest.param(sample_of(Outcome.INVALID, "", done_reason="load"), Outcome.ERROR, None, id="a load for a reply"),
        pytest.param(
            sample_of(Outcome.INVALID, "", timings=ServerTimings(generated_tokens=1)),
            Outcome.INVALID,
            None,
            id="an empty reply with a token",
        ),
    ],
)
def test_a_sample_is_judged_by_its_reply_and_keeps_a_latency_only_with_a_verdict(
    sample: Sample, outcome: Outcome, latency_ns: int | None
) -> None:
    after = rejudged(LeadingTag(), case_of(), sample)
    assert (after.outcome, after.latency_ns) == (outcome, latency_ns)


def test_judging_a_sample_again_by_the_same_contract_changes_nothing_more() -> None:
    once = rejudged(FinalLine(), case_of(), sample_of(Outcome.CORRECT, verdict="PASS", latency_ns=5))
    assert rejudged(FinalLine(), case_of(), once) == once


# A benchmark


@ONE_ENGINE
def test_with_the_same_reader_and_contract_nothing_changes(world: World) -> None:
    world.ranked(final=False)
    rescoring = rescored(world)
    assert (rescoring.changes, rescoring.is_new_evidence, len(rescoring.samples)) == ((), False, 16)
    assert all(sample.before == sample.after for sample in rescoring.samples)


@ONE_ENGINE
def test_what_an_older_reader_did_not_read_is_read_now(world: World) -> None:
    world.ranked("fast", "wrong")
    age(world)
    assert changes_of(rescored(world)) == [
        ("fast", "PASS_001", Outcome.INVALID, Outcome.CORRECT),
        ("wrong", "PASS_001", Outcome.INVALID, Outcome.CORRECT),
    ]


@ONE_ENGINE
def test_the_contract_that_the_task_states_now_is_read_by(world: World) -> None:
    world.ranked("fast")
    state_contract(world, LAST_LINE)
    rescoring = rescored(world)
    assert rescoring.task.verdict == FinalLine()
    assert {change.after.outcome for change in rescoring.changes} == {Outcome.INVALID}
    assert len(rescoring.changes) == 4


@ONE_ENGINE
def test_without_a_task_any_more_the_stored_contract_is_read_by(world: World) -> None:
    world.ranked("fast")
    shutil.rmtree(world.folder / "testcases" / "grading")
    rescoring = rescored(world)
    assert (rescoring.task.verdict, rescoring.changes) == (LeadingTag(), ())


@ONE_ENGINE
def test_nothing_is_called_and_nothing_is_stored(world: World) -> None:
    world.ranked()
    state_contract(world, LAST_LINE)
    rows = [world.rows(name, *(c.name for c in table.c)) for name, table in tables.metadata.tables.items()]
    requests = len(world.server.log)
    assert rescored(world).changes
    assert [world.rows(name, *(c.name for c in table.c)) for name, table in tables.metadata.tables.items()] == rows
    assert len(world.server.log) == requests


@ONE_ENGINE
def test_gold_that_the_contract_cannot_compare_is_refused(world: World) -> None:
    world.ranked("fast")
    state_contract(world, {"reader": "json_fields", "fields": ["title"]})
    with pytest.raises(FileRefused, match="expected_output: lacks title"):
        rescored(world)


def of_another_task(world: World) -> tuple[str, str]:
    return "extraction", world.ranked("fast").benchmark.benchmark_id


def unknown(world: World) -> tuple[str, str | None]:
    return "grading", "absent"


def not_ranked(world: World) -> tuple[str, str | None]:
    return "grading", world.run("fast")


def never_benchmarked(world: World) -> tuple[str, str | None]:
    return "grading", None


@ONE_ENGINE
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (of_another_task, "is of grading, not of extraction"),
        (unknown, "there is no benchmark 'absent'"),
        (not_ranked, "was not ranked"),
        (never_benchmarked, "was never benchmarked"),
    ],
)
def test_a_benchmark_that_is_not_there_to_be_read_is_an_input_error(
    world: World, asked: Callable[[World], tuple[str, str | None]], says: str
) -> None:
    task, benchmark_id = asked(world)
    with pytest.raises(InputError, match=says):
        rescore_benchmark(world.database, world.settings, task, benchmark_id)


# What is stored


def saved(world: World) -> RankedBenchmark:
    return save_rescored(world.database, rescored(world))


def test_the_result_is_a_new_benchmark_and_the_old_one_stays_as_it_was(world: World) -> None:
    world.ranked()
    age(world)
    old = read_ranked(world.database, latest_benchmark_id(world.database, "grading"))
    new = saved(world)
    assert read_ranked(world.database, old.benchmark.benchmark_id) == old
    assert latest_benchmark_id(world.database, "grading") == new.benchmark.benchmark_id
    assert (new.benchmark.status, new.benchmark.reader_version) == ("finished", READER_VERSION)
    assert new.benchmark.started_at > old.benchmark.started_at
    assert new.excluded == old.excluded


def test_model_runs_are_copied_with_all_that_was_measured_and_samples_with_what_they_are_worth_now(
    world: World,
) -> None:
    world.ranked("fast", "silent")
    age(world)
    old = read_ranked(world.database, latest_benchmark_id(world.database, "grading"))
    rescoring = rescored(world)
    new = save_rescored(world.database, rescoring)
    assert dict(new.samples) == {
        model: [pair.after for pair in rescoring.samples if pair.model == model] for model in old.samples
    }
    columns = [c.name for c in tables.benchmark_model_runs.c if c.name not in ("model_run_id", "benchmark_id")]
    before, after = [], []
    for benchmark_id, *run in world.rows("benchmark_model_runs", "benchmark_id", *columns):
        (before if benchmark_id == old.benchmark.benchmark_id else after).append(run)
    assert after == before
    measured = world.rows("benchmark_samples", "reply", "thinking", "called_at", "generated_tokens", "server_total_ns")
    assert measured[8:] == measured[:8]


@ONE_ENGINE
def test_the_new_evidence_is_the_one_that_a_new_run_would_have(world: World) -> None:
    world.ranked("fast", "slow")
    age(world)
    new = saved(world)
    assert new.benchmark.evidence_key == world.prepared().evidence_key(this_machine(world.bench.system))
    assert not rescored(world).is_new_evidence


@ONE_ENGINE
def test_a_reply_that_is_read_now_is_ranked_by_the_time_that_it_took(world: World) -> None:
    world.ranked("fast", "slow", final=False)
    age(world)
    result = saved(world).scoreboard.of("fast")
    assert result is not None
    assert (result.standing, result.cases_correct, result.valid_calls) == (Standing.QUALIFIED, 4, 4)


@ONE_ENGINE
def test_a_rule_that_keeps_a_latency_out_of_the_ranking_stays_in_force(world: World) -> None:
    world.ranked("fast", "slow")
    age(world)
    samples = tables.benchmark_samples
    world.change(update(samples).where(samples.c.case_id == "PASS_001").values(exclusion="contention"))
    result = saved(world).scoreboard.of("fast")
    assert result is not None
    assert (result.standing, result.cases_correct) == (Standing.INCONCLUSIVE, 4)
    assert only(result.failures).reason.endswith("excluded by contention")


@ONE_ENGINE
def test_a_model_that_was_read_wrongly_to_its_favour_loses_its_rank(world: World) -> None:
    world.ranked("fast", "slow")
    state_contract(world, LAST_LINE)
    new = saved(world)
    assert new.scoreboard.champion is None
    assert new.benchmark.task["verdict"] == LAST_LINE


@ONE_ENGINE
def test_a_copied_run_counts_later_with_the_date_when_it_was_made(world: World) -> None:
    world.ranked("slow")
    world.change(update(tables.benchmark_runs).values(reader_version="0", evidence_key="0" * 64))
    new = saved(world)
    ranked = world.ranked_among("fast", days=35)
    assert {model: run.benchmark_id for model, run in ranked.reused.items()} == {"slow": new.benchmark.benchmark_id}


@ONE_ENGINE
def test_runs_that_were_reused_and_models_that_were_never_measured_stay_in_the_result(world: World) -> None:
    world.run("slow")
    old = world.ranked_among("fast", days=35)
    world.change(update(tables.benchmark_runs).values(reader_version="0", evidence_key="0" * 64))
    new = saved(world)
    assert list(old.reused) == ["slow"]
    assert not new.reused
    assert [(r.model, r.standing) for r in new.scoreboard.results] == [
        (r.model, r.standing) for r in old.scoreboard.results
    ]
    c = ("benchmark_id", "model_name", "actor_id", "execution_path", "exclusion", "detail")
    lines: dict[str, list[tuple[Any, ...]]] = {}
    for benchmark_id, *line in world.rows("benchmark_candidates", *c):
        lines.setdefault(benchmark_id, []).append(tuple(line))
    assert lines[new.benchmark.benchmark_id] == lines[old.benchmark.benchmark_id]


@ONE_ENGINE
def test_old_runs_do_not_become_young_by_being_read_again(world: World) -> None:
    world.ranked("fast")
    (started,) = only(world.rows("benchmark_model_runs", "started_at"))
    world.change(
        update(tables.benchmark_model_runs).values(started_at=started.replace(year=2020)),
        update(tables.benchmark_runs).values(reader_version="0", evidence_key="0" * 64),
    )
    saved(world)
    asked = (world.database, "grading", world.evidence_key, world.candidates("fast"))
    assert up_to_date_benchmark(*asked, reuse_days=36_500) is not None
    assert up_to_date_benchmark(*asked, reuse_days=35) is None


@ONE_ENGINE
def test_only_the_latest_benchmark_can_be_stored_again(world: World) -> None:
    first = world.ranked("fast").benchmark.benchmark_id
    world.ranked("fast")
    state_contract(world, LAST_LINE)
    with pytest.raises(InputError, match="only the latest one can be saved again"):
        save_rescored(world.database, rescored(world, first))


@ONE_ENGINE
def test_nothing_is_stored_while_a_benchmark_runs(world: World) -> None:
    world.ranked("fast")
    state_contract(world, LAST_LINE)
    with world.database.exclusive(BENCHMARK), pytest.raises(LockTaken):
        saved(world)
