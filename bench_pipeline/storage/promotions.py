"""Every change of production's as rows: promotions, failovers, rollbacks, and what the known cases said after them.

Nothing here changes production. A rollback is a change of its own that names the one it takes back; a change is in
force unless a change that is in force takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.promoting.plan import Bar, PlanEvidence, PlanKind, PlanRow
from bench_pipeline.storage.champions import Champion, champion_of
from bench_pipeline.storage.tables import (
    benchmark_history,
    benchmark_model_runs,
    benchmark_runs,
    intents,
    promotion_rows,
    promotions,
    validations,
)


class Status(StrEnum):
    """What became of a change.

    `failed`: its validation did, and it is not undone yet. `reapplied`: it was undone, and a person undid that.
    """

    APPLIED = "applied"
    VALIDATED = "validated"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    REAPPLIED = "reapplied"


@dataclass(frozen=True, slots=True)
class PromotionRow:
    """One conversation of a change. `changed` is False where a rollback left it alone."""

    conversation_id: int
    conversation: str
    task: str
    benchmark_id: str | None
    evidence_hash: str | None
    old_actor_id: int | None
    old_actor: str | None
    new_actor_id: int | None
    new_actor: str | None
    identity_hash: str | None
    runner_up_actor_id: int | None
    expected_gain: float | None
    reason: str
    changed: bool
    old_champion: Champion | None


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of production as it is stored. `undone_by` names the change in force that took it back.

    `forward`: it put a measured model into production; what undoes it goes back, and what undoes that goes
    forward again.
    """

    promotion_id: int
    kind: PlanKind
    plan_hash: str
    terms_hash: str
    undoes: int | None
    bar: Bar | None
    reason: str
    requested_by: str
    approved_by: str | None
    dagster_run_id: str | None
    applied_at: datetime
    rows: tuple[PromotionRow, ...]
    status: Status
    forward: bool
    undone_by: int | None
    undone_because: str | None
    first_undone_because: str | None

    @property
    def in_force(self) -> bool:
        """Whether it was not taken back."""
        return self.undone_by is None

    @property
    def took_back(self) -> str:
        """What a rollback or a failover took back and why, in words."""
        if self.undoes is None:
            return f"failover {self.promotion_id} took it away ({self.reason})"
        return f"promotion {self.undoes} did this and was undone ({self.reason})"

    @property
    def changed(self) -> tuple[PromotionRow, ...]:
        """The rows that it changed."""
        return tuple(row for row in self.rows if row.changed)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose conversations it is about."""
        return tuple(dict.fromkeys(row.task for row in self.rows))


@dataclass(frozen=True, slots=True)
class Validation:
    """What the known cases said after a promotion. `bar` is None when it passed."""

    promotion_id: int
    passed: bool
    bar: Bar | None
    details: Mapping[str, Any]
    validated_at: datetime


def all_promotions(connection: Connection) -> list[Promotion]:
    """Return every change, oldest first."""
    heads = connection.execute(select(promotions).order_by(promotions.c.promotion_id)).mappings().all()
    lines: dict[int, list[PromotionRow]] = {head["promotion_id"]: [] for head in heads}
    query = select(promotion_rows).order_by(promotion_rows.c.promotion_id, promotion_rows.c.conversation_id)
    for line in connection.execute(query).mappings():
        if line["promotion_id"] in lines:  # else its change was committed after the heads were read
            lines[line["promotion_id"]].append(_row(line))
    passed = {
        number: bool(ok)
        for number, ok in connection.execute(
            select(validations.c.promotion_id, validations.c.passed).order_by(validations.c.validation_id)
        )
    }
    return _linked(heads, lines, passed)


def _linked(
    heads: Sequence[RowMapping], lines: Mapping[int, Sequence[PromotionRow]], passed: Mapping[int, bool]
) -> list[Promotion]:
    """A change is always younger than what it undoes, so one walk back tells who is in force, one forth who goes on."""
    forward: dict[int, bool] = {}
    for head in heads:
        forward[head["promotion_id"]] = head["undoes"] is None or not forward[head["undoes"]]
    undoing = {head["undoes"]: head for head in heads if head["undoes"] is not None}
    found: dict[int, Promotion] = {}
    for head in reversed(heads):
        number = head["promotion_id"]
        child = undoing.get(number)
        undone = child is not None and found[child["promotion_id"]].in_force
        found[number] = _promotion(head, lines[number], child, undone, passed.get(number), forward[number])
    return list(found.values())[::-1]


def promotion_by_plan(connection: Connection, plan_hash: str) -> Promotion | None:
    """Return the change that applied this plan, or None."""
    return next((one for one in all_promotions(connection) if one.plan_hash == plan_hash), None)


def promotion_by_id(connection: Connection, promotion_id: int) -> Promotion | None:
    """Return the change with this id, or None."""
    return next((one for one in all_promotions(connection) if one.promotion_id == promotion_id), None)


def latest_promotion(connection: Connection, task: str | None = None) -> Promotion | None:
    """Return the last promotion or failover in force, of `task` or of any."""
    return latest_of(all_promotions(connection), task)


def latest_of(changes: Iterable[Promotion], task: str | None = None) -> Promotion | None:
    """Return the last promotion or failover in force among all changes, of `task` or of any."""
    found = [
        one
        for one in changes
        if one.in_force and one.kind is not PlanKind.ROLLBACK and (task is None or task in one.tasks)
    ]
    return found[-1] if found else None


def unvalidated(connection: Connection, task: str | None = None) -> list[Promotion]:
    """Return the promotions (of `task`) that no validation judged and no later change replaced, oldest first."""
    changes = all_promotions(connection)
    last = {row.conversation_id: one.promotion_id for one in changes for row in one.changed}
    return [
        one
        for one in changes
        if (one.kind, one.status) == (PlanKind.PROMOTION, Status.APPLIED)
        and (task is None or task in one.tasks)
        and any(last[row.conversation_id] == one.promotion_id for row in one.changed)
    ]


def last_change(connection: Connection, promotion_id: int) -> Promotion:
    """Return the change that decides whether this one is in force: itself, or the last link of its undoings."""
    return last_link(all_promotions(connection), promotion_id)


def last_link(changes: Iterable[Promotion], promotion_id: int) -> Promotion:
    """Return the last link of a change's undoings among all changes, or the change itself."""
    by_id = {one.promotion_id: one for one in changes}
    undone_by = {one.undoes: one.promotion_id for one in by_id.values() if one.undoes is not None}
    while promotion_id in undone_by:
        promotion_id = undone_by[promotion_id]
    return by_id[promotion_id]


