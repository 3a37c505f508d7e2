"""Changes of production and which of them are in force. Bars that follow from them are in `bars.py`.

A rollback is a change of its own that names the change it undoes. A change is in force unless a change that is in
force undoes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.promoting.plan import Bar, PlanKind


class Status(StrEnum):
    """State of a change.

    `failed`: its validation failed, and it is not undone yet. `reapplied`: it was undone, and a person undid that.
    """

    APPLIED = "applied"
    VALIDATED = "validated"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    REAPPLIED = "reapplied"


@dataclass(frozen=True, slots=True)
class PromotionRow:
    """One conversation of a change. `changed` is False where a rollback left it alone."""

    conversation_id: ConversationId
    conversation: str
    task: str
    benchmark_id: str | None
    evidence_hash: str | None
    old_actor_id: ActorId | None
    old_actor: str | None
    new_actor_id: ActorId | None
    new_actor: str | None
    identity_hash: str | None
    runner_up_actor_id: ActorId | None
    expected_gain: float | None
    reason: str
    changed: bool
    old_champion: Champion | None


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """A change of production as it was recorded when it was applied.

    `requested_by` is the login that applied it, `account` the name that the client gave.
    """

    promotion_id: int
    kind: PlanKind
    plan_hash: str
    terms_hash: str
    undoes: int | None
    bar: Bar | None
    reason: str
    requested_by: str
    account: str | None
    approved_by: str | None
    dagster_run_id: str | None
    applied_at: datetime
    rows: tuple[PromotionRow, ...]

    @property
    def removal(self) -> str:
        """What a rollback or a failover removed and why, in words."""
        if self.undoes is None:
            return f"failover {self.promotion_id} replaced it ({self.reason})"
        return f"promotion {self.undoes} did this and was undone ({self.reason})"

    @property
    def changed(self) -> tuple[PromotionRow, ...]:
        """The rows that it changed."""
        return tuple(row for row in self.rows if row.changed)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its conversations."""
        return tuple(dict.fromkeys(row.task for row in self.rows))


@dataclass(frozen=True, slots=True)
class Promotion(RecordedChange):
    """A change with what later changes and validations made of it.

    `forward`: it puts a measured model into production. Undoing it goes back; undoing that goes forward again.
    `undone_by` names the change in force that undid it, `undone_because` that change's reason;
    `first_undone_because` is the reason of the change that undid it first, whether in force or not.
    """

    status: Status
    forward: bool
    undone_by: int | None
    undone_because: str | None
    first_undone_because: str | None

    @property
    def in_force(self) -> bool:
        """Whether it is not undone."""
        return self.undone_by is None


def linked(recorded: Sequence[RecordedChange], passed: Mapping[int, bool]) -> list[Promotion]:
    """Return all changes, oldest first, with their states; `passed` is the outcome of each one's last validation."""
    forward: dict[int, bool] = {}
    for change in recorded:  # a change is always younger than the one it undoes
        forward[change.promotion_id] = change.undoes is None or not forward[change.undoes]
    undoing = {change.undoes: change for change in recorded if change.undoes is not None}
    found: dict[int, Promotion] = {}
    for change in reversed(recorded):
        child = undoing.get(change.promotion_id)
        undone_by = child if child is not None and found[child.promotion_id].in_force else None
        found[change.promotion_id] = Promotion(
            **{name: getattr(change, name) for name in RecordedChange.__slots__},
            status=_status(child, undone_by, passed.get(change.promotion_id)),
            forward=forward[change.promotion_id],
            undone_by=undone_by.promotion_id if undone_by else None,
            undone_because=undone_by.reason if undone_by else None,
            first_undone_because=child.reason if child else None,
        )
    return list(found.values())[::-1]


def _status(child: RecordedChange | None, undone_by: RecordedChange | None, passed: bool | None) -> Status:
    if child is not None:
        return Status.ROLLED_BACK if undone_by else Status.REAPPLIED
    return {None: Status.APPLIED, True: Status.VALIDATED, False: Status.FAILED}[passed]


def latest_of(changes: Iterable[Promotion], task: str | None = None) -> Promotion | None:
    """Return the last promotion or failover in force among all changes, of `task` or of any task."""
    found = [
        change
        for change in changes
        if change.in_force and change.kind is not PlanKind.ROLLBACK and (task is None or task in change.tasks)
    ]
    return found[-1] if found else None


def last_link(changes: Iterable[Promotion], promotion_id: int) -> Promotion:
    """Return the last change in the chain of undoings that begins with this one, or the change itself."""
    by_id = {change.promotion_id: change for change in changes}
    undone_by = {change.undoes: change.promotion_id for change in by_id.values() if change.undoes is not None}
    while promotion_id in undone_by:
        promotion_id = undone_by[promotion_id]
    return by_id[promotion_id]


def unvalidated(changes: Sequence[Promotion], task: str | None = None) -> list[Promotion]:
    """Return the promotions (of `task`) that no validation judged and no later change replaced, oldest first."""
    last = {row.conversation_id: change.promotion_id for change in changes for row in change.changed}
    return [
        change
        for change in changes
        if (change.kind, change.status) == (PlanKind.PROMOTION, Status.APPLIED)
        and (task is None or task in change.tasks)
        and any(last[row.conversation_id] == change.promotion_id for row in change.changed)
    ]
