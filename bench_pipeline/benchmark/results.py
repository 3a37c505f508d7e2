"""From the stored runs and samples of models to their unranked results. Calls no model; ranking.py ranks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench_pipeline.benchmark.events import ModelFinished
from bench_pipeline.benchmark.model_run import Measured, ModelMeasurement
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.domain.measuring.disturbance import disturbances
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, score_model
from bench_pipeline.storage.benchmarks import ModelRun


def model_result(case_ids: Sequence[str], protocol: Protocol, run: ModelRun, samples: Sequence[Sample]) -> ModelResult:
    """Return the result of one model. Calls that a race skipped do not count as failures."""
    result = score_model(
        run.model,
        case_ids,
        samples,
        protocol.repeats + run.final_passes,
        main_passes=protocol.repeats,
        error_budget=protocol.error_budget,
    )
    result = replace(
        result,
        reason=run.failure or "",
        actor_id=run.actor_id,
        digest=run.identity.digest,
        size_bytes=run.identity.size_bytes,
        family=run.identity.family,
        memory_bytes=run.memory_bytes,
    )
    return _stopped(result) if run.stopped else result


def model_results(
    case_ids: Sequence[str],
    protocol: Protocol,
    runs: Mapping[str, ModelRun],
    samples: Mapping[str, Sequence[Sample]],
) -> list[ModelResult]:
    """Return the results of all `runs`; `samples` is keyed by model as well."""
    return [model_result(case_ids, protocol, run, samples[model]) for model, run in runs.items()]


def _stopped(result: ModelResult) -> ModelResult:
    if result.standing is Standing.DISQUALIFIED:
        wrong = tuple(f for f in result.failures if f.outcome.disqualifies)
        return replace(result, failures=wrong)
    return replace(
        result,
        standing=Standing.OUTPACED,
        failures=(),
        speed_score=None,
        reason=f"outpaced: two models are faster beyond doubt after {result.cases_seen} of {result.cases} cases",
    )


def result_of(prepared: PreparedTask, measured: Measured) -> ModelResult:
    """Return the result of a model run so far."""
    return model_result(prepared.case_ids, prepared.protocol, measured.run, measured.samples)


def tell_finished(measurement: ModelMeasurement, measured: Measured) -> None:
    """Tell that a model's run ended, with its result."""
    result = result_of(measurement.prepared, measured)
    measurement.tell(ModelFinished(measured.run.model, result, disturbances(measured.samples)))
