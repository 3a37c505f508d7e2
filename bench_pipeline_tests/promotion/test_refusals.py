"""Both databases refuse a plan for the same reasons with the same facts, and what a plan waits for agrees with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update

from bench_pipeline import domain, storage
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.plan import (
    ApprovalMode,
    PlanEvidence,
    PlanKind,
    PlanRow,
    PlanTerms,
    PromotionPlan,
)
from bench_pipeline.domain.promoting.refusal import SENTENCES, PlanRefused
from bench_pipeline.promotion.gates import awaited, set_freeze
from bench_pipeline.storage import tables
from bench_pipeline.storage.plans import insert_approval, plan_by_hash
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import conversations
from bench_pipeline_tests.kit.tasks import CASES, GRADE_A, GRADE_B, IMPROVE, REGRADE, suite_value, task_value
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import edit, hurry, operator, state

BENCHMARK = "grading-1"
MOMENT = "a moment"
PATH = "ollama:fast:1b"
SEEN = (Observed(FAST, PATH, "i" * 64),)
NAMES = {GRADE_A: "Grade A", GRADE_B: "Grade B", REGRADE: "Regrade"}
TERMS = PlanTerms(
    min_gain=0.05,
    max_rows=20,
    evidence_days=35,
    plan_hours=168,
    approval=ApprovalMode.AUTO,
    approval_hours=72,
    second_person=False,
    schema_hash="s",
)
PLAN = PromotionPlan(
    evidence=(PlanEvidence(task="grading", benchmark_id=BENCHMARK, evidence_hash="e" * 64),),
    terms=TERMS,
    rows=tuple(
        PlanRow(
            task="grading",
            conversation_id=number,
            conversation=name,
            decision=DecisionKind.PROMOTE,
            reason="faster",
            old_actor_id=SLOW,
            old_actor="slow",
            new_actor_id=FAST,
            new_actor="fast",
            execution_path=PATH,
            identity_hash="i" * 64,
        )
        for number, name in NAMES.items()
    ),
)


# A benchmark of `fast`, and what is done with its plan


def store_benchmark(world: World) -> None:
    """Store a benchmark in which `fast` was right in every case, as a run and its ranking store it."""
    now = datetime.now(UTC)
    hashes = {name: name for name in ("evidence_key", "suite_hash", "prompt_hash", "protocol_hash")}
    versions = dict.fromkeys(("suite_version", "reader_version", "tool_version"), "1")
    values = {"suite": suite_value(), "task": task_value(), "protocol": {}, "hardware": {}}
    about = {"purpose": "benchmark", "status": "finished", "prompt_source": "task.yaml", "evidence_hash": "e" * 64}
    named = {"benchmark_id": BENCHMARK, "model_name": "fast", "actor_id": FAST}
    line = {"correctness_score": 100.0, "standing": "qualified", "cases": len(CASES), "cases_correct": len(CASES)}
    sample = {"model_run_id": 1, "repeat": 1, "batch": 1, "outcome": "correct", "expected": "PASS", "called_at": now}
    world.change(
        insert(tables.benchmark_runs).values(
            benchmark_id=BENCHMARK, task_type="grading", started_at=now, **hashes, **versions, **values, **about
        ),
        insert(tables.benchmark_model_runs).values(
            model_run_id=1, execution_path=PATH, identity={}, started_at=now, **named
        ),
        insert(tables.benchmark_samples).values([sample | {"case_id": case_id} for case_id in CASES]),
        insert(tables.benchmark_history).values(
            task_type="grading", model_run_id=1, benchmark_date=now, calls=len(CASES), failures=[], reason="",
            tied_with=[], benchmark_run_id=BENCHMARK, model="fast", model_name="fast", actor_id=FAST, **line
        ),
    )  # fmt: skip


def stored(world: World, plan: PromotionPlan = PLAN) -> str:
    world.store(plan)
    return plan.hash


def applied(world: World, plan: PromotionPlan = PLAN) -> int:
    promotion_id = world.bench.writer.apply(stored(world, plan), "the tests", None, list(SEEN))
    assert promotion_id is not None
    return promotion_id


def reverse(plan: PromotionPlan, promotion_id: int, reason: str = "too slow") -> PromotionPlan:
    rows = [
        PlanRow(
            task=row.task,
            conversation_id=row.conversation_id,
            conversation=row.conversation,
            decision=None,
            reason=reason,
            old_actor_id=row.new_actor_id,
            old_actor=row.new_actor,
            new_actor_id=row.old_actor_id,
            new_actor=row.old_actor,
        )
        for row in plan.rows
    ]
    return PromotionPlan(
        kind=PlanKind.ROLLBACK, undoes=promotion_id, reason=reason, evidence=(), terms=TERMS, rows=tuple(rows)
    )


def undone(world: World) -> PromotionPlan:
    """Apply the plan and undo it; return the plan of the rollback."""
    back = reverse(PLAN, applied(world))
    applied(world, back)
    return back


def with_terms(**values: object) -> PromotionPlan:
    return PLAN.model_copy(update={"terms": TERMS.model_copy(update=values)})


def approved(world: World, plan_hash: str, by: str, hours_ago: float = 0) -> None:
    with world.database.writing() as connection:
        insert_approval(connection, plan_hash, by, datetime.now(UTC) - timedelta(hours=hours_ago))


def without_key(world: World) -> None:
    """Let production's conversations have no primary key."""
    if world.promoter_url is not None:
        return world.change(text("ALTER TABLE conversations DROP CONSTRAINT conversations_pkey"))
    return world.change(
        text("CREATE TABLE copy AS SELECT * FROM conversations"),
        text("DROP TABLE conversations"),
        text("ALTER TABLE copy RENAME TO conversations"),
    )


