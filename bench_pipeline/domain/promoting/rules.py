"""The rules of a promotion, in their order: one pure function over a plan and the facts about it.

The SQLite writer applies plans by them, and what a plan waits for is answered by them. PostgreSQL's function
`storage/writers/apply.sql` is the only second copy; a test takes both through every refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.approval import approver, moment_text
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.facts import EvidenceNow, Facts, MeasuredActor, StoredPlan
from bench_pipeline.domain.promoting.plan import PlanEvidence, PlanKind, PlanRow, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused

Holders = Mapping[ConversationId, Sequence[ActorId | None]]


@dataclass(frozen=True, slots=True)
class Admission:
    """A plan that may be applied. `applied` is the promotion that it was applied as before, which still holds.

    `changed` says for each row that would change whether it does: a rollback leaves some alone.
    """

    applied: int | None = None
    approved_by: str | None = None
    changed: Mapping[ConversationId, bool] = field(default_factory=dict)


def intact(plan_hash: str, stored: StoredPlan | None) -> StoredPlan:
    """Return what is stored under exactly this hash, unaltered. Raises `PlanRefused`."""
    if stored is None or stored.plan_hash != plan_hash:
        _refuse("plan_unknown", plan_hash=plan_hash)
    if not stored.intact:
        _refuse("plan_altered", plan_hash=plan_hash)
    return stored


def admit(plan: PromotionPlan, facts: Facts) -> Admission:
    """Return how the plan would be applied now. Raises `PlanRefused` for the first rule that forbids it."""
    if facts.applied is not None:
        _check_still_holds(facts.applied, facts.holders)
        return Admission(applied=facts.applied.promotion_id)
    _check_undoing(plan, facts.undone)
    approved_by = None
    if plan.changes:
        if not _goes_back(facts):
            _check_not_frozen(facts)
        _check_young(plan, facts)
        approved_by = approver(plan.terms, facts.approvals, facts.requesters, facts.stored.plan_hash, facts.now)
        _check_size(plan)
    for evidence in plan.evidence:
        _check_evidence(plan, evidence, facts)
    changed = {row.conversation_id: _check_row(plan, row, facts) for row in plan.changes}
    return Admission(approved_by=approved_by, changed=changed)


def is_changed(plan: PromotionPlan, row: PlanRow, matched: int, held: ActorId | None) -> bool:
    """Return whether a row is changed when `matched` rows of its conversation hold the planned old actor.

    A rollback leaves a conversation alone that was changed since. Raises `PlanRefused`; `held` is for its sentence.
    """
    if matched > 1 or (matched == 0 and plan.kind is not PlanKind.ROLLBACK):
        _refuse(
            "conversation_changed",
            conversation_id=row.conversation_id,
            conversation=row.conversation,
            planned=row.old_actor_id,
            planned_name=row.old_actor,
            holds=held,
        )
    return matched == 1


def check_written(plan: PromotionPlan, changed: Mapping[ConversationId, bool], holders: Holders) -> None:
    """Compare what the changed conversations hold after the change with the plan. Raises `PlanRefused`."""
    for row in plan.changes:
        if not changed[row.conversation_id]:
            continue
        for held in holders.get(row.conversation_id) or (None,):
            if held != row.new_actor_id:
                _refuse("not_as_written", conversation_id=row.conversation_id, holds=held, planned=row.new_actor_id)


def _refuse(reason: str, /, **facts: object) -> NoReturn:
    raise PlanRefused(reason, facts)


def _goes_back(facts: Facts) -> bool:
    """Undoing a promotion goes back; undoing that goes forward again and is checked like a promotion."""
    return facts.undone is not None and facts.undone.forward


# Whether it may be applied at all


def _check_still_holds(applied: Promotion, holders: Holders) -> None:
    if not applied.in_force:
        _refuse("plan_undone", reason=applied.undone_because)
    for row in applied.changed:
        for held in holders.get(row.conversation_id) or (None,):
            if held != row.new_actor_id:
                _refuse(
                    "changed_since",
                    promotion_id=applied.promotion_id,
                    conversation_id=row.conversation_id,
                    holds=held,
                    planned=row.new_actor_id,
                )


def _check_undoing(plan: PromotionPlan, undone: Promotion | None) -> None:
    """Each row of a rollback must be one of the change that it undoes, reversed, and none may be missing."""
    if plan.undoes is None and plan.kind is not PlanKind.ROLLBACK:
        return
    there = undone and {(row.conversation_id, row.new_actor_id, row.old_actor_id) for row in undone.changed}
    back = {(row.conversation_id, row.old_actor_id, row.new_actor_id) for row in plan.rows}
    decided = any(row.decision is not None for row in plan.rows)
    if plan.kind is not PlanKind.ROLLBACK or undone is None or there != back or decided:
        _refuse("not_an_undoing", promotion_id=plan.undoes)
    if undone.first_undone_because is not None:
        _refuse("undone_already", promotion_id=undone.promotion_id, reason=undone.first_undone_because)


def _check_not_frozen(facts: Facts) -> None:
    last = facts.freeze
    if last is not None and last.frozen:
        _refuse("frozen", set_by=last.set_by, set_at=moment_text(last.set_at), reason=last.reason)


def _check_young(plan: PromotionPlan, facts: Facts) -> None:
    hours, made_at = plan.terms.plan_hours, facts.stored.made_at
    if made_at < facts.now - timedelta(hours=hours):
        _refuse("plan_expired", made_at=moment_text(made_at), plan_hours=hours)


def _check_size(plan: PromotionPlan) -> None:
    rows, most = len(plan.changes), plan.terms.max_rows
    if rows > most:
        _refuse("too_many_rows", rows=rows, max_rows=most)


# What it rests on


def _check_evidence(plan: PromotionPlan, evidence: PlanEvidence, facts: Facts) -> None:
    found = facts.evidence.get(evidence)
    if found is None:
        _refuse("evidence_gone", benchmark_id=evidence.benchmark_id)
    if found.evidence_hash != evidence.evidence_hash:
        _refuse("evidence_changed", benchmark_id=evidence.benchmark_id)
    for row in plan.changes:
        if row.task == evidence.task:
            _check_measured(plan, row, evidence, found, facts)


def _check_measured(
    plan: PromotionPlan, row: PlanRow, evidence: PlanEvidence, found: EvidenceNow, facts: Facts
) -> None:
    if found.invalid is not None:
        _refuse("evidence_invalid", benchmark_id=evidence.benchmark_id, reason=found.invalid)
    if row.conversation_id not in found.conversations:
        _refuse("not_listed", conversation_id=row.conversation_id, conversation=row.conversation, task=row.task)
    line = found.actors.get(row.new_actor_id) if row.new_actor_id is not None else None
    if line is None:
        _refuse("evidence_gone", benchmark_id=evidence.benchmark_id)
    if why := _disqualified(line, found.cases):
        _refuse("not_qualified", model=row.new_actor, benchmark_id=evidence.benchmark_id, why=why)
    days = plan.terms.evidence_days
    if line.started_at < facts.now - timedelta(days=days):
        _refuse("evidence_old", model=row.new_actor, measured_at=moment_text(line.started_at), evidence_days=days)


def _disqualified(line: MeasuredActor, cases: int) -> str:
    if (line.standing, line.correctness_score) != ("qualified", 100.0) or line.cases_correct != line.cases:
        return f"{line.standing}, {line.cases_correct}/{line.cases} correct"
    if line.disqualified or line.correct_cases != cases or line.cases != cases:
        return "its samples do not show every case right"
    return ""


# The rows


def _check_row(plan: PromotionPlan, row: PlanRow, facts: Facts) -> bool:
    if plan.kind is not PlanKind.ROLLBACK and plan.evidence_of(row.task) is None:
        _refuse("no_evidence", task=row.task)
    if row.new_actor_id is not None:
        if not _goes_back(facts):
            _check_actor(plan, row, row.new_actor_id, facts)
        elif row.new_actor_id not in facts.actors:
            return False
    holders = facts.holders.get(row.conversation_id, ())
    if len(holders) > 1:
        about = {"conversation_id": row.conversation_id, "conversation": row.conversation}
        _refuse("conversation_ambiguous", **about, rows=len(holders))
    matched = sum(held == row.old_actor_id for held in holders)
    return is_changed(plan, row, matched, holders[0] if holders else None)


def _check_actor(plan: PromotionPlan, row: PlanRow, actor_id: ActorId, facts: Facts) -> None:
    actor = facts.actors.get(actor_id)
    if actor is None:
        _refuse("actor_gone", actor_id=actor_id, actor=row.new_actor)
    if not actor.is_model:
        _refuse("actor_type", actor=row.new_actor)
    if not actor.enabled:
        _refuse("actor_disabled", actor=row.new_actor)
    if plan.kind is PlanKind.ROLLBACK or facts.observed is None:
        return
    seen = facts.observed.get(actor_id)
    if seen is None or seen.execution_path != actor.execution_path:
        _refuse("actor_moved", actor=row.new_actor, path=actor.execution_path)
    if row.identity_hash is None or seen.identity_hash != row.identity_hash:
        _refuse("identity_changed", actor=row.new_actor, why="its identity differs")
