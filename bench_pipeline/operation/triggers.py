"""Triggers, the front door: notice causes, settle runs that ended, choose what is due, claim it, take it up again.

What may change a trigger is in domain/triggers, who finds causes in operation/causes, Dagster in automation/.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from bench_pipeline.benchmark.ranking import rank_benchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.measuring.benchmark import RunStatus
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.triggers import attempts
from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding, Trigger, TriggerState
from bench_pipeline.operation.causes.approved import delivered
from bench_pipeline.operation.causes.decision_due import decided
from bench_pipeline.operation.runs import RunState, RunsView, SeenRun
from bench_pipeline.storage import triggers as store
from bench_pipeline.storage.benchmarks import benchmark, excluded_candidates
from bench_pipeline.storage.history import stored_scoreboard

UNSEEN = timedelta(minutes=5)
"""How long a requested run may stay unseen: the daemon may have died between the request and the run."""
MOST_AT_ONCE = 4
"""How many benchmarks are requested before one ended: the others still heed quiet hours when their turn comes."""


def notice(
    bench: Workbench,
    task: str,
    findings: Iterable[Finding],
    now: datetime,
    looked_for: Collection[Cause] = frozenset(Cause),
    unknown: Collection[str] = (),
) -> None:
    """Store what was found as triggers, and withdraw those of the causes `looked_for` that were not found.

    A trigger of a model in `unknown` is left as it is: its server does not answer, so nothing was learnt about it.
    """
    found = {(finding.cause, finding.subject, finding.evidence): finding for finding in findings}
    with bench.database.engine.connect() as connection:
        known = store.triggers_of(connection, [task])
    changed: list[tuple[Trigger, Trigger]] = []
    for trigger in known:
        finding = found.pop((trigger.cause, trigger.subject, trigger.evidence), None)
        if finding is not None:
            changed.append((trigger, attempts.found_again(trigger, finding.why, now)))
        elif trigger.cause in looked_for and not {*(trigger.models or ()), trigger.subject} & set(unknown):
            changed.append((trigger, attempts.withdrawn(trigger, now)))
    changed = [(old, new) for old, new in changed if old is not new]
    if not found and not changed:
        return
    with bench.database.writing() as connection:
        store.insert_triggers(connection, found.values(), now)
        for old, new in changed:
            store.put(connection, old, new)


def settle(
    bench: Workbench, runs: RunsView, now: datetime, chance: Callable[[], float] = random.random
) -> list[Trigger]:
    """Settle every trigger whose run ended or vanished, by the evidence that is stored; return what became of them."""
    with bench.database.engine.connect() as connection:
        launched = store.triggers_of(connection, states=[TriggerState.LAUNCHED])
    settled = []
    for trigger in launched:
        run = runs.of_claim(trigger.trigger_id, trigger.claims)
        if run is None and now - trigger.changed_at < UNSEEN:
            continue
        if run is not None and run.state is RunState.ACTIVE:
            continue
        new = _outcome(trigger, run, _missing_evidence(bench, trigger), now, chance())
        with bench.database.writing() as connection:
            if store.put(connection, trigger, new):
                settled.append(new)
    return settled


def waiting(bench: Workbench, tasks: Collection[str], action: Action) -> list[Trigger]:
    """Return the triggers of these tasks that wait for a run, those first that wait longest."""
    with bench.database.engine.connect() as connection:
        found = store.triggers_of(connection, tasks, [TriggerState.WAITING])
    mine = [trigger for trigger in found if trigger.cause.action is action]
    return sorted(mine, key=lambda trigger: (trigger.due_at, trigger.trigger_id))


def due(bench: Workbench, tasks: Collection[str], action: Action, now: datetime) -> list[Trigger]:
    """Return the triggers that may be claimed now, as many as may be.

    Of a task, one whole benchmark is claimed at a time, and models on their own wait for it: it may serve them all. One
    delivery is claimed at a time as well, and decisions are taken in the order of their benchmarks.
    """
    resting = waiting(bench, tasks, action)
    first: dict[str, Trigger] = {}
    for trigger in sorted(resting, key=lambda one: one.trigger_id):
        if trigger.cause is Cause.DECISION_DUE:
            first.setdefault(trigger.task, trigger)
    in_order = (one for one in resting if one.cause is not Cause.DECISION_DUE or one is first[one.task])
    ready = [trigger for trigger in in_order if trigger.due_at <= now]
    with bench.database.engine.connect() as connection:
        launched = store.triggers_of(connection, states=[TriggerState.LAUNCHED])
    under_way = [trigger for trigger in launched if trigger.cause.action is action]
    if action is Action.DELIVER:
        busy = {trigger.task for trigger in under_way}
        return list({trigger.task: trigger for trigger in reversed(ready) if trigger.task not in busy}.values())
    whole = {trigger.task: trigger for trigger in (*reversed(ready), *under_way) if _is_whole(trigger)}
    chosen = [trigger for trigger in ready if trigger.terms or whole.get(trigger.task, trigger) is trigger]
    return chosen[: max(MOST_AT_ONCE - len(under_way), 0)]


def hold_back(
    bench: Workbench, triggers: Sequence[Trigger], why: str, now: datetime, pause: timedelta = attempts.LOOK_AGAIN
) -> None:
    """Let triggers wait for what is told in `why`, and look again after `pause`. No attempt is counted."""
    if triggers:
        with bench.database.writing() as connection:
            ids = [trigger.trigger_id for trigger in triggers]
            store.hold_back(connection, ids, now + pause, f"waits: {why}")


def claim(bench: Workbench, trigger: Trigger, now: datetime) -> Trigger | None:
    """Claim a trigger for one run; return it as claimed, or None when another process was faster."""
    claimed = attempts.launched(trigger, now)
    with bench.database.writing() as connection:
        return claimed if store.put(connection, trigger, claimed) else None


def retry(bench: Workbench, tasks: Collection[str], subject: str | None, now: datetime) -> list[Trigger]:
    """Take up again what was given up, and let what waits be due now; `subject` limits it. Return what changed."""
    with bench.database.writing() as connection:
        resting = store.triggers_of(connection, tasks, [TriggerState.GIVEN_UP, TriggerState.WAITING])
        pairs = [(one, attempts.retried(one, now)) for one in resting if subject in (None, one.subject)]
        return [new for old, new in pairs if store.put(connection, old, new)]


def _is_whole(trigger: Trigger) -> bool:
    """Whether it measures all models of a task under the task's own terms."""
    return trigger.models is None and not trigger.terms


