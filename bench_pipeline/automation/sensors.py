"""The sensor that notices a new eligible model, adds its partition and benchmarks it alone. Jobs are in jobs.py."""

from collections.abc import Sequence

import dagster as dg

from bench_pipeline.assets.partitions import models
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.automation.jobs import Jobs, job_name
from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.hardware import hardware_by_server, server_of
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.domain.errors import BenchError, InputError
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.new_models import waiting_models
from bench_pipeline.domain.models.partition import partition_key
from bench_pipeline.storage.benchmarks import attempts_of


def new_model_sensor(tasks: Sequence[str], jobs: Jobs) -> dg.SensorDefinition:
    """Return the sensor over all tasks that were benchmarked before.

    A task without a benchmark is left to a person or the schedule: its first benchmark runs all models together,
    whereas the sensor would start them one by one.
    """

    @dg.sensor(
        name="new_models",
        jobs=list(jobs.of_tasks) or [jobs.all_tasks],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Benchmarks and ranks a new eligible model, or a known name with new weights, on its own.",
    )
    def new_models(
        context: dg.SensorEvaluationContext, workbench: WorkbenchResource
    ) -> dg.SensorResult | dg.SkipReason:
        requests: list[dg.RunRequest] = []
        refused: list[str] = []
        try:
            with open_workbench(workbench.settings) as bench:
                eligible = [candidate for candidate in candidates(bench) if candidate.eligible]
                for task in tasks:
                    try:
                        requests += _requests(bench, task, eligible)
                    except InputError as error:  # this task's own fault: the others continue
                        refused.append(f"{task}: {error}")
        except BenchError as error:
            # A failed listing is not an empty list: report it, change nothing.
            return dg.SkipReason(f"the models cannot be listed: {error}")
        for text in refused:
            context.log.error(text)
        if not requests:
            return dg.SkipReason("; ".join([f"all {len(eligible)} eligible models are measured", *refused]))
        known = set(context.instance.get_dynamic_partitions(str(models.name)))
        new = sorted({str(request.partition_key) for request in requests} - known)
        return dg.SensorResult(
            run_requests=requests, dynamic_partitions_requests=[models.build_add_request(new)] if new else []
        )

    return new_models


def _requests(bench: Workbench, task: str, eligible: Sequence[Candidate]) -> list[dg.RunRequest]:
    prepared = prepare(bench, task)
    keys = {server: prepared.evidence_key(found) for server, found in hardware_by_server(bench, eligible).items()}
    by_key: dict[str, list[Candidate]] = {}
    for candidate in eligible:
        if candidate.ref is not None:
            by_key.setdefault(keys[server_of(candidate.ref)], []).append(candidate)
    return [request for key, alike in by_key.items() for request in _requests_on_one_hardware(bench, task, key, alike)]


def _requests_on_one_hardware(
    bench: Workbench, task: str, key: str, eligible: Sequence[Candidate]
) -> list[dg.RunRequest]:
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
