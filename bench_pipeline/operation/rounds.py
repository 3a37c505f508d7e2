"""One look at all tasks: settle what ended, look for causes, claim what is due, and say what waits and why.

A fault of one task never touches another. The triggers themselves are in triggers.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bench_pipeline.benchmark.accelerators import lock_of
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding, Trigger, TriggerState
from bench_pipeline.operation import triggers
from bench_pipeline.operation.causes import Finder, finders_for
from bench_pipeline.operation.causes.unmeasured import coverage
from bench_pipeline.operation.quiet_hours import must_wait, quiet_hours
from bench_pipeline.operation.runs import RunsView
from bench_pipeline.operation.trigger_texts import state_of
from bench_pipeline.storage import triggers as store
from bench_pipeline.storage.benchmarks import benchmark
from bench_pipeline.storage.locks import holder_of

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Round:
    """What a look gave: triggers claimed, each for one run, and a line about every task."""

    claimed: tuple[Trigger, ...]
    lines: tuple[str, ...]


@dataclass(slots=True)
class _Look:
    """The faults that were met, by task."""

    faults: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, task: str, what: str) -> None:
        self.faults.setdefault(task, []).append(what)


def measuring_round(
    bench: Workbench, tasks: Sequence[str], roster: Sequence[Candidate], runs: RunsView, now: datetime
) -> Round:
    """Look for what should be measured, or told to a person, and claim what is due."""
    triggers.settle(bench, runs, now)
    look = _Look()
    unknown = unknown_models(roster)
    for task in tasks:
        _notice(bench, task, finders_for(Action.MEASURE, Action.TELL), roster, now, look)
    claimed: list[Trigger] = []
    ready = triggers.due(bench, tasks, Action.MEASURE, now)
    if ready and (why := _why_all_wait(bench, roster, now)):
        triggers.hold_back(bench, ready, why, now)
        ready = []
    for trigger in ready:
        if why := _silent_server(trigger, roster, unknown):
            triggers.hold_back(bench, [trigger], why, now)
        elif taken := triggers.claim(bench, trigger, now):
            claimed.append(taken)
    lines = [_line(bench, task, Action.MEASURE, look, roster, now) for task in tasks]
    return Round(tuple(claimed), (*lines, *_about(roster)))


def delivering_round(bench: Workbench, tasks: Sequence[str], runs: RunsView, now: datetime) -> Round:
    """Look for what should be brought into production, and claim what is due."""
    triggers.settle(bench, runs, now)
    look = _Look()
    for task in tasks:
        _notice(bench, task, finders_for(Action.DELIVER), (), now, look)
    claimed: list[Trigger] = []
    for trigger in triggers.due(bench, tasks, Action.DELIVER, now):
        if why := _run_goes_on(bench, trigger, runs):
            triggers.hold_back(bench, [trigger], why, now, timedelta())  # it ends any moment
        elif taken := triggers.claim(bench, trigger, now):
            claimed.append(taken)
    return Round(tuple(claimed), tuple(_line(bench, task, Action.DELIVER, look, (), now) for task in tasks))


def unknown_models(roster: Iterable[Candidate]) -> dict[str, str]:
    """Return the models whose server does not answer, with what it says."""
    return {one.name: one.detail for one in roster if one.exclusion is Exclusion.RUNTIME_UNAVAILABLE}


def _notice(
    bench: Workbench,
    task: str,
    finders: Iterable[Finder],
    roster: Sequence[Candidate],
    now: datetime,
    look: _Look,
) -> None:
    found: list[Finding] = []
    looked_for: set[Cause] = set()
    for finder in finders:
        try:
            found += finder.find(bench, task, roster, now)
            looked_for.update(finder.causes)
        except BenchError as error:
            look.fault(task, str(error))
        except Exception as error:  # noqa: BLE001 - a defect in one finder must not silence the others
            look.fault(task, f"looking for {' and '.join(finder.causes)} failed: {type(error).__name__}: {error}")
    triggers.notice(bench, task, found, now, looked_for, unknown_models(roster))


def _why_all_wait(bench: Workbench, roster: Sequence[Candidate], now: datetime) -> str:
    """Return why no benchmark may begin now; empty when one may.

    While a run of ours is under way, only quiet hours count: it uses the server and holds the lock, and each run looks
    again when its turn comes.
    """
    with bench.database.engine.connect() as connection:
        launched = store.triggers_of(connection, states=[TriggerState.LAUNCHED])
    if launched:  # a server that is in use now may be so by our own run
        return quiet_hours(bench.settings, now) or ""
    return must_wait(bench, now) or holder_of(bench.database.engine, lock_of(bench, roster))


def _silent_server(trigger: Trigger, roster: Sequence[Candidate], unknown: dict[str, str]) -> str:
    """Return which server must answer before a trigger's models can be measured; empty when none is missing."""
    if trigger.models is not None:
        return next((unknown[model] for model in trigger.models if model in unknown), "")
    if any(one.eligible for one in roster):
        return ""
    return next(iter(unknown.values()), "no model is eligible")


def _run_goes_on(bench: Workbench, trigger: Trigger, runs: RunsView) -> str:
    """Return which run still works on what a trigger would deliver; empty when none does."""
    if trigger.cause is not Cause.DECISION_DUE:
        return ""
    with bench.database.engine.connect() as connection:
        row = benchmark(connection, trigger.subject)
    if row is None or row.dagster_run_id is None or not runs.active(row.dagster_run_id):
        return ""
    return f"run {row.dagster_run_id[:8]}, which measured it, has not ended"


def _line(bench: Workbench, task: str, action: Action, look: _Look, roster: Sequence[Candidate], now: datetime) -> str:
    with bench.database.engine.connect() as connection:
        states = (TriggerState.WAITING, TriggerState.LAUNCHED, TriggerState.GIVEN_UP, TriggerState.OPEN)
        found = [one for one in store.triggers_of(connection, [task], states) if _belongs(one, action)]
    texts = [f"{one.about}: {state_of(one, now)}" for one in found[:_SHOWN]]
    if len(found) > _SHOWN:
        texts.append(f"and {len(found) - _SHOWN} more (bench triggers --task {task})")
    texts = [*dict.fromkeys(look.faults.get(task, ())), *texts]
    if not texts:
        texts = [_nothing_waits(bench, task, roster) if action is Action.MEASURE else "nothing is to be delivered"]
    return f"{task}: {'; '.join(texts)}"


def _belongs(trigger: Trigger, action: Action) -> bool:
    return (trigger.cause.action is Action.DELIVER) is (action is Action.DELIVER)


def _nothing_waits(bench: Workbench, task: str, roster: Sequence[Candidate]) -> str:
    """Return what is true of a task without triggers."""
    eligible = sum(one.eligible for one in roster)
    if not eligible:
        return "no model is eligible"
    measured = coverage(bench, task, roster).measured
    if not measured:
        return (
            f"nothing was measured yet under its present terms; its first benchmark, of {eligible} models, is left to "
            f"the schedule or a person (bench run --task {task})"
        )
    return f"{'all ' if measured == eligible else f'{measured} of '}{eligible} eligible models are measured"


def _about(roster: Sequence[Candidate]) -> list[str]:
    """Return what is true of the models in all tasks."""
    unknown = unknown_models(roster)
    reasons: dict[str, int] = {}
    for detail in unknown.values():
        reasons[detail] = reasons.get(detail, 0) + 1
    lines = [f"{count} models are not known now: {detail}" for detail, count in reasons.items()]
    return lines if roster else ["the table of actors is empty"]
