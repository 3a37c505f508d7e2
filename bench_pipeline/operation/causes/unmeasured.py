"""Eligible models without a finished run under a task's present evidence: new ones, and known ones with new weights.

The first benchmark of a task is not here: it measures all models together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bench_pipeline.benchmark.hardware import hardware_by_server, server_of
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.storage.measured import measured_models, models_run_before


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A model to measure: its weights, the evidence it would be measured under, and if it ran with other weights."""

    model: str
    digest: str
    evidence_key: str
    known: bool


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a task is measured under its present evidence: how many eligible models are, and which are not."""

    measured: int
    unmeasured: tuple[Unmeasured, ...] = ()


def coverage(bench: Workbench, task: str, roster: Sequence[Candidate]) -> Coverage:
    """Return which eligible models wait for a first measurement on a task.

    Models are compared with those on equal hardware. Where none of them is measured, a whole benchmark is due and no
    model waits on its own. Raises `FileRefused` for a task that cannot be measured.
    """
    eligible = [candidate for candidate in roster if candidate.eligible]
    prepared = prepare(bench, task)
    keys = {server: prepared.evidence_key(found) for server, found in hardware_by_server(bench, eligible).items()}
    count = 0
    missing: list[Unmeasured] = []
    with bench.database.engine.connect() as connection:
        before = models_run_before(connection, task)
        measured = {key: measured_models(connection, key) for key in set(keys.values())}
    for candidate in eligible:
        if candidate.ref is None or not measured[key := keys[server_of(candidate.ref)]]:
            continue
        digest = (candidate.identity.digest if candidate.identity else None) or candidate.name
        if (candidate.name, digest) in measured[key]:
            count += 1
        else:
            other = any(model == candidate.name and weights != digest for model, weights in before)
            missing.append(Unmeasured(candidate.name, digest, key, other))
    return Coverage(count, tuple(missing))


def find_unmeasured(bench: Workbench, task: str, roster: Sequence[Candidate], now: datetime) -> list[Finding]:  # noqa: ARG001
    """Return the eligible models without a result on a task, each to be measured on its own among the others.

    The cause is new weights for a model that ran on the task with others, else a new model.
    """
    return [_finding(task, one) for one in coverage(bench, task, roster).unmeasured]


def _finding(task: str, one: Unmeasured) -> Finding:
    cause, why = Cause.NEW_MODEL, "it is eligible and not measured"
    if one.known:
        cause, why = Cause.NEW_WEIGHTS, f"its weights ({one.digest.removeprefix('sha256:')[:12]}) are not measured"
    wanted = [one.model, one.digest, one.evidence_key]
    return Finding(task, cause, why, subject=one.model, wanted=wanted, models=(one.model,))
