"""Changes of production as rows, with their validations and the intents to write documents.

Nothing here changes production. Which change is in force, and what it bars, is decided in `domain/promoting`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, insert, or_, select, update

from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.promoting import changes
from bench_pipeline.domain.promoting.bars import Bars, MeasuredAs, barred_rows
from bench_pipeline.domain.promoting.champion import champion_of
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow, RecordedChange, linked
from bench_pipeline.domain.promoting.plan import Bar, PlanKind
from bench_pipeline.storage.tables import (
    benchmark_history,
    benchmark_model_runs,
    benchmark_runs,
    intents,
    promotion_rows,
    promotions,
    validations,
)


@dataclass(frozen=True, slots=True)
class Validation:
    """The outcome of a validation. `bar` is None when it passed."""

    promotion_id: int
    passed: bool
    bar: Bar | None
    details: Mapping[str, Any]
    validated_at: datetime


def all_promotions(connection: Connection) -> list[Promotion]:
    """Return every change, oldest first."""
    return _promotions(connection)


def _promotions(connection: Connection, only: Collection[int] | None = None) -> list[Promotion]:
    """Return the changes with these ids, by default all, oldest first; those linked by undoing belong together."""

    def wanted(query: Select[Any], number: ColumnElement[int]) -> Select[Any]:
        return query if only is None else query.where(number.in_(only))

    h, r, v = promotions.c, promotion_rows.c, validations.c
    heads = connection.execute(wanted(select(*_HEAD), h.promotion_id).order_by(h.promotion_id)).mappings().all()
    lines: dict[int, list[PromotionRow]] = {head["promotion_id"]: [] for head in heads}
    query = wanted(select(promotion_rows), r.promotion_id).order_by(r.promotion_id, r.conversation_id)
    for line in connection.execute(query).mappings():
        if line["promotion_id"] in lines:  # else its change was committed after the heads were read
            lines[line["promotion_id"]].append(_row(line))
    judged = wanted(select(v.promotion_id, v.passed), v.promotion_id).order_by(v.validation_id)
    passed = {number: bool(ok) for number, ok in connection.execute(judged)}
    return linked([_recorded(head, lines[head["promotion_id"]]) for head in heads], passed)


def changes_since(connection: Connection, since: datetime) -> list[Promotion]:
    """Return the changes that were applied after this moment, oldest first."""
    recent = list(connection.scalars(select(promotions.c.promotion_id).where(promotions.c.applied_at > since)))
    return [one for one in _promotions(connection, _chains(connection, recent)) if one.promotion_id in recent]


def promotion_by_plan(connection: Connection, plan_hash: str) -> Promotion | None:
    """Return the change that applied this plan, or None."""
    number = connection.scalar(select(promotions.c.promotion_id).where(promotions.c.plan_hash == plan_hash))
    return promotion_by_id(connection, number) if number is not None else None


def promotion_by_id(connection: Connection, promotion_id: int) -> Promotion | None:
    """Return the change with this id, or None."""
    found = _promotions(connection, _chains(connection, [promotion_id]))
    return next((one for one in found if one.promotion_id == promotion_id), None)


def _chains(connection: Connection, promotion_ids: Iterable[int]) -> set[int]:
    """Return the ids of these changes, of those that they undo and of those that undo them, directly or not."""
    h = promotions.c
    found = fresh = set(promotion_ids)
    while fresh:
        near = select(h.promotion_id, h.undoes).where(or_(h.promotion_id.in_(fresh), h.undoes.in_(fresh)))
        fresh = {number for row in connection.execute(near) for number in row if number is not None} - found
        found = found | fresh
    return found


def latest_promotion(connection: Connection, task: str | None = None) -> Promotion | None:
    """Return the last promotion or failover in force, of `task` or of any."""
    return changes.latest_of(all_promotions(connection), task)


def unvalidated(connection: Connection, task: str | None = None) -> list[Promotion]:
    """Return the promotions (of `task`) that no validation judged and no later change replaced, oldest first."""
    return changes.unvalidated(all_promotions(connection), task)


def failed_validations(connection: Connection) -> frozenset[int]:
    """Return the ids of the changes that failed a validation."""
    return frozenset(connection.scalars(select(validations.c.promotion_id).where(~validations.c.passed)))


def read_bars(connection: Connection, benchmark_ids: Iterable[str]) -> Bars:
    """Return the bars, for rows that rest on one of these benchmarks."""
    barred = connection.scalars(select(promotions.c.promotion_id).where(promotions.c.bar.is_not(None)))
    found = _promotions(connection, _chains(connection, barred))
    by_id = {change.promotion_id: change for change in found}
    barring = [change for change in found if change.bar is not None and change.in_force]
    then = {row.benchmark_id for change in barring for row in barred_rows(change, by_id) if row.benchmark_id}
    return Bars(found, _measured(connection, then | set(benchmark_ids)) if then else {})


def _measured(connection: Connection, benchmark_ids: Iterable[str]) -> dict[tuple[str, ActorId], MeasuredAs]:
    b, h, r = benchmark_runs.c, benchmark_history.c, benchmark_model_runs.c
    query = (
        select(b.benchmark_id, h.actor_id, b.evidence_key, r.identity)
        .join_from(benchmark_runs, benchmark_history, h.benchmark_run_id == b.benchmark_id)
        .join(benchmark_model_runs, r.model_run_id == h.model_run_id)
        .where(b.benchmark_id.in_(sorted(benchmark_ids)), h.actor_id.is_not(None))
    )
    return {
        (benchmark_id, actor_id): MeasuredAs(key, ModelIdentity.model_validate(identity))
        for benchmark_id, actor_id, key, identity in connection.execute(query)
    }


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


_HEAD = [column for column in promotions.c if column.name not in ("plan", "database_role")]
"""The columns of a change that are read; its plan may be large and is in `benchmark_plans` too."""


def _recorded(head: RowMapping, rows: Sequence[PromotionRow]) -> RecordedChange:
    return RecordedChange(
        promotion_id=head["promotion_id"],
        kind=PlanKind(head["kind"]),
        plan_hash=head["plan_hash"],
        terms_hash=head["terms_hash"],
        undoes=head["undoes"],
        bar=Bar(head["bar"]) if head["bar"] else None,
        reason=head["reason"],
        requested_by=head["requested_by"],
        account=head["account"],
        approved_by=head["approved_by"],
        dagster_run_id=head["dagster_run_id"],
        applied_at=head["applied_at"],
        rows=tuple(rows),
    )


def insert_promotion(connection: Connection, head: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> int:
    """Store a change with its rows and the intent to write the documents; return its id."""
    stored = insert(promotions).values(head).returning(promotions.c.promotion_id)
    promotion_id: int = connection.execute(stored).scalar_one()
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
    """Store that the documents of these intents are written."""
    connection.execute(update(intents).where(intents.c.intent_id.in_(intent_ids)).values(done_at=at))
