"""Stage 3: the measurement. One partition per model; a run without a partition measures all models in turn."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import OWNERS, numbers, table
from bench_pipeline.assets.partitions import models, register_partitions, single_run_backfill
from bench_pipeline.assets.production_tables import CONVERSATIONS
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.events import (
    BatchStarted,
    BenchmarkStarted,
    CallsRepeated,
    Event,
    FinalOmitted,
    HostSkipped,
    HostStopped,
    ModelFinished,
    ModelStarted,
    OnHost,
    ServerOnCpu,
)
from bench_pipeline.benchmark.measurement import MeasurementRequest, run_models
from bench_pipeline.benchmark.ranking import unmeasured_models
from bench_pipeline.domain.measuring.disturbance import Disturbance
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.partition import partition_key
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.reporting.machine_load import disturbed_call

ACCELERATOR_POOL = "accelerator"
_SHOWN = 20
_DISTURBED = {"model": "string", "case_id": "string", "pass": "int", "latency_ms": "float", "ratio": "float",
              "again_ms": "float", "ranks": "string"}  # fmt: skip


class MeasurementConfig(dg.Config):
    """How a benchmark is run; what is not set here comes from task.yaml and the settings."""

    batch_size: int | None = None
    repeats: int | None = None
    strategy: str | None = None  # full, or race
    reuse: bool = False  # skip models with an earlier run under the same evidence; incumbents are always measured
    only_if_changed: bool = False  # measure nothing when nothing changed since the last benchmark

    @property
    def terms(self) -> dict[str, object]:
        """The terms of the protocol that this run changes."""
        return {"batch_size": self.batch_size, "repeats": self.repeats, "strategy": self.strategy}


def model_runs_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/model_runs`."""
    key = dg.AssetKey([task, "model_runs"])

    with single_run_backfill() as policy:

        @dg.asset(
            key=key,
            group_name=task,
            owners=OWNERS,
            kinds={"ollama"},
            partitions_def=models,
            backfill_policy=policy,
            pool=ACCELERATOR_POOL,
            deps=[dg.AssetKey([task, "test_cases"]), dg.AssetKey("eligible_models"), CONVERSATIONS],
            code_version=READER_VERSION,
            description=(
                f"Every call of {task}, stored as a row. One run measures the chosen partitions, one model after "
                "another, each recorded as it ends; without a partition it measures all eligible models."
            ),
        )
        def model_runs(
            context: dg.AssetExecutionContext, config: MeasurementConfig, workbench: WorkbenchResource
        ) -> dg.MaterializeResult[None]:
            partitions = _partitions(context)
            with workbench.open() as bench:
                roster = workbench.candidates(bench, context.run.run_id)
                register_partitions(context.instance, roster)
                reporter = _Reporter(context, workbench, key, frozenset(partitions or ()), roster)
                request = MeasurementRequest(
                    task=task,
                    models=None if partitions is None else _models_of(roster, partitions),
                    among_all=partitions is not None,
                    terms=config.terms,
                    reuse=config.reuse,
                    only_if_changed=config.only_if_changed,
                    dagster_run_id=context.run.run_id,
                    roster=roster,
                )
                done = run_models(bench, request, reporter)
            _record_unmeasured(context, roster, partitions or (), reporter.results)
            if not done.new:
                context.log.info(f"nothing changed since {done.benchmark_id}: nothing is measured again")
            disturbed = [call for calls in reporter.disturbed.values() for call in calls]
            return dg.MaterializeResult(
                metadata={
                    "benchmark_id": done.benchmark_id,
                    "measured": len(reporter.results),
                    **_disturbed(disturbed),
                }
            )

    return model_runs


def _partitions(context: dg.AssetExecutionContext) -> Sequence[str] | None:
    """Return the partitions of the run, None when it has none and measures all models."""
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else None


def _models_of(roster: Sequence[Candidate], partitions: Sequence[str]) -> list[str]:
    by_partition = {partition_key(candidate.name): candidate.name for candidate in roster}
    found = [by_partition[partition] for partition in partitions if partition in by_partition]
    if not found:
        raise dg.Failure(f"{', '.join(partitions)}: {_GONE}", allow_retries=False)
    return found


_REMARKS: dict[type[Event], str] = {
    HostSkipped: "host {event.host} is left out: {event.why}",
    HostStopped: "host {event.host} was lost: {event.why}",
    FinalOmitted: "no final: {event.why}",
}
_GONE = "the actor of this partition was deleted or renamed"


