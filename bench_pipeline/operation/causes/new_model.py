"""A new eligible model. The first benchmark of a task is not here: it measures all models together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.operation.causes.unmeasured import coverage


def find_new_models(
    bench: Workbench,
    task: str,
    roster: Sequence[Candidate],
    now: datetime,  # noqa: ARG001
) -> list[Finding]:
    """Return the eligible models without a result on a task, each to be measured on its own among the others."""
    return [
        Finding(
            task,
            Cause.NEW_MODEL,
            "it is eligible and not measured",
            subject=one.model,
            wanted=[one.model, one.digest, one.evidence_key],
            models=(one.model,),
        )
        for one in coverage(bench, task, roster).unmeasured
        if not one.known
    ]
