"""What Dagster's daemon does: evaluates a sensor, and starts the runs that it requests."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import update

from bench_pipeline.domain.triggers.trigger import Cause, Trigger
from bench_pipeline.storage import tables
from bench_pipeline.storage.triggers import triggers_of
from bench_pipeline_tests.kit.pipeline import Pipeline

MEASURING = ["grading/test_cases", "eligible_models", "grading/model_runs", "grading/scoreboard"]


def tick(pipeline: Pipeline, sensor: str = "triggers") -> dg.SensorResult:
    """Evaluate the sensor once; what it adds is there before its runs begin."""
    found = pipeline.definitions.resolve_sensor_def(sensor)
    context = dg.build_sensor_context(instance=pipeline.instance, resources={"workbench": pipeline.workbench})
    result = found(context)
    assert isinstance(result, dg.SensorResult)
    for added in result.dynamic_partitions_requests or []:
        pipeline.instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
    return result


def requests_of(result: dg.SensorResult) -> list[dg.RunRequest]:
    return list(result.run_requests or [])


def told(result: dg.SensorResult) -> str:
    """What the page of the sensor says of a tick without a run."""
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def execute(
    pipeline: Pipeline, request: dg.RunRequest, fails: bool = False, only: list[str] | None = None
) -> dg.ExecuteInProcessResult:
    """Start the requested run and see it to its end; `only` leaves out what the test does not look at."""
    selected = [key.to_user_string() for key in request.asset_selection] if request.asset_selection else None
    return pipeline.run(
        str(request.job_name),
        partition=request.partition_key,
        tags=dict(request.tags),
        assets=only or selected,
        fails=fails,
    )


def triggers_now(pipeline: Pipeline, cause: Cause | None = None) -> list[Trigger]:
    with pipeline.world.database.engine.connect() as connection:
        return [one for one in triggers_of(connection) if cause in (None, one.cause)]


def pass_the_pause(pipeline: Pipeline) -> None:
    """Let what waits for a later moment be due now."""
    pipeline.world.change(update(tables.triggers).values(due_at=datetime.now(UTC)))


def age(pipeline: Pipeline, began_at: datetime) -> None:
    """Let every benchmark so far have begun then."""
    pipeline.world.change(update(tables.benchmark_runs).values(started_at=began_at))
