"""The sensor that ends ghost runs. It runs where runs run, so it sees their processes; see operation/ghost_runs.py."""

import dagster as dg

from bench_pipeline.operation.ghost_runs import heal

_EVERY_S = 30


@dg.sensor(
    name="ghost_runs",
    minimum_interval_seconds=_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process died together with its code server. Starts nothing and is always on.",
)
def ghost_run_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End ghost runs; the text of the tick names each."""
    found = heal(context.instance)
    said = [f"ended {ghost.run_id} ({ghost.job}): {ghost.why}" for ghost in found.ended]
    said += [f"left {ghost.run_id} ({ghost.job}) alone: {ghost.why}" for ghost in found.unknown]
    said += [f"freed the pool slot of {run_id}, which is over" for run_id in found.freed]
    return dg.SkipReason("; ".join(said) or "every run in progress has its process")
