"""The finders: each looks for causes in what is stored and served now. They write nothing and start nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding
from bench_pipeline.operation.causes.approved import find_approved
from bench_pipeline.operation.causes.decision_due import find_decision_due
from bench_pipeline.operation.causes.model_gone import find_model_gone
from bench_pipeline.operation.causes.monthly import find_monthly
from bench_pipeline.operation.causes.quarterly import find_quarterly
from bench_pipeline.operation.causes.server_changed import find_server_changed
from bench_pipeline.operation.causes.slow_in_production import find_slow_in_production
from bench_pipeline.operation.causes.task_changed import find_task_changed
from bench_pipeline.operation.causes.unmeasured import find_unmeasured
from bench_pipeline.operation.causes.validation_undone import find_validation_undone

Find = Callable[[Workbench, str, Sequence[Candidate], datetime], list[Finding]]
"""Finds a cause for a task. The candidates are all actors, as their runtimes described them a moment ago."""


@dataclass(frozen=True, slots=True)
class Finder:
    """Who looks for causes, all of one action: only it says that a cause is gone."""

    causes: tuple[Cause, ...]
    find: Find


FINDERS = (
    Finder((Cause.MONTHLY,), find_monthly),
    Finder((Cause.QUARTERLY,), find_quarterly),
    Finder((Cause.NEW_MODEL, Cause.NEW_WEIGHTS), find_unmeasured),
    Finder((Cause.MODEL_GONE,), find_model_gone),
    Finder((Cause.TASK_CHANGED,), find_task_changed),
    Finder((Cause.SERVER_CHANGED,), find_server_changed),
    Finder((Cause.SLOW_IN_PRODUCTION,), find_slow_in_production),
    Finder((Cause.VALIDATION_UNDONE,), find_validation_undone),
    Finder((Cause.DECISION_DUE,), find_decision_due),
    Finder((Cause.APPROVED,), find_approved),
)


def finders_for(*actions: Action) -> tuple[Finder, ...]:
    """Return the finders whose causes ask for one of these actions."""
    return tuple(finder for finder in FINDERS if finder.causes[0].action in actions)