def bar_on(connection: Connection, planned: PlanRow, evidence: PlanEvidence) -> Promotion | None:
    """Return the change in force that bars a row's new actor from its conversation on this evidence, or None.

    A rollback bars what it took back, a failover the champion that failed. With `Bar.EVIDENCE` while suite, prompt,
    protocol, reader, hardware and the model's identity are what they were; with
    `Bar.BENCHMARK` on the very evidence that it took back.
    """
    changes = all_promotions(connection)
    by_id = {one.promotion_id: one for one in changes}
    subject = planned.conversation_id, planned.new_actor_id
    for change in reversed(changes):
        if change.bar is None or not change.in_force:
            continue
        for row in _barred_rows(change, by_id):
            if (row.conversation_id, _barred_actor(change, row)) != subject:
                continue
            if row.evidence_hash == evidence.evidence_hash:
                return change
            if change.bar is Bar.EVIDENCE and row.benchmark_id is not None:
                then = _measured(connection, row.benchmark_id, planned.new_actor_id)
                if then is not None and then == _measured(connection, evidence.benchmark_id, planned.new_actor_id):
                    return change
    return None


def _barred_rows(change: Promotion, by_id: Mapping[int, Promotion]) -> tuple[PromotionRow, ...]:
    return change.rows if change.undoes is None else by_id[change.undoes].rows


def _barred_actor(change: Promotion, row: PromotionRow) -> int | None:
    return row.old_actor_id if change.kind is PlanKind.FAILOVER else row.new_actor_id


def _measured(connection: Connection, benchmark_id: str, actor_id: int | None) -> tuple[str, ModelIdentity] | None:
    """Return the evidence key of a benchmark, and the identity of an actor's model as it was measured there."""
    b, h, r = benchmark_runs.c, benchmark_history.c, benchmark_model_runs.c
    query = (
        select(b.evidence_key, r.identity)
        .join_from(benchmark_runs, benchmark_history, h.benchmark_id == b.benchmark_id)
        .join(benchmark_model_runs, r.model_run_id == h.model_run_id)
        .where(b.benchmark_id == benchmark_id, h.actor_id == actor_id)
    )
    row = connection.execute(query).first()
    return (row[0], ModelIdentity.model_validate(row[1])) if row else None


