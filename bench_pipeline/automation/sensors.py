"""The sensor that sees a new eligible model, gives it a partition and benchmarks it alone."""

from collections.abc import Sequence

import dagster as dg

from bench_pipeline.assets.common import models
from bench_pipeline.automation.jobs import Job, job_name
from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.hardware import hardware
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.new_models import waiting_models
from bench_pipeline.domain.models.partition import partition_key
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.benchmarks import attempts_of


def new_model_sensor(tasks: Sequence[str], jobs: Sequence[Job]) -> dg.SensorDefinition:
    """Return the sensor over all tasks that were benchmarked before.

    A task without any benchmark is left to a person or the schedule: its first benchmark runs all models
    together, which the sensor would start one by one.
    """

    @dg.sensor(
        name="new_models",
        jobs=list(jobs),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="A new eligible model, or a known name with new weights, is benchmarked alone and ranked.",
    )
    def new_models(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            with open_workbench(load_settings()) as bench:
                found = candidates(bench)
                eligible = [candidate for candidate in found if candidate.eligible]
                requests = [request for task in tasks for request in _requests(bench, task, eligible)]
        except BenchError as error:
            # A failed reading is not an empty list: say so, change nothing.
            return dg.SkipReason(f"the models cannot be listed: {error}")
        if not requests:
            return dg.SkipReason(f"all {len(eligible)} eligible models are measured")
        known = set(context.instance.get_dynamic_partitions(str(models.name)))
        new = sorted({str(request.partition_key) for request in requests} - known)
        return dg.SensorResult(
            run_requests=requests, dynamic_partitions_requests=[models.build_add_request(new)] if new else []
        )

    return new_models


def _requests(bench: Workbench, task: str, eligible: Sequence[Candidate]) -> list[dg.RunRequest]:
    prepared = prepare(bench, task)
    key = prepared.evidence_key(hardware())
    with bench.database.engine.connect() as connection:
        attempts = attempts_of(connection, key)
    if not any(attempt.measured for attempt in attempts.values()):
        return []
    return [
        dg.RunRequest(
            job_name=job_name(task),
            partition_key=partition_key(waiting.model),
            run_key=f"{task}:{waiting.model}:{waiting.digest[:16]}:{key[:16]}:{waiting.attempt}",
            tags={"bench/model": _tag(waiting.model), "bench/attempt": str(waiting.attempt)},
        )
        for waiting in waiting_models(eligible, attempts)
    ]


def _tag(model: str) -> str:
    """Return a model's name as Dagster accepts it in a tag."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in model)[:63].strip("._-") or "model"
