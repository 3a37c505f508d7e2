"""Stage 3: the measurement. One partition per model; a run without a partition measures all models in turn."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from time import monotonic
from typing import Any

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import OWNERS, TRIGGERS, first_rows, numbers, text, words
from bench_pipeline.assets.partitions import models, register_partitions, single_run_backfill
from bench_pipeline.assets.production_tables import CONVERSATIONS, MODEL_SERVERS
from bench_pipeline.assets.trigger_tags import carried, link_benchmark
from bench_pipeline.assets.waiting import tell_of_production, wait_for_production
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
from bench_pipeline.benchmark.ranking import counting_models, unmeasured_models
from bench_pipeline.domain.measuring.disturbance import Disturbance
from bench_pipeline.domain.measuring.estimates import estimate
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.partition import partition_key
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.domain.text import listed
from bench_pipeline.domain.triggers.trigger import Trigger
from bench_pipeline.operation.pools import ACCELERATOR_POOL
from bench_pipeline.reporting.machine_load import disturbed_call

_QUIET_S = 10.0  # a line of Dagster's log is an event of 4 to 25 ms, more than a fast model's batch should cost
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
            kinds={"llm"},
            partitions_def=models,
            backfill_policy=policy,
            pool=ACCELERATOR_POOL,
            deps=[dg.AssetKey([task, "test_cases"]), dg.AssetKey("eligible_models"), CONVERSATIONS, MODEL_SERVERS],
            code_version=READER_VERSION,
            description=(
                f"Every call of {task}, stored as a row. One run measures the chosen partitions, one model after "
                "another; without a partition it measures all eligible models. When the benchmark ends, each model is "
                "recorded once."
            ),
        )
        def model_runs(
            context: dg.AssetExecutionContext, config: MeasurementConfig, workbench: WorkbenchResource
        ) -> dg.MaterializeResult[None]:
            partitions = _partitions(context)
            with workbench.open() as bench:
                trigger = carried(context, bench)
                if trigger is not None:
                    wait_for_production(context, bench)
                else:
                    tell_of_production(context, bench)
                roster = workbench.candidates(bench, context.run.run_id)
                register_partitions(context.instance, roster)
                reporter = _Reporter(context, workbench, key, frozenset(partitions or ()), roster)
                reporter.on_begin = lambda benchmark_id: link_benchmark(context, bench, benchmark_id)
                models = _models_of(roster, partitions, trigger)
                request = MeasurementRequest(
                    task=task,
                    models=models,
                    among_all=models is not None,
                    terms={**config.terms, **(trigger.terms if trigger is not None else {})},
                    reuse=config.reuse,
                    only_if_changed=config.only_if_changed,
                    dagster_run_id=context.run.run_id,
                    roster=roster,
                )
                done = run_models(bench, request, reporter)
                link_benchmark(context, bench, done.benchmark_id)
                reused = counting_models(bench.database, done.benchmark_id) - reporter.results.keys()
            reporter.record()
            _record_unmeasured(context, roster, partitions or (), reporter.results)
            if not done.new:
                context.log.info(f"nothing changed since {done.benchmark_id}: nothing is measured again")
            return dg.MaterializeResult(metadata=_metadata(task, done.benchmark_id, reporter, reused))

    return model_runs


def _metadata(task: str, benchmark_id: str, reporter: "_Reporter", reused: Set[str]) -> dict[str, Any]:
    results = reporter.results.values()
    standings = Counter(result.standing.value for result in results)
    disturbed = [call for calls in reporter.disturbed.values() for call in calls]
    return {
        "result": ", ".join([f"{len(results)} measured", f"{len(reused)} reused", *_counted(standings)]),
        "measured": len(results),
        "reused": len(reused),
        "triggers": dg.MetadataValue.asset(TRIGGERS),
        "scoreboard": dg.MetadataValue.asset(dg.AssetKey([task, "scoreboard"])),
        **_disturbed(disturbed),
        "benchmark_id": benchmark_id,
    }


def _counted(standings: Counter[str]) -> list[str]:
    return [f"{count} {standing}" for standing, count in sorted(standings.items())]


def _partitions(context: dg.AssetExecutionContext) -> Sequence[str] | None:
    """Return the partitions of the run, None when it has none and measures all models."""
    return context.partition_keys if context.has_partition_key or context.has_partition_key_range else None


def _models_of(
    roster: Sequence[Candidate], partitions: Sequence[str] | None, trigger: Trigger | None
) -> list[str] | None:
    """Return the actors to measure: those of the trigger, else of the partitions; None for all."""
    if trigger is not None:
        wanted = trigger.models
        names = {candidate.name: candidate.name for candidate in roster}
    else:
        wanted = tuple(partitions) if partitions is not None else None
        names = {partition_key(candidate.name): candidate.name for candidate in roster}
    if wanted is None:
        return None
    found = [names[one] for one in wanted if one in names]
    if not found:
        raise dg.Failure(f"{', '.join(wanted)}: {_GONE}", allow_retries=False)
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
    worst = sorted(calls, key=lambda call: -(call["ratio"] or 0.0))
    return {"disturbed_calls": len(calls)} | (first_rows("disturbed", worst, _DISTURBED) if worst else {})


class _Reporter:
    """Turns the events of a benchmark into Dagster's log, and into one materialization per model.

    A model or batch that starts is told when the last such line is older than `_QUIET_S`.

    Models are recorded when the benchmark has ended: a model of the final finishes twice, and a benchmark that was
    interrupted is resumed by another run, which tells of all its models again.

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
        self.on_begin: Callable[[str], None] = lambda _: None
        self.results: dict[str, ModelResult] = {}
        self.disturbed: dict[str, list[dict[str, Any]]] = {}
        self._context = context
        self._workbench = workbench
        self._key = key
        self._partitions = partitions
        self._identities = {line.name: line.identity for line in roster if line.identity}
        self._benchmark_id = ""
        self._told_at = float("-inf")

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
                self.on_begin(event.benchmark_id)
                log.info(f"{event.benchmark_id}: {len(event.models)} models x {event.cases} cases")
            case ServerOnCpu():
                log.info(f"{event.address} has no GPU in use: its models run on the CPU")
            case HostSkipped() | HostStopped() | FinalOmitted():
                log.warning(_REMARKS[type(event)].format(event=event))
            case ModelStarted():
                self._tell_progress(f"[{event.number}/{event.total}] {event.model}{on}")
            case BatchStarted():
                self._tell_progress(f"{event.model}{on}: pass {event.repeat}, batch {event.batch} of {event.batches}")
            case CallsRepeated():
                log.info(f"{event.model}: {len(event.calls)} calls took far longer than expected and are repeated")
            case ModelFinished():
                self._model_finished(event.result, event.disturbed)

    def _tell_progress(self, line: str) -> None:
        if monotonic() - self._told_at >= _QUIET_S:
            self._told_at = monotonic()
            self._context.log.info(line)

    def _model_finished(self, result: ModelResult, disturbed: Sequence[Disturbance]) -> None:
        self.results[result.model] = result
        self.disturbed[result.model] = [disturbed_call(result.model, one) for one in disturbed]
        if result.standing is Standing.INCONCLUSIVE:
            self._context.log.error(f"{result.model} could not be measured: {result.why}")

    def record(self) -> None:
        """Materialize every measured model once."""
        for model, result in self.results.items():
            partition, metadata = partition_key(model), self._metadata(result)
            if partition in self._partitions:  # the step ends with an event for each of its partitions
                self._context.add_asset_metadata(metadata, partition_key=partition)
            else:
                event = dg.AssetMaterialization(asset_key=self._key, partition=partition, metadata=metadata)
                self._context.log_event(event)

    def _metadata(self, result: ModelResult) -> dict[str, Any]:
        identity = self._identities.get(result.model)
        correct = f"{result.cases_correct} of {result.cases} cases correct"
        return {
            "result": words(f"{result.standing.value}: {correct}, {estimate(result) or result.why or 'not timed'}"),
            "standing": result.standing.value,
            **numbers(
                correctness_score=result.correctness_score,
                avg_latency_ms=result.avg_latency_ms,
                median_ms=result.median_ms,
                p90_ms=result.p90_ms,
                speed_score=result.speed_score,
            ),
            "failed_cases": text([failure.case_id for failure in result.failures]),
            "calls": result.calls,
            "valid_calls": result.valid_calls,
            "excluded_calls": result.calls - result.valid_calls,
            **_disturbed(self.disturbed[result.model]),
            "runtime": " ".join(filter(None, (identity.runtime, identity.runtime_version)))
            if identity
            else "not known",
            "digest": (identity.digest if identity else None) or "not known",
            "benchmark_id": self._benchmark_id,
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
            description=words(listed([f"{model}: {why}" for model, why in stopped.items()]))
            or "every model was measured",
        )

    return every_model_was_measured
