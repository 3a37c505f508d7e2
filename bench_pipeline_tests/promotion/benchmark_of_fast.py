"""A stored benchmark in which `fast` was right, a plan from it, and what is done with both."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import insert, text, update

from bench_pipeline.domain.hashing import canonical_json
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.plan import (
    ApprovalMode,
    PlanEvidence,
    PlanKind,
    PlanRow,
    PlanTerms,
    PromotionPlan,
    TaskTerms,
)
from bench_pipeline.storage import tables
from bench_pipeline.storage.plans import insert_approval, record_task_terms
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import conversations
from bench_pipeline_tests.kit.tasks import CASES, GRADE_A, GRADE_B, REGRADE, suite_value, task_value
from bench_pipeline_tests.kit.world import World

BENCHMARK = "grading-1"
MOMENT = "a moment"
PATH = "ollama:fast:1b"
IDENTITY = ModelIdentity(name="fast:1b", runtime="ollama").model_dump(mode="json")
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
TASK = TaskTerms(
    task="grading",
    conversations=tuple(NAMES),
    auto=tuple(NAMES),
    max_rows=None,
    suite_hash="suite_hash",
    prompt_hash="prompt_hash",
)
PLAN = PromotionPlan(
    evidence=(PlanEvidence(task="grading", benchmark_id=BENCHMARK, evidence_hash="e" * 64, task_terms=TASK),),
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


def store_benchmark(world: World, benchmark_id: str = BENCHMARK, **of_line: object) -> None:
    """Store a benchmark in which `fast` was right in every case, as a run and its ranking store it.

    `of_line` changes its line in the history.
    """
    now, number = datetime.now(UTC), int(benchmark_id.removeprefix("grading-"))
    hashes = {name: name for name in ("evidence_key", "suite_hash", "prompt_hash", "protocol_hash")}
    versions = dict.fromkeys(("suite_version", "reader_version", "tool_version"), "1")
    values = {"suite": suite_value(), "task": task_value(), "protocol": {}, "hardware": {}}
    about = {"purpose": "benchmark", "status": "finished", "prompt_source": "task.yaml", "evidence_hash": "e" * 64}
    named = {"benchmark_id": benchmark_id, "model_name": "fast", "actor_id": FAST}
    line = {"correctness_score": 100.0, "standing": "qualified", "cases": len(CASES), "cases_correct": len(CASES)}
    line |= {"rank": 1} | of_line
    sample = {
        "model_run_id": number,
        "repeat": 1,
        "batch": 1,
        "outcome": "correct",
        "expected": "PASS",
        "called_at": now,
    }
    world.change(
        insert(tables.benchmark_runs).values(
            benchmark_id=benchmark_id, task_type="grading", started_at=now, **hashes, **versions, **values, **about
        ),
        insert(tables.benchmark_model_runs).values(
            model_run_id=number, execution_path=PATH, identity=IDENTITY, started_at=now, **named
        ),
        insert(tables.benchmark_samples).values([sample | {"case_id": case_id} for case_id in CASES]),
        insert(tables.benchmark_history).values(
            task_type="grading", model_run_id=number, benchmark_date=now, calls=len(CASES), failures=[], reason="",
            tied_with=[], benchmark_run_id=benchmark_id, model="fast", model_name="fast", actor_id=FAST, **line
        ),
    )  # fmt: skip


def of(world: World, plan: PromotionPlan = PLAN) -> PromotionPlan:
    """The plan, made for the schema that this database has."""
    with world.database.engine.connect() as connection:
        schema_hash = world.production.live_schema_hash(connection)
    return plan.model_copy(update={"terms": plan.terms.model_copy(update={"schema_hash": schema_hash})})


def stored(world: World, plan: PromotionPlan = PLAN, at: datetime | None = None) -> str:
    made = of(world, plan)
    world.store(made, at=at)
    return made.hash


def forged(world: World, **fields: object) -> str:
    """Store a document that no program of ours makes, under its right hash."""
    document = canonical_json(of(world).model_dump(mode="json") | fields)
    plan_hash = sha256(document.encode()).hexdigest()
    row = {"plan_hash": plan_hash, "kind": "promotion", "terms_hash": "t", "tasks": "grading", "document": document}
    world.change(insert(tables.plans).values(**row, requested_by="x", made_at=datetime.now(UTC)))
    return plan_hash


def recorded(world: World, **terms: object) -> None:
    """What the task's files say now, as a benchmark or a promotion records it."""
    with world.database.writing() as connection:
        record_task_terms(connection, TASK.model_copy(update=terms), "the tests", datetime.now(UTC))


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
    with world.signed_as(by) as database, database.writing() as connection:
        insert_approval(connection, plan_hash, by, datetime.now(UTC))
    if hours_ago:
        at = datetime.now(UTC) - timedelta(hours=hours_ago)
        world.falsify(tables.approvals, update(tables.approvals).values(approved_at=at))


def without_key(world: World) -> None:
    """Let production's conversations have no primary key."""
    if world.promoter_url is not None:
        return world.change(text("ALTER TABLE conversations DROP CONSTRAINT conversations_pkey"))
    with world.owner.engine.connect() as connection:
        stated = "SELECT sql FROM sqlite_master WHERE name = 'conversations'"
        made = str(connection.scalar(text(stated)))
    keyless = [text(re.sub(r",\s*PRIMARY KEY \(conversation_id\)", "", made))]
    return world.change(
        text("CREATE TABLE copy AS SELECT * FROM conversations"),
        text("DROP TABLE conversations"),
        *keyless,
        text("INSERT INTO conversations SELECT * FROM copy"),
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