def one_row_more(world: World, conversation_id: int, actor_id: int) -> None:
    without_key(world)
    again = {"conversation_id": conversation_id, "conversation_name": "again", "actor_id": actor_id}
    world.change(insert(conversations).values(again))


def rewritten_by_a_trigger(world: World) -> None:
    """A trigger of the application gives `Grade B` another actor, whatever is written there."""
    when = f"ON conversations FOR EACH ROW WHEN (NEW.conversation_id = {GRADE_B})"
    if world.promoter_url is None:
        again = f"UPDATE conversations SET actor_id = {WRONG} WHERE conversation_id = {GRADE_B}"  # noqa: S608
        world.change(text(f"CREATE TRIGGER meddle AFTER UPDATE {when} BEGIN {again}; END"))
    else:
        body = f"$$ BEGIN NEW.actor_id := {WRONG}; RETURN NEW; END $$"
        world.change(
            text(f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS {body}"),
            text(f"CREATE TRIGGER meddle BEFORE UPDATE {when} EXECUTE FUNCTION meddle()"),
        )


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
    return Attempt(PLAN.hash, {"reason": "too slow"})


@refuses("changed_since")
def edited_after_it_was_applied(world: World) -> Attempt:
    number = applied(world)
    world.give(GRADE_B, WRONG)
    facts = {"promotion_id": number, "conversation_id": GRADE_B, "holds": WRONG, "planned": FAST}
    return Attempt(PLAN.hash, facts)


@refuses("changed_since")
def deleted_after_it_was_applied(world: World) -> Attempt:
    number = applied(world)
    world.change(delete(conversations).where(conversations.c.conversation_id == GRADE_B))
    facts = {"promotion_id": number, "conversation_id": GRADE_B, "holds": None, "planned": FAST}
    return Attempt(PLAN.hash, facts)


FROZEN = {"set_by": "Cem", "set_at": MOMENT, "reason": "the fair"}


@refuses("frozen")
def a_promotion_in_a_freeze(world: World) -> Attempt:
    plan_hash = stored(world)
    set_freeze(world.database, True, "the fair", "Cem")
    return Attempt(plan_hash, dict(FROZEN))


@refuses("frozen")
def undoing_a_rollback_in_a_freeze(world: World) -> Attempt:
    back = undone(world)
    set_freeze(world.database, True, "the fair", "Cem")
    return Attempt(stored(world, reverse(back, 2)), dict(FROZEN))


@refuses("plan_expired")
def made_too_long_ago(world: World) -> Attempt:
    world.store(PLAN, at=datetime.now(UTC) - timedelta(hours=168.1))
    return Attempt(PLAN.hash, {"made_at": MOMENT, "plan_hours": 168})


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
    return Attempt(plan_hash, {"approved_by": "the tests", "short": plan_hash[:12]})


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


EVERY_WAY = [
    pytest.param(reason, set_up, id=f"{reason}-{number}") for number, (reason, set_up) in enumerate(TABLE, start=1)
]


@pytest.mark.parametrize(("reason", "set_up"), EVERY_WAY)
def test_both_databases_refuse_with_the_same_reason_and_facts(world: World, reason: str, set_up: SetUp) -> None:
    store_benchmark(world)
    attempt = set_up(world)
    before = state(world)

    with pytest.raises(PlanRefused) as refused:
        world.bench.writer.apply(attempt.plan_hash, "the tests", None, list(attempt.seen))

    assert (refused.value.reason, normal(refused.value.facts)) == (reason, attempt.facts)
    assert state(world) == before
    assert waits(world, attempt.plan_hash) == (said(refused.value) if attempt.foreseen else "")


def normal(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts, with every moment that is written in UTC to the second replaced."""
    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
    return {name: MOMENT if moment.fullmatch(str(value)) else value for name, value in facts.items()}


def waits(world: World, plan_hash: str) -> str:
    with world.database.engine.connect() as connection:
        plan = plan_by_hash(connection, plan_hash)
    return awaited(world.bench, plan) if plan else str(PlanRefused("plan_unknown", {"plan_hash": plan_hash}))


def said(refused: PlanRefused) -> str:
    """What `awaited` says of a refusal: an approval that can be given comes with its command and with by whom."""
    words = {
        "approval_missing": f"needs an approval: bench approve {refused.facts.get('short')}",
        "approval_own": f"{refused} by somebody other than the tests",
    }
    return words.get(refused.reason, str(refused))


def test_a_database_that_is_busy_too_long_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store_benchmark(world)
    plan_hash = stored(world)
    hurry(world, monkeypatch)
    with operator(world) as connection:
        connection.execute(edit(REGRADE, SLOW))
        with pytest.raises(PlanRefused) as refused:
            world.bench.writer.apply(plan_hash, "the tests", None, list(SEEN))
        connection.rollback()
    assert (refused.value.reason, refused.value.facts.keys()) == ("busy", {"seconds"})


def test_a_plan_that_nothing_forbids_is_applied_and_waits_for_nothing(world: World) -> None:
    store_benchmark(world)
    assert waits(world, stored(world)) == ""
    applied(world)
    assert world.holds() == [FAST] * 3
    assert waits(world, PLAN.hash) == ""


def test_a_rollback_waits_for_nothing_in_a_freeze(world: World) -> None:
    store_benchmark(world)
    number = applied(world)
    set_freeze(world.database, True, "the fair", "Cem")
    back = reverse(PLAN, number)
    assert waits(world, stored(world, back)) == ""
    applied(world, back)
    assert world.holds() == [SLOW] * 3


# Which reasons there are


_SQL = Path(storage.__file__).parent / "writers" / "apply.sql"
_RULES = [Path(domain.__file__).parent / "promoting" / name for name in ("rules.py", "approval.py")]
OUTSIDE_THE_WRITERS = {
    "plan_outdated",  # compares with a newer benchmark before the plan is handed to a writer
    "barred",  # reads the changes in force before the plan is handed to a writer
    "prompt_changed",  # compares the prompts of the conversations with the measured one before
    "schema_changed",  # compares production's schema before
    "identity_unknown",  # a runtime did not answer, so nothing could be handed to a writer
}
BY_THE_DRIVER = {"busy"}  # the databases' own error, with a limit of their own


def reasons_in(path: Path) -> set[str]:
    pattern = r"MESSAGE = '(\w+)'" if path.suffix == ".sql" else r"(?:_refuse|PlanRefused)\(\s*\"(\w+)\""
    return set(re.findall(pattern, path.read_text(encoding="utf-8")))


def test_the_table_holds_every_reason_that_the_rules_and_the_function_name() -> None:
    named = {reason for reason, _ in TABLE}
    assert named == reasons_in(_SQL) == set[str]().union(*map(reasons_in, _RULES))
    assert named | OUTSIDE_THE_WRITERS | BY_THE_DRIVER == SENTENCES.keys()


def test_a_refusal_reads_as_a_sentence() -> None:
    refused = PlanRefused("actor_disabled", {"actor": "fast"})
    assert (refused.reason, str(refused)) == (
        "actor_disabled",
        "actor fast is disabled; nothing was changed, make a new plan",
    )