def _row(line: RowMapping) -> PromotionRow:
    return PromotionRow(
        conversation_id=line["conversation_id"],
        conversation=line["conversation"],
        task=line["task_type"],
        benchmark_id=line["benchmark_id"],
        evidence_hash=line["evidence_hash"],
        old_actor_id=line["old_actor_id"],
        old_actor=line["old_actor"],
        new_actor_id=line["new_actor_id"],
        new_actor=line["new_actor"],
        identity_hash=line["identity_hash"],
        runner_up_actor_id=line["runner_up_actor_id"],
        expected_gain=line["expected_gain"],
        reason=line["reason"],
        changed=line["changed"],
        old_champion=champion_of(line["old_champion"]),
    )


def _promotion(
    head: RowMapping,
    rows: Sequence[PromotionRow],
    child: RowMapping | None,
    undone: bool,
    passed: bool | None,
    forward: bool,
) -> Promotion:
    if child is not None:
        status = Status.ROLLED_BACK if undone else Status.REAPPLIED
    else:
        status = {None: Status.APPLIED, True: Status.VALIDATED, False: Status.FAILED}[passed]
    return Promotion(
        promotion_id=head["promotion_id"],
        kind=PlanKind(head["kind"]),
        plan_hash=head["plan_hash"],
        terms_hash=head["terms_hash"],
        undoes=head["undoes"],
        bar=Bar(head["bar"]) if head["bar"] else None,
        reason=head["reason"],
        requested_by=head["requested_by"],
        approved_by=head["approved_by"],
        dagster_run_id=head["dagster_run_id"],
        applied_at=head["applied_at"],
        rows=tuple(rows),
        status=status,
        forward=forward,
        undone_by=child["promotion_id"] if child is not None and undone else None,
        undone_because=child["reason"] if child is not None and undone else None,
        first_undone_because=child["reason"] if child is not None else None,
    )


def insert_promotion(connection: Connection, head: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> int:
    """Store a change with its rows and the intent to write the documents; return its id."""
    done = connection.execute(insert(promotions).values(head))
    assert done.inserted_primary_key is not None  # noqa: S101 - one row was inserted
    promotion_id = int(done.inserted_primary_key[0])
    connection.execute(insert(promotion_rows), [{**row, "promotion_id": promotion_id} for row in rows])
    connection.execute(insert(intents).values(promotion_id=promotion_id, made_at=head["applied_at"]))
    return promotion_id


def insert_validation(connection: Connection, row: Validation) -> None:
    """Store the outcome of a validation."""
    connection.execute(insert(validations).values({name: getattr(row, name) for name in Validation.__slots__}))


def last_validation_of_task(connection: Connection, task: str) -> Validation | None:
    """Return the last validation of any promotion of a task, or None."""
    columns = [validations.c[name] for name in Validation.__slots__]
    mine = select(promotion_rows.c.promotion_id).where(promotion_rows.c.task_type == task)
    query = (
        select(*columns)
        .where(validations.c.promotion_id.in_(mine))
        .order_by(validations.c.validation_id.desc())
        .limit(1)
    )
    return _validation(connection.execute(query).first())


def last_validation(connection: Connection, promotion_id: int) -> Validation | None:
    """Return the last validation of a promotion, or None."""
    columns = [validations.c[name] for name in Validation.__slots__]
    query = select(*columns).where(validations.c.promotion_id == promotion_id)
    return _validation(connection.execute(query.order_by(validations.c.validation_id.desc()).limit(1)).first())


def _validation(row: Any) -> Validation | None:  # noqa: ANN401 - a row of five columns
    if row is None:
        return None
    number, passed, bar, details, at = row
    return Validation(number, passed, Bar(bar) if bar else None, details, at)


def open_intents(connection: Connection) -> list[int]:
    """Return the intents whose documents were not written yet, oldest first."""
    query = select(intents.c.intent_id).where(intents.c.done_at.is_(None)).order_by(intents.c.intent_id)
    return list(connection.scalars(query))


def mark_intents_done(connection: Connection, intent_ids: Sequence[int], at: datetime) -> None:
    """Store that the documents say what these promotions did."""
    connection.execute(update(intents).where(intents.c.intent_id.in_(intent_ids)).values(done_at=at))
