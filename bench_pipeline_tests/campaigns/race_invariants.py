"""What must hold after a race: the audit, the promoters' answers and the application's own log tell one story.

The transactions of the log are played again in the order of their commits, and each promotion among them is asked
what it found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from bench_pipeline.domain.promoting.plan import PlanKind, PromotionPlan
from bench_pipeline.storage.tables import promotion_rows, promotions
from bench_pipeline_tests.campaigns.contenders import APPLIED, OPERATOR, PROMOTER, Act, Edit, Outcome, Promote, Undo
from bench_pipeline_tests.campaigns.race_log import Line
from bench_pipeline_tests.campaigns.template_world import NEW, OLD
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.production import conversations

Rows = Mapping[int, int | None]
ROW_CHANGED, DISABLED, FROZEN, BUSY = "conversation_changed", "actor_disabled", "frozen", "busy"
AFTERWARDS, UNDONE = "changed_since", "undone_already"


@dataclass(frozen=True)
class Change:
    """A promotion or rollback as the audit tells it: what it changed, from what to what, and what it left alone."""

    kind: PlanKind
    plan_hash: str
    changed: Mapping[int, tuple[int | None, int | None]]
    left: frozenset[int]


@dataclass(frozen=True)
class Fought:
    """A race that is over. `start` and `end` are the task's rows; `audit` tells of this race's changes alone."""

    start: Rows
    plans: Mapping[str, PromotionPlan]
    acts: Sequence[tuple[Act, Outcome]]
    transactions: Sequence[Sequence[Line]]
    audit: Mapping[int, Change]
    end: Rows

    @property
    def lines(self) -> list[Line]:
        """All lines of the log."""
        return [line for transaction in self.transactions for line in transaction]


def audit_since(connection: Connection, promotion_id: int) -> dict[int, Change]:
    """Return what the audit tells of the changes after this one."""
    found = {}
    heads = connection.execute(
        select(promotions.c.promotion_id, promotions.c.kind, promotions.c.plan_hash)
        .where(promotions.c.promotion_id > promotion_id)
        .order_by(promotions.c.promotion_id)
    ).all()
    c = promotion_rows.c
    for number, kind, plan_hash in heads:
        query = select(c.conversation_id, c.old_actor_id, c.new_actor_id, c.changed).where(c.promotion_id == number)
        rows = connection.execute(query).all()
        changed = {row.conversation_id: (row.old_actor_id, row.new_actor_id) for row in rows if row.changed}
        left = frozenset(row.conversation_id for row in rows if not row.changed)
        found[number] = Change(PlanKind(kind), plan_hash, changed, left)
    return found


def held_rows(connection: Connection) -> dict[int, int | None]:
    """Return who carries out the task's conversations."""
    query = select(conversations.c.conversation_id, conversations.c.actor_id)
    return {number: actor for number, actor in connection.execute(query) if number in OLD}


def faults(fought: Fought) -> Iterator[str]:
    """Yield what does not hold."""
    yield from _Replay(fought).faults()
    yield from _faults_of_the_operators(fought)
    for act, outcome in fought.acts:
        if isinstance(act, Promote):
            yield from _faults_of_a_promoter(fought, act, outcome)
        elif isinstance(act, Undo):
            yield from _faults_of_who_undoes(fought, outcome)


