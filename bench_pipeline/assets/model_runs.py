"""Stage 3: the measurement. One partition a model; a run without a partition measures all models in turn."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from bench_pipeline.assets.common import (
    ACCELERATOR_POOL,
    OWNERS,
    WorkbenchParam,
    WorkbenchResource,
    models,
    numbers,
    register_partitions,
    single_run_backfill,
)
from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.events import BatchStarted, BenchmarkStarted, Event, ModelFinished, ModelStarted
from bench_pipeline.benchmark.field import field_of, fresh_enough
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.ranking import latest_benchmark_id, unmeasured_models, up_to_date_benchmark
from bench_pipeline.benchmark.runner import RunTerms, run_benchmark
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.partition import partition_key


class MeasurementConfig(dg.Config):
    """How a benchmark is run; what is not set here comes from task.yaml and the settings."""

    batch_size: int | None = None
    repeats: int | None = None
    policy: str | None = None  # full, or race
    reuse: bool = False  # leave out what was measured under the same evidence; the incumbent never is
    only_if_changed: bool = False  # measure nothing when nothing changed since the last benchmark


def model_runs_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/model_runs`."""
    key = dg.AssetKey([task, "model_runs"])

    @dg.asset(
        key=key,
        group_name=task,
        owners=OWNERS,
        kinds={"ollama"},
        partitions_def=models,
        backfill_policy=single_run_backfill(),
        pool=ACCELERATOR_POOL,
        deps=[dg.AssetKey([task, "test_cases"]), dg.AssetKey("eligible_models")],
        description=(
            f"Every call of {task}, a row each. One run measures the chosen partitions, one model after another, "
            "each recorded as it ends; without a partition all eligible models are measured."
        ),
    )
    def model_runs(
        context: dg.AssetExecutionContext, config: MeasurementConfig, workbench: WorkbenchParam
    ) -> dg.MaterializeResult[None]:
        partitioned = context.has_partition_key or context.has_partition_key_range
        with workbench.open() as bench:
            prepared = prepare(bench, task)
            prepared = prepared.with_terms(batch_size=config.batch_size, repeats=config.repeats, policy=config.policy)
            found = candidates(bench)
            register_partitions(context.instance, found)
            chosen = _of_partitions(found, context.partition_keys) if partitioned else found
            if config.only_if_changed and (
                current := up_to_date_benchmark(bench.database, prepared, chosen, bench.settings.evidence_days)
            ):
                context.log.info(f"nothing changed since {current}: nothing is measured again")
                return dg.MaterializeResult(metadata={"benchmark_id": current, "measured": 0})
            field = field_of(bench, chosen, prepared)
            if config.reuse:
                # The scoreboard ranks what is left out here by its earlier run.
                reused = fresh_enough(bench.database, prepared, field, bench.settings.evidence_days)
                field = field.without(reused)
                if reused and not any(candidate.eligible for candidate in field.candidates):
                    context.log.info(f"the evidence of all {len(reused)} models is fresh: nothing is measured again")
                    return dg.MaterializeResult(metadata={"measured": 0})
            partitions = frozenset(context.partition_keys) if partitioned else frozenset()
            reporter = _Reporter(context, workbench, key, partitions, field.candidates)
            benchmark_id = run_benchmark(
                bench,
                prepared,
                field,
                reporter,
                RunTerms(dagster_run_id=context.run.run_id, resume_hours=bench.settings.resume_hours),
            )
        return dg.MaterializeResult(metadata={"benchmark_id": benchmark_id, "measured": len(reporter.results)})

    return model_runs


def _of_partitions(found: Sequence[Candidate], partitions: Sequence[str]) -> list[Candidate]:
    by_partition = {partition_key(candidate.name): candidate for candidate in found}
    if gone := sorted(set(partitions) - by_partition.keys()):
        raise dg.Failure(f"no actor has the partition {', '.join(gone)} any more", allow_retries=False)
    return [by_partition[partition] for partition in partitions]


class _Reporter:
    """Turns the events of a benchmark into Dagster's log: a line a batch, a materialization a model.

    A model that could not be measured is materialized as well, as inconclusive: that is the answer about it,
    and a check on this asset says so. A failed partition would hold back everybody's scoreboard.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        workbench: WorkbenchResource,
        key: dg.AssetKey,
        partitions: frozenset[str],
        chosen: Sequence[Candidate],
    ) -> None:
        self.results: list[ModelResult] = []
        self._context = context
        self._workbench = workbench
        self._key = key
        self._partitions = partitions
        self._candidates = {candidate.name: candidate for candidate in chosen}
        self._benchmark_id = ""

    def __call__(self, event: Event) -> None:
        """Log one event; calls are rows, not events: an event costs 7 to 11 ms."""
        self._workbench.tell(event)
        log = self._context.log
        match event:
            case BenchmarkStarted():
                self._benchmark_id = event.benchmark_id
                log.info(f"{event.benchmark_id}: {len(event.models)} models x {event.cases} cases")
            case ModelStarted():
                log.info(f"[{event.number}/{event.total}] {event.model}")
            case BatchStarted():
                log.info(f"{event.model}: pass {event.repeat}, batch {event.batch} of {event.batches}")
            case ModelFinished():
                self._model_finished(event.result)

    def _model_finished(self, result: ModelResult) -> None:
        self.results.append(result)
        if result.standing is Standing.INCONCLUSIVE:
            self._context.log.error(f"{result.model} could not be measured: {result.why}")
        identity = self._candidates[result.model].identity
        partition, metadata = partition_key(result.model), self._metadata(result)
        self._context.log_event(
            dg.AssetMaterialization(
                asset_key=self._key,
                partition=partition,
                metadata=metadata,
                tags={"dagster/data_version": (identity.digest if identity else None) or result.model},
            )
        )
        if partition in self._partitions:
            # The step's own event for the partition comes at its end and would hide these figures.
            self._context.add_asset_metadata(metadata, partition_key=partition)

    def _metadata(self, result: ModelResult) -> dict[str, Any]:
        return {
            "benchmark_id": self._benchmark_id,
            "standing": result.standing.value,
            "correctness_score": result.correctness_score,
            "calls": result.calls,
            "failed_cases": ", ".join(failure.case_id for failure in result.failures) or "none",
            "valid_calls": result.valid_calls,
            "excluded_calls": result.calls - result.valid_calls,
            **numbers(
                avg_latency_ms=result.avg_latency_ms,
                median_ms=result.median_ms,
                p90_ms=result.p90_ms,
                speed_score=result.speed_score,
            ),
        }


def measured_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that no model of the latest benchmark was stopped by infrastructure."""

    @dg.asset_check(
        asset=dg.AssetKey([task, "model_runs"]),
        name="every_model_was_measured",
        description="No model was stopped by its runtime; one that was is inconclusive, neither right nor wrong.",
    )
    def every_model_was_measured(workbench: WorkbenchParam) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            stopped = unmeasured_models(bench.database, latest_benchmark_id(bench.database, task))
        return dg.AssetCheckResult(
            passed=not stopped,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{model}: {why}" for model, why in stopped.items()) or "all were measured",
        )

    return every_model_was_measured
