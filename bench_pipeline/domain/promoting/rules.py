"""The rules of a promotion, in their order: one pure function over a plan and the facts about it.

The SQLite writer applies plans by them, and what a plan waits for is answered by them. PostgreSQL's function
`storage/writers/apply.sql` is the only second copy; a test takes both through every refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn, TypeVar

from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.approval import approver, check_not_ahead, moment_text
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.facts import (
    EvidenceNow,
    Facts,
    MeasuredActor,
    NewerBenchmark,
    NewerLine,
    StoredPlan,
)
from bench_pipeline.domain.promoting.plan import ApprovalMode, PlanEvidence, PlanKind, PlanRow, PromotionPlan, TaskTerms
from bench_pipeline.domain.promoting.refusal import PlanRefused

Line = TypeVar("Line")
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
    _check_complete(plan, facts)
    if plan.terms.schema_hash != facts.schema_hash:
        _refuse("schema_changed")
    approved_by = None
    if plan.changes:
        if not _goes_back(facts):
            _check_not_frozen(facts)
        _check_young(plan, facts)
        approved_by = approver(plan.terms, facts.approvals, facts.requesters, facts.stored.plan_hash, facts.now)
        _check_size(plan, facts)
    for evidence in plan.evidence:
        _check_evidence(plan, evidence, facts)
    changed = {row.conversation_id: _check_row(plan, row, facts) for row in plan.changes}
    return Admission(approved_by=approved_by, changed=changed)


def is_changed(plan: PromotionPlan, row: PlanRow, matched: int, held: ActorId | None, suspects: str = "") -> bool:
    """Return whether a row is changed when `matched` rows of its conversation hold the planned old actor.

    A rollback leaves a conversation alone that was changed since. `held` is the actor that it holds now, `suspects`
    what may have stopped a write. Raises `PlanRefused`.
    """
    if matched == 0 and held == row.old_actor_id and held is not None:
        about = {"conversation_id": row.conversation_id, "conversation": row.conversation, "holds": held}
        _refuse("update_ignored", **about, suspects=suspects)
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


def _check_complete(plan: PromotionPlan, facts: Facts) -> None:
    """A plan of a program that left something out does not escape the rule about it."""
    for row in plan.rows:
        if plan.kind is PlanKind.PROMOTION and row.decision is None:
            _refuse("plan_malformed", what="rows.decision", short=facts.stored.plan_hash[:12])
    for evidence in plan.evidence:
        _terms(evidence, facts)


def _check_not_frozen(facts: Facts) -> None:
    last = facts.freeze
    if last is not None and last.frozen:
        _refuse("frozen", set_by=last.signer, set_at=moment_text(last.set_at), reason=last.reason)


def _check_young(plan: PromotionPlan, facts: Facts) -> None:
    hours, made_at = plan.terms.plan_hours, facts.stored.made_at
    check_not_ahead("the plan", made_at, facts.now)
    if made_at < facts.now - timedelta(hours=hours):
        _refuse("plan_expired", made_at=moment_text(made_at), plan_hours=hours)


def _check_size(plan: PromotionPlan, facts: Facts) -> None:
    """The limit is that of the plan, and those that its tasks set, in the plan and as recorded last."""
    rows, limits = len(plan.changes), [plan.terms.max_rows]
    for of_tasks in zip(*(_terms(evidence, facts) for evidence in plan.evidence), strict=True):
        stated = [terms.max_rows for terms in of_tasks if terms.max_rows is not None]
        if len(stated) == len(of_tasks):
            limits.append(sum(stated))
    most = min(limits)
    if rows > most:
        _refuse("too_many_rows", rows=rows, max_rows=most)


def _terms(evidence: PlanEvidence, facts: Facts) -> tuple[TaskTerms, TaskTerms]:
    """Return what the task allows by the plan, which an approval covers, and by what was recorded last."""
    planned = evidence.task_terms
    if planned is None or planned.task != evidence.task:
        _refuse("plan_malformed", what="evidence.task_terms", short=facts.stored.plan_hash[:12])
    return planned, facts.task_terms.get(evidence.task, planned)


# What it rests on


def _check_evidence(plan: PromotionPlan, evidence: PlanEvidence, facts: Facts) -> None:
    found = facts.evidence.get(evidence)
    if found is None:
        _refuse("evidence_gone", benchmark_id=evidence.benchmark_id)
    if found.evidence_hash != evidence.evidence_hash:
        _refuse("evidence_changed", benchmark_id=evidence.benchmark_id)
    for row in plan.rows:
        if row.task != evidence.task:
            continue
        if row.changes:
            _check_terms(plan, row, evidence, found, facts)
            _check_recent(plan, row, _check_measured(row, evidence, found), facts)
            _check_not_contradicted(plan, row, evidence, found, facts)
        elif row.confirms:
            _check_measured(row, evidence, found)


def _check_terms(plan: PromotionPlan, row: PlanRow, evidence: PlanEvidence, found: EvidenceNow, facts: Facts) -> None:
    """Check the task: which conversations it serves, which need no approval, and that it still measures the same."""
    if found.invalid is not None:
        _refuse("evidence_invalid", benchmark_id=evidence.benchmark_id, reason=found.invalid)
    planned, now = _terms(evidence, facts)
    about = {"conversation_id": row.conversation_id, "conversation": row.conversation}
    served = (found.conversations, planned.conversations, now.conversations)
    if any(row.conversation_id not in conversations for conversations in served):
        _refuse("not_listed", **about, task=row.task)
    if facts.own_prompts.get(row.conversation_id) != row.own_prompt:
        _refuse("prompt_changed", **about)
    if plan.kind is not PlanKind.PROMOTION:
        return
    marked = row.conversation_id in planned.auto and row.conversation_id in now.auto
    if plan.terms.approval is ApprovalMode.AUTO and not marked:
        _refuse("not_marked", **about, task=row.task)
    for what, measured, present in (
        ("suite", found.suite_hash, now.suite_hash),
        ("prompt", found.prompt_hash, now.prompt_hash),
    ):
        if measured != present:
            _refuse("task_changed", task=row.task, what=what, benchmark_id=evidence.benchmark_id)


def _check_measured(row: PlanRow, evidence: PlanEvidence, found: EvidenceNow) -> MeasuredActor:
    """The registry names only what was measured: champion and runner-up qualified, at the latency of the plan."""
    line = _line(found.actors, row.new_actor_id)
    if line is None:
        _refuse("evidence_gone", benchmark_id=evidence.benchmark_id)
    why = _disqualified(line, found.cases)
    if not why and row.avg_latency_ms != line.latency_ms:
        why = "the plan states another latency than was measured"
    if why:
        _refuse("not_qualified", model=row.new_actor, benchmark_id=evidence.benchmark_id, why=why)
    if row.runner_up_actor_id is not None:
        second = found.actors.get(row.runner_up_actor_id)
        why = _disqualified(second, found.cases) if second is not None else "it was not measured"
        if why:
            _refuse("not_qualified", model=row.runner_up, benchmark_id=evidence.benchmark_id, why=why)
    return line


def _check_recent(plan: PromotionPlan, row: PlanRow, line: MeasuredActor, facts: Facts) -> None:
    started_at, days = line.started_at, plan.terms.evidence_days
    check_not_ahead("the measurement", started_at, facts.now)
    if started_at < facts.now - timedelta(days=days):
        _refuse("evidence_old", model=row.new_actor, measured_at=moment_text(started_at), evidence_days=days)


def _check_not_contradicted(
    plan: PromotionPlan, row: PlanRow, evidence: PlanEvidence, found: EvidenceNow, facts: Facts
) -> None:
    """Check against what happened after the benchmark: a bar, a newer benchmark, another champion."""
    about = {"conversation_id": row.conversation_id, "conversation": row.conversation}
    bar = facts.bars.on(row, evidence)
    if bar is not None:
        facts_of_bar = {"why": bar.removal, "promotion_id": bar.promotion_id}
        _refuse("barred", actor=row.new_actor, conversation_id=row.conversation_id, **facts_of_bar)
    if plan.kind is PlanKind.FAILOVER:
        champion = facts.registry.get(row.conversation_id)
        registered = champion and (champion.champion_actor_id, champion.runner_up_actor_id, champion.benchmark_id)
        if registered != (row.old_actor_id, row.new_actor_id, evidence.benchmark_id):
            _refuse("not_a_failover", **about)
        return
    for newer in found.newer:
        line, old = _line(newer.actors, row.new_actor_id), _line(newer.actors, row.old_actor_id)
        if line is None or not _speaks(newer, line, row, old):
            continue
        if not _agrees(newer, line, row, old):
            ids = {"planned_id": evidence.benchmark_id, "newer_id": newer.benchmark_id}
            _refuse("plan_outdated", task=row.task, **ids, **about)
        return


def _line(lines: Mapping[ActorId, Line], actor_id: ActorId | None) -> Line | None:
    return None if actor_id is None else lines.get(actor_id)


def _speaks(newer: NewerBenchmark, line: NewerLine, row: PlanRow, old: NewerLine | None) -> bool:
    """Whether a newer benchmark says something about a row: a wrong answer always does, latencies if comparable."""
    if line.standing == "disqualified":
        return True
    both = row.old_actor_id is None or (old is not None and old.standing != "inconclusive")
    return newer.same_protocol and line.standing == "qualified" and both


def _agrees(newer: NewerBenchmark, line: NewerLine, row: PlanRow, old: NewerLine | None) -> bool:
    """Whether the planned actor is the champion there too, and faster than the one that it replaces."""
    if line.standing != "qualified":
        return False
    ranked = {actor_id: one for actor_id, one in newer.actors.items() if one.rank is not None}
    met = old is not None and old.standing == "qualified" and old.in_final
    # As in decision.py: where the incumbent was in a final, the champion is the fastest of that final.
    champion = min(ranked, key=lambda actor_id: (met and not ranked[actor_id].in_final, ranked[actor_id].rank or 0))
    if champion != row.new_actor_id:
        return False
    if old is None or old.standing != "qualified":
        return True
    return line.latency_ms is not None and old.latency_ms is not None and line.latency_ms < old.latency_ms


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
