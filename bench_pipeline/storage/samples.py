"""Rows of samples: every call of a model run, stored as soon as it ends. Model runs are in benchmarks.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, distinct, func, insert, select, update

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import DISQUALIFYING, Outcome
from bench_pipeline.storage.tables import benchmark_model_runs, benchmark_runs, benchmark_samples

_DISQUALIFYING = [outcome.value for outcome in DISQUALIFYING]
_INSERT_SAMPLE = insert(benchmark_samples)


def insert_sample(connection: Connection, model_run_id: int, sample: Sample, at: datetime) -> None:
    """Store one call."""
    timings = sample.timings
    connection.execute(
        _INSERT_SAMPLE,
        {
            "model_run_id": model_run_id,
            "case_id": sample.case_id,
            "repeat": sample.repeat,
            "take": sample.take,
            "batch": sample.batch,
            "outcome": sample.outcome.value,
            "expected": sample.expected,
            "verdict": sample.verdict,
            "reason": sample.reason,
            "latency_ns": sample.latency_ns,
            "elapsed_ns": sample.elapsed_ns,
            "exclusion": sample.exclusion,
            "attempts": list(sample.attempts),
            "server_load_ns": timings.load_ns,
            "server_prompt_ns": timings.prompt_ns,
            "server_generation_ns": timings.generation_ns,
            "server_total_ns": timings.total_ns,
            "prompt_tokens": timings.prompt_tokens,
            "cached_prompt_tokens": timings.cached_prompt_tokens,
            "generated_tokens": timings.generated_tokens,
            "thinking_tokens": timings.thinking_tokens,
            "first_token_ns": sample.first_token_ns,
            "first_text_ns": sample.first_text_ns,
            "done_reason": sample.done_reason,
            "reply": sample.reply_text,
            "thinking": sample.thinking,
            "called_at": at,
        },
    )


def samples_of(connection: Connection, model_run_ids: Sequence[int]) -> dict[int, list[Sample]]:
    """Return the samples of these model runs in the order of the calls."""
    found: dict[int, list[Sample]] = {number: [] for number in model_run_ids}
    query = (
        select(benchmark_samples)
        .where(benchmark_samples.c.model_run_id.in_(model_run_ids))
        .order_by(benchmark_samples.c.sample_id)
    )
    for row in connection.execute(query).mappings():
        found[row["model_run_id"]].append(_sample(row))
    return found


def _sample(row: RowMapping) -> Sample:
    return Sample(
        case_id=row["case_id"],
        repeat=row["repeat"],
        batch=row["batch"],
        outcome=Outcome(row["outcome"]),
        expected=row["expected"],
        verdict=row["verdict"],
        reason=row["reason"],
        latency_ns=row["latency_ns"],
        elapsed_ns=row["elapsed_ns"],
        exclusion=row["exclusion"],
        attempts=tuple(row["attempts"] or ()),
        done_reason=row["done_reason"],
        reply_text=row["reply"],
        thinking=row["thinking"],
        timings=ServerTimings(
            load_ns=row["server_load_ns"],
            prompt_ns=row["server_prompt_ns"],
            generation_ns=row["server_generation_ns"],
            total_ns=row["server_total_ns"],
            prompt_tokens=row["prompt_tokens"],
            cached_prompt_tokens=row["cached_prompt_tokens"],
            generated_tokens=row["generated_tokens"],
            thinking_tokens=row["thinking_tokens"],
        ),
        take=row["take"],
        first_token_ns=row["first_token_ns"],
        first_text_ns=row["first_text_ns"],
    )


def exclude_samples(connection: Connection, model_run_id: int, exclusion: str) -> None:
    """Exclude every latency of a model run from the ranking by this rule."""
    connection.execute(
        update(benchmark_samples).where(benchmark_samples.c.model_run_id == model_run_id).values(exclusion=exclusion)
    )


def exclude_first_take(connection: Connection, model_run_id: int, again: Sample, exclusion: str) -> None:
    """Exclude the latency of the call that `again` repeats."""
    c = benchmark_samples.c
    first = c.case_id == again.case_id, c.repeat == again.repeat, c.take == 1
    connection.execute(
        update(benchmark_samples).where(c.model_run_id == model_run_id, *first).values(exclusion=exclusion)
    )


def case_failures(connection: Connection, suite_hash: str) -> dict[str, int]:
    """Return how many model runs have failed each case of a suite; cases without a failure are left out."""
    s, m, b = benchmark_samples.c, benchmark_model_runs.c, benchmark_runs.c
    query = (
        select(s.case_id, func.count(distinct(s.model_run_id)))
        .join(benchmark_model_runs, m.model_run_id == s.model_run_id)
        .join(benchmark_runs, b.benchmark_id == m.benchmark_id)
        .where(b.suite_hash == suite_hash, s.outcome.in_(_DISQUALIFYING))
        .group_by(s.case_id)
    )
    return {case_id: count for case_id, count in connection.execute(query)}  # noqa: C416 - mypy does not take a row for a pair