def _outcome(trigger: Trigger, run: SeenRun | None, missing: str, now: datetime, chance: float) -> Trigger:
    """Return what became of a trigger. The evidence judges, not the status of the run."""
    if not missing:
        return attempts.done(trigger, now)
    if run is None:
        return attempts.lost(trigger, "its run was never seen, or deleted", now, chance)
    match run.state:
        case RunState.CANCELLED:
            return attempts.cancelled(trigger, now)
        case RunState.DIED:
            why = f"its run {run.run_id[:8]} was killed" + (f": {run.why}" if run.why else "")
            return attempts.lost(trigger, why, now, chance)
        case _:
            return attempts.failed(trigger, run.why or missing, now, chance)


def _missing_evidence(bench: Workbench, trigger: Trigger) -> str:
    """Return which evidence a trigger's run did not write, in words; empty when all is there."""
    try:
        if trigger.cause is Cause.DECISION_DUE:
            taken = decided(bench, trigger.task, trigger.subject)
            return "" if taken else f"no decision was taken from {trigger.subject}"
        if trigger.cause is Cause.APPROVED:
            return "" if delivered(bench, trigger.subject) else f"{trigger.subject[:12]} is still to be delivered"
        return _unmeasured(bench, trigger)
    except BenchError as error:
        return str(error)


def _unmeasured(bench: Workbench, trigger: Trigger) -> str:
    if trigger.benchmark_id is None:
        return "it began no benchmark"
    with bench.database.engine.connect() as connection:
        row = benchmark(connection, trigger.benchmark_id)
        scoreboard = stored_scoreboard(connection, trigger.benchmark_id)
        excluded = {one.model: one.detail for one in excluded_candidates(connection, trigger.benchmark_id)}
    if row is None or row.status is not RunStatus.FINISHED:
        return f"{trigger.benchmark_id} was not finished"
    if row.invalid:
        return f"{trigger.benchmark_id} is invalid: {row.invalid}"
    if scoreboard is None:  # its process ended between the last call and the ranking, which calls no model
        scoreboard = rank_benchmark(bench.database, trigger.benchmark_id).scoreboard
    if trigger.models is None:
        return ""
    results = {result.model: result for result in scoreboard.results}
    for model in trigger.models:
        result = results.get(model)
        if result is None:
            return f"{model} did not take part: {excluded.get(model, 'it is not in the table of actors any more')}"
        if result.standing is Standing.INCONCLUSIVE:
            return f"{model} could not be measured: {result.why}"
    return ""
