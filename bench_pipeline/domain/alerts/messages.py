"""The words of every alert: what happened, what it means, what to do. When one is due is in operation/alerting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

from bench_pipeline.domain.alerts.alert import Alert, AlertCause
from bench_pipeline.domain.alerts.foreign_text import plain, without_secrets
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.promoting.changes import PromotionRow, RecordedChange
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import PlanRow
from bench_pipeline.domain.triggers.trigger import Cause

_Item = TypeVar("_Item")
_SHOWN = 5
_NAME = 80
_SUBJECT = 150
_PATH = 500


@dataclass(frozen=True, slots=True)
class CallingTrigger:
    """What an alert needs to know of a trigger that was given up or that a person must act upon."""

    task: str
    cause: str
    subject: str
    why: str
    note: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """An asset check that failed: the parts of its asset's key, its name, and its own words."""

    asset: Sequence[str]
    name: str
    why: str

    @property
    def asset_name(self) -> str:
        """The asset's key as people write it."""
        return "/".join(self.asset)

    @property
    def group(self) -> str:
        """The task; the asset's own name where it belongs to no task."""
        return self.asset[0]


@dataclass(frozen=True, slots=True)
class Messages:
    """Makes alerts. Foreign text in them is without these `secrets`, see foreign_text.py."""

    secrets: Collection[str] = field(default=frozenset(), repr=False)

    # Production

    def promoted(self, change: RecordedChange) -> Alert:
        """Production was changed by a promotion or a failover."""
        what, number = change.kind.value, change.promotion_id
        return Alert(
            AlertCause.PROMOTED,
            str(number),
            f"{what.capitalize()} {number} changed production: {self._tasks(change)}",
            f"{self._rows(change.changed)}. Reason: {self._plain(change.reason or 'see the plan')}.",
            "Production answers with these actors from now on. The validation that follows undoes a promotion if the "
            "new actor fails its test cases.",
            f"Nothing, if you expected it. Otherwise run: bench rollback {number}",
            change.applied_at,
            self._page_of_change(change),
        )

    def undone(self, change: RecordedChange) -> Alert:
        """A rollback gave conversations their earlier actors back."""
        number = change.promotion_id
        return Alert(
            AlertCause.UNDONE,
            str(number),
            f"Promotion {change.undoes} was undone: {self._tasks(change)}",
            f"{self._rows(change.changed)}. Reason: {self._plain(change.reason, 300)}.",
            "Production answers with the earlier actors again. The removed actor is barred until its evidence changes.",
            f"Find out why it failed: bench log. To lift the bar, run: bench rollback {number}",
            change.applied_at,
            self._page_of_change(change),
        )

    def awaits_approval(self, plan: StoredPlan, why: str, now: datetime) -> Alert:
        """A plan waits for a person."""
        short, first = plan.plan_hash[:12], plan.plan.tasks.split(",")[0]
        return Alert(
            AlertCause.AWAITS_APPROVAL,
            short,
            f"Plan {short} waits for your approval: {self._name(plan.plan.tasks)}",
            f"A plan of {plan.made_at:%Y-%m-%d %H:%M} UTC would change {self._rows(plan.plan.changes)}. "
            f"It {self._plain(why)}.",
            f"Production stays as it is until a person approves the plan. It expires {plan.plan.terms.plan_hours:g} "
            "hours after it was made.",
            f"Look at it with bench log --plans. To accept it, run: bench approve {short}",
            now,
            _asset(first, "promotion_plan"),
        )

    # Benchmarks

    def inconclusive(self, task: str, benchmark_id: str, reasons: Sequence[str], at: datetime) -> Alert:
        """A benchmark could not decide."""
        distinct = list(dict.fromkeys(reasons))
        return Alert(
            AlertCause.INCONCLUSIVE,
            self._subject(benchmark_id),
            f"Benchmark of {self._name(task)} was inconclusive",
            f"Benchmark {self._plain(benchmark_id)} could not decide about {len(reasons)} of its conversations: "
            f"{self._list(distinct, self._plain)}.",
            "Production stays as it is. A model may be better than the one in use, or worse; nobody knows yet.",
            f"Correct what it names, then measure again: bench run --task {quote(task)}",
            at,
            _asset(task, "promotion_plan"),
        )

    def nothing_qualifies(self, task: str, benchmark_id: str, models: Mapping[str, str], at: datetime) -> Alert:
        """No model of a benchmark was always correct; `models` are their names with the reasons."""
        return Alert(
            AlertCause.NOTHING_QUALIFIES,
            self._subject(benchmark_id),
            f"No model qualifies for {self._name(task)}",
            f"In benchmark {self._plain(benchmark_id)} none of {len(models)} models was correct in all cases: "
            f"{self._list(list(models.items()), lambda one: f'{self._name(one[0])} ({self._plain(one[1], 120)})')}.",
            "Production stays as it is. The task has neither a champion nor a runner-up to switch to.",
            f"See which cases failed: bench history --task {quote(task)}, and the report. Correct the prompt or the "
            "labels, or add a better model.",
            at,
            _asset(task, "scoreboard"),
        )

    # Triggers

    def trigger_given_up(self, one: CallingTrigger, now: datetime) -> Alert:
        """A trigger failed too often."""
        what = f"{one.cause.replace('_', ' ')}{f' {self._name(one.subject)}' if one.subject else ''}"
        return Alert(
            AlertCause.TRIGGER_GIVEN_UP,
            self._subject(f"{one.task} {one.cause} {one.subject}"),
            f"Given up for {self._name(one.task)}: {what}",
            f"{self._plain(one.why)}. After {one.attempts} failed attempts it is not tried again. "
            f"Last failure: {self._plain(one.note or 'unknown', 300)}.",
            "What should have been measured or delivered is not. Nothing else is held up.",
            f"Correct the failure, then run: bench retry {quote(one.task)}",
            now,
            _asset(one.task, "scoreboard"),
        )

    def champion_gone(self, one: CallingTrigger, now: datetime) -> Alert:
        """A model that production needs is gone or disabled."""
        return self._of_champion(
            AlertCause.CHAMPION_GONE,
            one,
            now,
            f"A model of {self._name(one.task)} is gone: {self._name(one.subject)}",
            "Conversations that hold this actor fail now, or have nothing to fall back on if it is the runner-up.",
            "Install the model again or enable its actor, or switch to the runner-up: bench failover CONVERSATION_ID",
        )

    def champion_slow(self, one: CallingTrigger, now: datetime) -> Alert:
        """Production is slower than what was measured."""
        return self._of_champion(
            AlertCause.CHAMPION_SLOW,
            one,
            now,
            f"The champion of {self._name(one.task)} is slow in production: {self._name(one.subject)}",
            "Production does not get the latency that the champion was chosen for.",
            "Look at what else runs on the server. A new benchmark is requested by itself; see it with bench triggers",
        )

    def _of_champion(self, cause: AlertCause, one: CallingTrigger, now: datetime, *texts: str) -> Alert:
        title, means, remedy = texts
        subject, what = self._subject(f"{one.task} {one.subject}"), f"{self._plain(one.why, 300)}."
        return Alert(cause, subject, title, what, means, remedy, now, _asset(one.task, "scoreboard"))

    def of_trigger(self, one: CallingTrigger, given_up: bool, now: datetime) -> Alert | None:
        """Return the alert that a trigger calls for, or None."""
        if given_up:
            return self.trigger_given_up(one, now)
        if one.cause == Cause.MODEL_GONE:
            return self.champion_gone(one, now)
        return self.champion_slow(one, now) if one.cause == Cause.SLOW_IN_PRODUCTION else None

    # Dagster

    def run_failed(self, job: str, run_id: str, why: str, at: datetime) -> Alert:
        """A run of Dagster failed."""
        return Alert(
            AlertCause.RUN_FAILED,
            self._subject(job),
            f"A run of {self._name(job)} failed",
            f"Run {self._name(run_id)} failed: {self._plain(why, 300)}. Further failures of this job today are not "
            "reported.",
            "What it had measured is stored, and a later run continues from there. Production was not left half "
            "changed.",
            "Read the failed step on the run's page and correct the cause. What started the run starts it again; to "
            "do so by hand, launch the job again.",
            at,
            f"/runs/{quote(run_id)}",
        )

    def tick_failed(self, name: str, page: str, why: str, at: datetime) -> Alert:
        """A tick of a schedule or a sensor failed; `page` is where its ticks are listed."""
        return Alert(
            AlertCause.TICK_FAILED,
            self._subject(name),
            f"A tick of {self._name(name)} failed",
            f"At {at:%Y-%m-%d %H:%M} UTC: {self._plain(why, 300)}. Further failures of it today are not reported.",
            "The next tick tries again by itself. While all of them fail, nothing is started.",
            "Read the tick's error on its page, correct the cause, and look whether the next tick succeeds.",
            at,
            page,
        )

    def check_failed(self, check: FailedCheck, at: datetime) -> Alert:
        """An asset check failed with severity ERROR."""
        return Alert(
            AlertCause.CHECK_FAILED,
            self._subject(f"{check.asset_name} {check.name}"),
            f"Failed: check {self._name(check.name)} of {self._name(check.asset_name)}",
            f"{self._plain(check.why, 300)}.",
            "The stages that follow do not run if this check blocks, and production stays as it is.",
            "Read the check on its page, and correct what it names.",
            at,
            _check(check),
        )

    def checks_warn(self, checks: Sequence[FailedCheck], run_id: str, at: datetime) -> Alert:
        """Checks of a task failed with severity WARN in a run. Other checks of the task are another message."""
        first = checks[0]
        names = sorted(f"{one.asset_name} {one.name}" for one in checks)
        one_alone = f"Warning: check {self._name(first.name)} of {self._name(first.asset_name)}"
        return Alert(
            AlertCause.CHECK_FAILED,
            self._subject(" ".join(names)),
            one_alone if len(checks) == 1 else f"{len(checks)} warnings about {self._name(first.group)}",
            f"{self._list(checks, self._check_words)}.",
            "Nothing is stopped by it, but someone should know.",
            "Read the checks on the pages of their assets, and correct what they name.",
            at,
            _check(first) if len(checks) == 1 else f"/runs/{quote(run_id)}",
        )

    def _check_words(self, check: FailedCheck) -> str:
        return f"{self._name(check.name)} of {self._name(check.asset_name)}: {self._plain(check.why)}"

    def daemon_silent(self, why: str, now: datetime) -> Alert:
        """Dagster's daemon gives no sign of life. Found from outside Dagster."""
        return Alert(
            AlertCause.DAEMON_SILENT,
            "",
            "Dagster's daemon is silent",
            f"{self._plain(why, 400)}.",
            "No schedule, no sensor and no queued run starts, and no other alert is sent.",
            "Restart the daemon's service, then run: bench doctor --daemon",
            now,
            "/deployment/daemons",
        )

    def test(self, now: datetime) -> Alert:
        """A message that tries the receivers."""
        return Alert(
            AlertCause.TEST,
            "",
            "Test message of bench",
            "Someone ran bench alerts test.",
            "This receiver gets the alerts of bench.",
            "Nothing.",
            now,
        )

    # Foreign text

    def plain(self, text: str, limit: int = 300) -> str:
        """Return foreign text as it may stand in a message or a log."""
        return plain(without_secrets(text, self.secrets), limit)

    def _plain(self, text: str, limit: int = 200) -> str:
        """Return foreign text as part of a sentence."""
        return self.plain(text, limit).rstrip(".")

    def _name(self, text: str) -> str:
        return self._plain(text, _NAME)

    def _subject(self, text: str) -> str:
        """A subject that was changed stays distinct by its hash."""
        kept = self._plain(text, _SUBJECT)
        return kept if kept == text else f"{kept} {content_hash(text)[:8]}"

    def _list(self, items: Sequence[_Item], words: Callable[[_Item], str]) -> str:
        more = f", and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        return "; ".join(words(item) for item in items[:_SHOWN]) + more

    def _tasks(self, change: RecordedChange) -> str:
        return self._name(", ".join(change.tasks))

    def _rows(self, rows: Sequence[PromotionRow | PlanRow]) -> str:
        return self._list(rows, self._row)

    def _row(self, row: PromotionRow | PlanRow) -> str:
        old, new = (self._name(actor or "none") for actor in (row.old_actor, row.new_actor))
        return f"{self._name(row.conversation)}: {old} → {new}"

    def _page_of_change(self, change: RecordedChange) -> str:
        if change.dagster_run_id:
            return f"/runs/{quote(change.dagster_run_id)}"
        return _asset(change.tasks[0], "production_update") if change.tasks else ""


def _asset(*key: str) -> str:
    return _page(f"/assets/{'/'.join(quote(part, safe='') for part in key)}")


def _check(check: FailedCheck) -> str:
    return _page(f"{_asset(*check.asset)}?view=checks&checkDetail={quote(check.name)}")


def _page(path: str) -> str:
    """Return a path of the UI, or none rather than a part of one that is too long to be a link."""
    return path if len(path) <= _PATH else ""