def _record_unmeasured(
    context: dg.AssetExecutionContext,
    roster: Sequence[Candidate],
    partitions: Sequence[str],
    results: Mapping[str, ModelResult],
) -> None:
    """Record why a chosen partition was not measured; the end of the step marks it as materialized anyway."""
    reasons = {partition_key(line.name): line.detail or "its earlier run counts" for line in roster}
    measured = {partition_key(model) for model in results}
    for partition in partitions:
        if partition not in measured:
            why = reasons.get(partition, _GONE)
            context.log.warning(f"{partition} was not measured: {why}")
            context.add_asset_metadata({"standing": "not measured", "reason": why}, partition_key=partition)


def _disturbed(calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the number of disturbed calls, and the worst of them as a table."""
    worst = sorted(calls, key=lambda call: -(call["ratio"] or 0.0))[:_SHOWN]
    return {"disturbed_calls": len(calls)} | ({"disturbed": table(worst, _DISTURBED)} if worst else {})


class _Reporter:
    """Turns the events of a benchmark into Dagster's log: one line per batch, one materialization per model.

    A model that could not be measured is also materialized, as inconclusive, and a check on this asset reports it.
    A failed partition would block the scoreboard of all models.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        workbench: WorkbenchResource,
        key: dg.AssetKey,
        partitions: frozenset[str],
        roster: Sequence[Candidate],
    ) -> None:
        self.results: dict[str, ModelResult] = {}
        self.disturbed: dict[str, list[dict[str, Any]]] = {}
        self._context = context
        self._workbench = workbench
        self._key = key
        self._partitions = partitions
        self._digests = {line.name: line.identity.digest for line in roster if line.identity}
        self._benchmark_id = ""

    def __call__(self, event: Event) -> None:
        """Log one event; calls are rows, not events: an event costs 7 to 11 ms."""
        self._workbench.hear(event)
        if isinstance(event, OnHost):
            self._report(event.event, f" on {event.host}")
        else:
            self._report(event)

    def _report(self, event: Event, on: str = "") -> None:
        log = self._context.log
        match event:
            case BenchmarkStarted():
                self._benchmark_id = event.benchmark_id
                log.info(f"{event.benchmark_id}: {len(event.models)} models x {event.cases} cases")
            case ServerOnCpu():
                log.info(f"{event.address} has no GPU in use: its models run on the CPU")
            case HostSkipped() | HostStopped() | FinalOmitted():
                log.warning(_REMARKS[type(event)].format(event=event))
            case ModelStarted():
                log.info(f"[{event.number}/{event.total}] {event.model}{on}")
            case BatchStarted():
                log.info(f"{event.model}{on}: pass {event.repeat}, batch {event.batch} of {event.batches}")
            case CallsRepeated():
                log.info(f"{event.model}: {len(event.calls)} calls took far longer than expected and are repeated")
            case ModelFinished():
                self._model_finished(event.result, event.disturbed)

    def _model_finished(self, result: ModelResult, disturbed: Sequence[Disturbance]) -> None:
        self.results[result.model] = result
        self.disturbed[result.model] = [disturbed_call(result.model, one) for one in disturbed]
        if result.standing is Standing.INCONCLUSIVE:
            self._context.log.error(f"{result.model} could not be measured: {result.why}")
        partition, metadata = partition_key(result.model), self._metadata(result)
        self._context.log_event(dg.AssetMaterialization(asset_key=self._key, partition=partition, metadata=metadata))
        if partition in self._partitions:
            # The step's own event for the partition comes last and would hide these figures.
            self._context.add_asset_metadata(metadata, partition_key=partition)

    def _metadata(self, result: ModelResult) -> dict[str, Any]:
        return {
            "benchmark_id": self._benchmark_id,
            "digest": self._digests.get(result.model) or "not known",
            "standing": result.standing.value,
            "calls": result.calls,
            "failed_cases": ", ".join(failure.case_id for failure in result.failures) or "none",
            "valid_calls": result.valid_calls,
            "excluded_calls": result.calls - result.valid_calls,
            **_disturbed(self.disturbed[result.model]),
            **numbers(
                correctness_score=result.correctness_score,
                avg_latency_ms=result.avg_latency_ms,
                median_ms=result.median_ms,
                p90_ms=result.p90_ms,
                speed_score=result.speed_score,
            ),
        }


def measured_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that infrastructure stopped no model of the benchmark."""
    key = dg.AssetKey([task, "model_runs"])

    @dg.asset_check(
        asset=key,
        name="every_model_was_measured",
        description="Every model made all its calls. A model that its runtime stopped is inconclusive, not wrong.",
    )
    def every_model_was_measured(
        context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource
    ) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            stopped = unmeasured_models(bench.database, handed_on(context, key, "benchmark_id"))
        return dg.AssetCheckResult(
            passed=not stopped,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{model}: {why}" for model, why in stopped.items()) or "every model was measured",
        )

    return every_model_was_measured
