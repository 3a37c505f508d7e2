"""Copies of model runs in another benchmark, so that they can be judged again while the old rows stay unchanged.

Judging is in benchmark/rescoring.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Connection, Table, insert, literal, select, update

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.model_ref import parse_execution_path
from bench_pipeline.storage.tables import (
    benchmark_candidates,
    benchmark_model_runs,
    benchmark_pass_loads,
    benchmark_samples,
)


def stored_candidates(connection: Connection, benchmark_id: str) -> list[Candidate]:
    """Return the candidates of a benchmark, without identities: those are stored with the model runs."""
    c = benchmark_candidates.c
    query = select(c.model_name, c.actor_id, c.execution_path, c.exclusion, c.detail).where(
        c.benchmark_id == benchmark_id
    )
    return [
        Candidate(
            name=name,
            actor_id=actor_id,
            ref=parse_execution_path(path) if path else None,
            exclusion=Exclusion(exclusion) if exclusion else None,
            detail=detail,
        )
        for name, actor_id, path, exclusion, detail in connection.execute(query)
    ]


def copy_model_run(connection: Connection, model_run_id: int, benchmark_id: str) -> int:
    """Copy a model run with its samples and loads to a benchmark; return the id of the copy."""
    runs = benchmark_model_runs.c
    model = connection.scalar(select(runs.model_name).where(runs.model_run_id == model_run_id))
    _copy(connection, benchmark_model_runs, {"benchmark_id": benchmark_id}, runs.model_run_id, model_run_id)
    mine = select(runs.model_run_id).where(runs.benchmark_id == benchmark_id, runs.model_name == model)
    copied = int(connection.execute(mine).scalar_one())
    for table in (benchmark_samples, benchmark_pass_loads):
        _copy(connection, table, {"model_run_id": copied}, table.c.model_run_id, model_run_id)
    return copied


def update_judgement(connection: Connection, model_run_id: int, sample: Sample) -> None:
    """Store the new judgement of a copied sample; what the runtime returned stays unchanged."""
    c = benchmark_samples.c
    connection.execute(
        update(benchmark_samples)
        .where(
            c.model_run_id == model_run_id,
            c.case_id == sample.case_id,
            c.repeat == sample.repeat,
            c.take == sample.take,
        )
        .values(
            outcome=sample.outcome.value,
            verdict=sample.verdict,
            reason=sample.reason,
            latency_ns=sample.latency_ns,
            exclusion=sample.exclusion,
        )
    )


def _copy(
    connection: Connection, table: Table, changed: Mapping[str, object], key: Column[object], value: object
) -> None:
    """Copy the rows where `key` is `value`, in order, with these columns changed and new primary keys."""
    own_number = table.autoincrement_column
    columns = [column for column in table.columns if column is not own_number]
    values = [literal(changed[c.name], c.type) if c.name in changed else c for c in columns]
    rows = select(*values).where(key == value).order_by(*table.primary_key)
    connection.execute(insert(table).from_select([column.name for column in columns], rows))