@dataclass
class _Replay:
    """Production as it was after each commit."""

    fought: Fought
    enabled: dict[int, bool] = field(default_factory=lambda: {FAST: True, SLOW: True})
    frozen: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def faults(self) -> Iterator[str]:
        held = dict(self.fought.start)
        told = set(self.fought.audit)
        for transaction in self.fought.transactions:
            rows = [line for line in transaction if line.what == "conversation"]
            promotion = next((line.new_id for line in transaction if line.what == "promotion"), None)
            if promotion is not None or any(line.login == PROMOTER for line in rows):
                yield from self._faults_of_a_change(held, rows, promotion)
                told.discard(promotion or 0)
            for line in transaction:
                if line.what == "conversation":
                    if held[line.key] != line.old_id:
                        yield f"{line} does not follow from {held}"
                    held[line.key] = line.new_id
                elif line.what == "actor":
                    self.enabled[line.key] = line.holds
                elif line.what == "freeze":
                    self.frozen = line.holds
        if held != self.fought.end:
            yield f"production holds {self.fought.end}, its log ends with {held}"
        if told:
            yield f"the audit tells of promotions {sorted(told)}, which the log of production does not know"

    def _faults_of_a_change(self, held: Rows, rows: Sequence[Line], promotion: int | None) -> Iterator[str]:
        did = {line.key: (line.old_id, line.new_id) for line in rows}
        change = self.fought.audit.get(promotion or 0)
        if change is None:
            yield f"{did} was changed without an audit"
            return
        if did != change.changed:
            yield f"production was changed as {did}, the audit tells {change.changed}"
        self.seen[change.plan_hash] += 1
        if self.seen[change.plan_hash] > 1:
            yield f"plan {change.plan_hash[:12]} was applied twice"
        if change.kind is PlanKind.ROLLBACK:
            yield from _faults_of_a_rollback(held, did, change)
        else:
            yield from self._faults_of_a_promotion(did, change)

    def _faults_of_a_promotion(self, did: Mapping[int, tuple[int | None, int | None]], change: Change) -> Iterator[str]:
        planned = {
            row.conversation_id: (row.old_actor_id, row.new_actor_id)
            for row in self.fought.plans[change.plan_hash].changes
        }
        for number, (old, _) in did.items():
            if number in planned and old != planned[number][0]:
                yield f"an edit is lost: conversation {number} held {old}, the plan expected {planned[number][0]}"
        if did != planned:
            yield f"not all or none: {did} of {planned}"
        for actor in {new for _, new in planned.values() if new is not None}:
            if not self.enabled[actor]:
                yield f"actor {actor} was disabled, and promoted afterwards"
        if self.frozen:
            yield "promotions were frozen, and one was committed afterwards"


def _faults_of_a_rollback(
    held: Rows, did: Mapping[int, tuple[int | None, int | None]], change: Change
) -> Iterator[str]:
    for number, (old, new) in did.items():
        if (old, new) != (NEW[number], OLD[number]):
            yield f"an edit is lost: the rollback changed conversation {number} from {old} to {new}"
    for number in change.left:
        if held[number] == NEW[number]:
            yield f"the rollback left conversation {number}, which held what was promoted"


def _faults_of_the_operators(fought: Fought) -> Iterator[str]:
    """What they were told is committed is in the log, once, and nothing else of theirs is."""
    reported = Counter(
        (one.what, one.key, int(one.value) if one.value is not None else None)
        for act, outcome in fought.acts
        if isinstance(act, Edit)
        for one in outcome.committed
    )
    logged = Counter(
        (line.what, line.key, line.new_id if line.what == "conversation" else int(line.holds))
        for line in fought.lines
        if line.login == OPERATOR and line.what in ("conversation", "actor")
    )
    if reported != logged:
        yield f"operators committed {dict(reported)}, the log has {dict(logged)}"


def _faults_of_who_undoes(fought: Fought, outcome: Outcome) -> Iterator[str]:
    made = list(fought.audit)
    if outcome.word == APPLIED:
        if made != [outcome.promotion_id]:
            yield f"who undoes was told change {outcome.promotion_id}, the audit has {made}"
    elif outcome.word == UNDONE:
        if not made:
            yield "a rollback was refused because of another one, which is not there"
    elif outcome.word != BUSY:
        yield f"a rollback was refused as {outcome.word}"


def _faults_of_a_promoter(fought: Fought, act: Promote, outcome: Outcome) -> Iterator[str]:
    made = [number for number, change in fought.audit.items() if change.plan_hash == act.plan_hash]
    if outcome.word == APPLIED:
        if made != [outcome.promotion_id]:
            yield f"a promoter was told promotion {outcome.promotion_id}, the audit has {made}"
        return
    lines, plan = fought.lines, fought.plans[act.plan_hash]
    mine = {row.conversation_id for row in plan.changes}
    edited = any(line.what == "conversation" and line.key in mine for line in lines)
    true = {
        ROW_CHANGED: edited and not made,
        AFTERWARDS: edited and bool(made),
        DISABLED: any(line.what == "actor" and not line.holds for line in lines) and not made,
        FROZEN: any(line.what == "freeze" for line in lines) and not made,
        BUSY: any(isinstance(other, Edit) for other, _ in fought.acts) and not made,
    }
    if not true.get(outcome.word, False):
        yield f"plan {act.plan_hash[:12]} was refused as {outcome.word}, which nothing in the log explains"
