"""Rows of `benchmark_pass_loads`: what else ran during each pass of a model run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select

from bench_pipeline.domain.measuring.pass_load import GpuUse, PassLoad
from bench_pipeline.storage.tables import benchmark_pass_loads


def record_pass_load(connection: Connection, model_run_id: int, load: PassLoad) -> None:
    """Store the load of a pass. Of a pass that was interrupted, the part with the higher load stays."""
    c = benchmark_pass_loads.c
    this_pass = c.model_run_id == model_run_id, c.repeat == load.repeat
    before = connection.scalar(select(c.other_cores).where(*this_pass))
    if before is not None and before >= load.other_cores:
        return
    connection.execute(delete(benchmark_pass_loads).where(*this_pass))
    connection.execute(
        insert(benchmark_pass_loads).values(
            model_run_id=model_run_id,
            repeat=load.repeat,
            other_cores=load.other_cores,
            gpu_others=None if load.gpu_others is None else [asdict(one) for one in load.gpu_others],
        )
    )


def pass_loads_of(connection: Connection, model_run_ids: Sequence[int]) -> dict[int, list[PassLoad]]:
    """Return the loads of these model runs, by pass."""
    found: dict[int, list[PassLoad]] = {number: [] for number in model_run_ids}
    c = benchmark_pass_loads.c
    query = select(benchmark_pass_loads).where(c.model_run_id.in_(model_run_ids)).order_by(c.model_run_id, c.repeat)
    for row in connection.execute(query).mappings():
        others = row["gpu_others"]
        found[row["model_run_id"]].append(
            PassLoad(
                repeat=row["repeat"],
                other_cores=row["other_cores"],
                gpu_others=None if others is None else tuple(GpuUse(**one) for one in others),
            )
        )
    return found
