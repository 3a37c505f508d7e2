"""A known name with other weights."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.operation.causes.unmeasured import coverage


def find_new_weights(
    bench: Workbench,
    task: str,
    roster: Sequence[Candidate],
    now: datetime,  # noqa: ARG001
) -> list[Finding]:
    """Return the eligible models that ran on a task with other weights, and not to the end with those of now."""
    return [
        Finding(
            task,
            Cause.NEW_WEIGHTS,
            f"its weights ({one.digest.removeprefix('sha256:')[:12]}) are not measured",
            subject=one.model,
            wanted=[one.model, one.digest, one.evidence_key],
            models=(one.model,),
        )
        for one in coverage(bench, task, roster).unmeasured
        if one.known
    ]
