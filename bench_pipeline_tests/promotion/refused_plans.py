"""Ways in which a plan is refused: `TABLE` holds each reason with a set-up that leads to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, update

from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.plan import (
    ApprovalMode,
)
from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import conversations
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, IMPROVE, REGRADE, task_value
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.benchmark_of_fast import (
    BENCHMARK,
    MOMENT,
    PLAN,
    SEEN,
    applied,
    approved,
    of,
    one_row_more,
    reverse,
    rewritten_by_a_trigger,
    stored,
    undone,
    with_terms,
)
from bench_pipeline_tests.promotion.guarantees.hands import edit

# One set-up per way to be refused


@dataclass(frozen=True)
class Attempt:
    """What is applied and with which facts it is refused. `foreseen`: what the plan waits for says so too."""

    plan_hash: str
    facts: dict[str, object]
    seen: Sequence[Observed] = SEEN
    foreseen: bool = True


SetUp = Callable[[World], Attempt]
TABLE: list[tuple[str, SetUp]] = []


def refuses(reason: str) -> Callable[[SetUp], SetUp]:
    def add(set_up: SetUp) -> SetUp:
        TABLE.append((reason, set_up))
        return set_up

    return add


def changed(statement: Any, facts: dict[str, object], foreseen: bool = True) -> SetUp:  # noqa: ANN401 - any statement
    def set_up(world: World) -> Attempt:
        plan_hash = stored(world)
        world.change(statement)
        return Attempt(plan_hash, facts, foreseen=foreseen)

    return set_up


@refuses("plan_unknown")
def never_stored(world: World) -> Attempt:
    return Attempt("0" * 64, {"plan_hash": "0" * 64})


@refuses("plan_altered")
def altered(world: World) -> Attempt:
    plan_hash = stored(world)
    world.falsify(tables.plans, update(tables.plans).values(document="{}"))
    return Attempt(plan_hash, {"plan_hash": plan_hash})


@refuses("plan_undone")
def applied_and_undone(world: World) -> Attempt:
    undone(world)
    return Attempt(of(world).hash, {"reason": "too slow"})


@refuses("changed_since")
def edited_after_it_was_applied(world: World) -> Attempt:
    number = applied(world)
    world.give(GRADE_B, WRONG)
    facts = {"promotion_id": number, "conversation_id": GRADE_B, "holds": WRONG, "planned": FAST}
    return Attempt(of(world).hash, facts)


@refuses("changed_since")
def deleted_after_it_was_applied(world: World) -> Attempt:
    number = applied(world)
    world.change(delete(conversations).where(conversations.c.conversation_id == GRADE_B))
    facts = {"promotion_id": number, "conversation_id": GRADE_B, "holds": None, "planned": FAST}
    return Attempt(of(world).hash, facts)


def frozen_by_cem(world: World) -> None:
    world.freeze(True, "the fair", "Cem")


FROZEN = {"set_by": "Cem", "set_at": MOMENT, "reason": "the fair"}


@refuses("frozen")
def a_promotion_in_a_freeze(world: World) -> Attempt:
    plan_hash = stored(world)
    frozen_by_cem(world)
    return Attempt(plan_hash, dict(FROZEN))


@refuses("frozen")
def undoing_a_rollback_in_a_freeze(world: World) -> Attempt:
    back = undone(world)
    frozen_by_cem(world)
    return Attempt(stored(world, reverse(back, 2)), dict(FROZEN))


@refuses("plan_expired")
def made_too_long_ago(world: World) -> Attempt:
    plan_hash = stored(world, at=datetime.now(UTC) - timedelta(hours=168.1))
    return Attempt(plan_hash, {"made_at": MOMENT, "plan_hours": 168})


@refuses("approval_missing")
def not_approved(world: World) -> Attempt:
    plan_hash = stored(world, with_terms(approval=ApprovalMode.REQUIRED))
    return Attempt(plan_hash, {"short": plan_hash[:12]})


@refuses("approval_expired")
def approved_too_long_ago(world: World) -> Attempt:
    plan_hash = stored(world, with_terms(approval=ApprovalMode.REQUIRED))
    approved(world, plan_hash, "Ann", hours_ago=72.1)
    facts = {"approved_by": "Ann", "approved_at": MOMENT, "approval_hours": 72, "short": plan_hash[:12]}
    return Attempt(plan_hash, facts)


@refuses("approval_own")
def approved_by_a_requester_alone(world: World) -> Attempt:
    plan_hash = stored(world, with_terms(approval=ApprovalMode.REQUIRED, second_person=True))
    approved(world, plan_hash, "the tests")
    return Attempt(plan_hash, {"approved_by": world.signer("the tests"), "short": plan_hash[:12]})


@refuses("too_many_rows")
def more_rows_than_its_terms_allow(world: World) -> Attempt:
    return Attempt(stored(world, with_terms(max_rows=2)), {"rows": 3, "max_rows": 2})


@refuses("evidence_gone")
def its_benchmark_was_deleted(world: World) -> Attempt:
    gone = PLAN.evidence[0].model_copy(update={"benchmark_id": "grading-0"})
    return Attempt(stored(world, PLAN.model_copy(update={"evidence": (gone,)})), {"benchmark_id": "grading-0"})


@refuses("no_evidence")
def no_benchmark_is_named(world: World) -> Attempt:
    return Attempt(stored(world, PLAN.model_copy(update={"evidence": ()})), {"task": "grading"})


@refuses("identity_changed")
def another_model_was_seen(world: World) -> Attempt:
    facts = {"actor": "fast", "why": "its identity differs"}
    return Attempt(stored(world), facts, [replace(SEEN[0], identity_hash="0" * 64)], foreseen=False)


@refuses("actor_gone")
def the_new_actor_was_deleted(world: World) -> Attempt:
    plan_hash = stored(world)
    world.remove_actor(FAST)
    return Attempt(plan_hash, {"actor_id": FAST, "actor": "fast"})


def actor(foreseen: bool = True, **values: object) -> SetUp:
    def set_up(world: World) -> Attempt:
        plan_hash = stored(world)
        world.set_actor(FAST, **values)
        path = {"path": values["execution_path"]} if "execution_path" in values else {}
        return Attempt(plan_hash, {"actor": "fast"} | path, foreseen=foreseen)

    return set_up


_RUNS, _LINES, _SAMPLES = tables.benchmark_runs, tables.benchmark_history, tables.benchmark_samples
_IN_BENCHMARK = {"benchmark_id": BENCHMARK}
_TWO = task_value() | {"conversations": [GRADE_A, REGRADE]}
_OLD = datetime.now(UTC) - timedelta(days=35.1)
_NOT_SHOWN = "its samples do not show every case right"
TABLE += [
    ("actor_disabled", actor(enabled=False)),
    ("actor_type", actor(actor_type="script")),
    ("actor_moved", actor(execution_path="ollama:slow:7b", foreseen=False)),
    ("evidence_changed", changed(update(_RUNS).values(evidence_hash="0" * 64), _IN_BENCHMARK)),
    ("evidence_invalid", changed(update(_RUNS).values(invalid="drift"), _IN_BENCHMARK | {"reason": "drift"})),
    ("evidence_gone", changed(delete(_LINES), _IN_BENCHMARK)),
    (
        "not_listed",
        changed(
            update(_RUNS).values(task=_TWO),
            {"conversation_id": GRADE_B, "conversation": "Grade B", "task": "grading"},
        ),
    ),
    (
        "evidence_old",
        changed(
            update(tables.benchmark_model_runs).values(started_at=_OLD),
            {"model": "fast", "measured_at": MOMENT, "evidence_days": 35},
        ),
    ),
    (
        "not_qualified",
        changed(
            update(_LINES).values(standing="disqualified", cases_correct=3),
            _IN_BENCHMARK | {"model": "fast", "why": "disqualified, 3/4 correct"},
        ),
    ),
    (
        "not_qualified",
        changed(
            update(_SAMPLES).where(_SAMPLES.c.case_id == "PASS_001").values(outcome="invalid"),
            _IN_BENCHMARK | {"model": "fast", "why": _NOT_SHOWN},
        ),
    ),
    (
        "conversation_changed",
        changed(
            edit(GRADE_B, WRONG),
            {"conversation_id": GRADE_B, "conversation": "Grade B", "planned": SLOW, "planned_name": "slow",
             "holds": WRONG},
        ),
    ),
]  # fmt: skip


AMBIGUOUS = {"conversation_id": GRADE_B, "conversation": "Grade B", "rows": 2}


@refuses("conversation_ambiguous")
def a_promotion_of_a_conversation_that_has_two_rows(world: World) -> Attempt:
    plan_hash = stored(world)
    one_row_more(world, GRADE_B, SLOW)
    return Attempt(plan_hash, dict(AMBIGUOUS))


@refuses("conversation_ambiguous")
def a_rollback_of_a_conversation_that_has_two_rows(world: World) -> Attempt:
    number = applied(world)
    one_row_more(world, GRADE_B, FAST)
    return Attempt(stored(world, reverse(PLAN, number)), dict(AMBIGUOUS))


@refuses("conversation_ambiguous")
def a_conversation_of_which_only_one_row_holds_the_old_actor(world: World) -> Attempt:
    plan_hash = stored(world)
    one_row_more(world, GRADE_B, WRONG)
    return Attempt(plan_hash, dict(AMBIGUOUS))


@refuses("not_as_written")
def a_trigger_writes_another_actor(world: World) -> Attempt:
    plan_hash = stored(world)
    rewritten_by_a_trigger(world)
    return Attempt(plan_hash, {"conversation_id": GRADE_B, "holds": WRONG, "planned": FAST}, foreseen=False)


@refuses("undone_already")
def undone_a_second_time(world: World) -> Attempt:
    undone(world)
    return Attempt(stored(world, reverse(PLAN, 1, "once more")), {"promotion_id": 1, "reason": "too slow"})


@refuses("not_an_undoing")
def a_rollback_without_one_of_the_rows(world: World) -> Attempt:
    back = reverse(PLAN, applied(world))
    return Attempt(stored(world, back.model_copy(update={"rows": back.rows[1:]})), {"promotion_id": 1})


@refuses("not_an_undoing")
def a_rollback_of_another_conversation(world: World) -> Attempt:
    back = reverse(PLAN, applied(world))
    other = back.rows[0].model_copy(update={"conversation_id": IMPROVE})
    return Attempt(stored(world, back.model_copy(update={"rows": (other, *back.rows[1:])})), {"promotion_id": 1})


@refuses("not_an_undoing")
def a_rollback_of_nothing(world: World) -> Attempt:
    nothing = reverse(PLAN, 1).model_copy(update={"undoes": None})
    return Attempt(stored(world, nothing), {"promotion_id": None})
