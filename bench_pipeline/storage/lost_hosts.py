"""What becomes of a model run when the host that measured it is lost. Its other changes are in benchmarks.py."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, update

from bench_pipeline.storage.tables import benchmark_model_runs, benchmark_pass_loads, benchmark_samples

_OF_A_RUN = (benchmark_samples, benchmark_pass_loads)


def move_model_run(connection: Connection, model_run_id: int, host: str | None) -> None:
    """Begin a model run anew on a named host; samples from another one are deleted."""
    for table in _OF_A_RUN:
        connection.execute(delete(table).where(table.c.model_run_id == model_run_id))
    begun = {"host": host, "finished_at": None, "failure": None, "stopped": None}
    connection.execute(
        update(benchmark_model_runs).where(benchmark_model_runs.c.model_run_id == model_run_id).values(begun)
    )


def discard_final(connection: Connection, model_run_id: int, repeats: int, at: datetime) -> None:
    """Delete the model's passes in a final, which come after its `repeats` main passes; those stand."""
    for table in _OF_A_RUN:
        connection.execute(delete(table).where(table.c.model_run_id == model_run_id, table.c.repeat > repeats))
    before = {"final_passes": 0, "final_host": None, "failure": None, "finished_at": at}
    connection.execute(
        update(benchmark_model_runs).where(benchmark_model_runs.c.model_run_id == model_run_id).values(before)
    )
