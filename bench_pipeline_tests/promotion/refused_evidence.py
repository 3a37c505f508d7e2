"""Further ways in which a plan is refused: what it leaves out, what its task allows, and what happened since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, text, update

from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.promoting.plan import (
    ApprovalMode,
    Bar,
    PlanKind,
    PromotionPlan,
)
from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, REGRADE
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.benchmark_of_fast import (
    BENCHMARK,
    MOMENT,
    PLAN,
    TASK,
    TERMS,
    applied,
    approved,
    forged,
    recorded,
    reverse,
    store_benchmark,
    stored,
    with_terms,
)
from bench_pipeline_tests.promotion.refused_plans import _IN_BENCHMARK, _LINES, _RUNS, TABLE, Attempt, SetUp, refuses

# Rules about what a plan leaves out


def malformed(what: str, **fields: object) -> tuple[str, SetUp]:
    def set_up(world: World) -> Attempt:
        plan_hash = forged(world, **fields)
        return Attempt(plan_hash, {"what": what, "short": plan_hash[:12]})

    return "plan_malformed", set_up


def lacking(name: str, **value: object) -> tuple[str, SetUp]:
    terms = {key: one for key, one in TERMS.model_dump(mode="json").items() if key != name}
    return malformed(f"terms.{name}", terms=terms | value)


_ROW, _EVIDENCE = (value.model_dump(mode="json") for value in (PLAN.rows[0], PLAN.evidence[0]))
TABLE += [
    malformed("kind", kind="dictate"),
    malformed("terms.min_gain", terms={}),
    *map(lacking, ("max_rows", "evidence_days", "plan_hours", "approval", "approval_hours", "second_person")),
    lacking("schema_hash"),
    lacking("approval", approval="never"),
    malformed("rows.0.decision", rows=[_ROW | {"decision": "obey"}]),
    malformed("rows.decision", rows=[_ROW | {"decision": None}]),
    malformed("evidence.task_terms", evidence=[{k: v for k, v in _EVIDENCE.items() if k != "task_terms"}]),
    malformed("evidence.task_terms", evidence=[_EVIDENCE | {"task_terms": TASK.model_dump() | {"task": "other"}}]),
]


@refuses("schema_changed")
def made_for_another_schema(world: World) -> Attempt:
    world.store(PLAN)
    return Attempt(PLAN.hash, {})


# Moments that have not come yet


LATER = datetime.now(UTC) + timedelta(hours=1)


@refuses("in_future")
def a_plan_of_tomorrow(world: World) -> Attempt:
    return Attempt(stored(world, at=LATER), {"what": "the plan", "at": MOMENT})


@refuses("in_future")
def an_approval_of_tomorrow(world: World) -> Attempt:
    plan_hash = stored(world, with_terms(approval=ApprovalMode.REQUIRED))
    approved(world, plan_hash, "Ann", hours_ago=-1)
    return Attempt(plan_hash, {"what": "the approval", "at": MOMENT})


@refuses("in_future")
def a_measurement_of_tomorrow(world: World) -> Attempt:
    plan_hash = stored(world)
    world.change(update(tables.benchmark_model_runs).values(started_at=LATER))
    return Attempt(plan_hash, {"what": "the measurement", "at": MOMENT})


# What the task allows and measures, in the plan and as recorded last


ABOUT_B = {"conversation_id": GRADE_B, "conversation": "Grade B"}
WITHOUT_B = (GRADE_A, REGRADE)


def planned(**terms: object) -> PromotionPlan:
    evidence = PLAN.evidence[0].model_copy(update={"task_terms": TASK.model_copy(update=terms)})
    return PLAN.model_copy(update={"evidence": (evidence,)})


def since(facts: dict[str, object], **terms: object) -> SetUp:
    def set_up(world: World) -> Attempt:
        plan_hash = stored(world)
        recorded(world, **terms)
        return Attempt(plan_hash, facts)

    return set_up


def from_the_start(facts: dict[str, object], **terms: object) -> SetUp:
    return lambda world: Attempt(stored(world, planned(**terms)), facts)


_OF_GRADING = ABOUT_B | {"task": "grading"}
_CHANGED = {"task": "grading", "benchmark_id": BENCHMARK}
TABLE += [
    ("not_listed", from_the_start(_OF_GRADING, conversations=WITHOUT_B, max_rows=3)),
    ("not_listed", since(_OF_GRADING, conversations=WITHOUT_B, max_rows=3)),
    ("not_marked", from_the_start(_OF_GRADING, auto=WITHOUT_B)),
    ("not_marked", since(_OF_GRADING, auto=WITHOUT_B)),
    ("too_many_rows", from_the_start({"rows": 3, "max_rows": 2}, max_rows=2)),
    ("too_many_rows", since({"rows": 3, "max_rows": 1}, max_rows=1)),
    ("task_changed", since(_CHANGED | {"what": "suite"}, suite_hash="another")),
    ("task_changed", since(_CHANGED | {"what": "prompt"}, prompt_hash="another")),
]


@refuses("prompt_changed")
def production_keeps_another_prompt_now(world: World) -> Attempt:
    plan_hash = stored(world)
    world.set_template(GRADE_B, "Be lenient: {posting}")
    return Attempt(plan_hash, dict(ABOUT_B))


# The registry names only what was measured


def in_row(**fields: object) -> PromotionPlan:
    first = PLAN.rows[0].model_copy(update=fields)
    return PLAN.model_copy(update={"rows": (first, *PLAN.rows[1:])})


KEPT = {"decision": DecisionKind.KEEP, "old_actor_id": WRONG, "new_actor_id": WRONG, "new_actor": "wrong"}


def unmeasured(facts: dict[str, object], **fields: object) -> SetUp:
    return lambda world: Attempt(stored(world, in_row(**fields)), _IN_BENCHMARK | facts)


TABLE += [
    ("evidence_gone", unmeasured({}, **KEPT)),
    (
        "not_qualified",
        unmeasured({"model": "slow", "why": "it was not measured"}, runner_up_actor_id=SLOW, runner_up="slow"),
    ),
    (
        "not_qualified",
        unmeasured({"model": "fast", "why": "the plan states another latency than was measured"}, avg_latency_ms=1.0),
    ),
]


# What happened since the benchmark


@refuses("barred")
def undone_with_a_bar_and_planned_again(world: World) -> Attempt:
    back = reverse(PLAN, applied(world)).model_copy(update={"bar": Bar.EVIDENCE})
    applied(world, back)
    why = "promotion 1 did this and was undone (too slow)"
    facts = {"actor": "fast", "conversation_id": GRADE_A, "why": why, "promotion_id": 2}
    return Attempt(stored(world, in_row(reason="again")), facts)


@refuses("barred")
def undone_with_a_bar_and_benchmarked_again_under_the_same_evidence(world: World) -> Attempt:
    back = reverse(PLAN, applied(world)).model_copy(update={"bar": Bar.EVIDENCE})
    applied(world, back)
    store_benchmark(world, "grading-2")
    world.change(update(_RUNS).where(_RUNS.c.benchmark_id == "grading-2").values(evidence_hash="f" * 64))
    evidence = PLAN.evidence[0].model_copy(update={"benchmark_id": "grading-2", "evidence_hash": "f" * 64})
    why = "promotion 1 did this and was undone (too slow)"
    facts = {"actor": "fast", "conversation_id": GRADE_A, "why": why, "promotion_id": 2}
    return Attempt(stored(world, PLAN.model_copy(update={"evidence": (evidence,)})), facts)


@refuses("not_a_failover")
def a_failover_from_what_is_not_the_champion(world: World) -> Attempt:
    plan = in_row(decision=None).model_copy(update={"kind": PlanKind.FAILOVER})
    plan = plan.model_copy(update={"rows": plan.rows[:1]})
    return Attempt(stored(world, plan), {"conversation_id": GRADE_A, "conversation": "Grade A"})


def newer(**of_line: object) -> SetUp:
    """A later benchmark in which `fast` has another line, and `slow` is right in 100 ms."""

    def set_up(world: World) -> Attempt:
        plan_hash = stored(world)
        store_benchmark(world, "grading-2", **of_line)
        line = {"correctness_score": 100.0, "standing": "qualified", "cases": 4, "cases_correct": 4, "calls": 4}
        rank = 1 if of_line.get("rank") != 1 else 2
        world.change(
            insert(_LINES).values(
                benchmark_run_id="grading-2", task_type="grading", model="slow", model_name="slow", actor_id=SLOW,
                rank=rank, benchmark_date=datetime.now(UTC), failures=[], reason="", tied_with=[],
                latency_ms=100.0, **line
            )
        )  # fmt: skip
        ids = {"planned_id": BENCHMARK, "newer_id": "grading-2", "task": "grading"}
        return Attempt(plan_hash, ids | {"conversation_id": GRADE_A, "conversation": "Grade A"})

    return set_up


TABLE += [
    ("plan_outdated", newer(standing="disqualified", cases_correct=3, rank=None)),
    ("plan_outdated", newer(rank=2, latency_ms=50.0)),
    ("plan_outdated", newer(rank=1, latency_ms=100.0)),
]


# What the application's own database does to the UPDATE


def with_trigger(world: World, sqlite: str, postgresql: str) -> None:
    """A trigger of the application on an update of `Grade B`."""
    when = f"ON conversations FOR EACH ROW WHEN (NEW.conversation_id = {GRADE_B})"
    if world.promoter_url is None:
        world.change(text(f"CREATE TRIGGER meddle BEFORE UPDATE {when} BEGIN SELECT {sqlite}; END"))
        return
    world.change(
        text(f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {postgresql}; END $$"),
        text(f"CREATE TRIGGER meddle BEFORE UPDATE {when} EXECUTE FUNCTION meddle()"),
    )


@refuses("update_ignored")
def a_trigger_drops_the_change(world: World) -> Attempt:
    plan_hash = stored(world)
    with_trigger(world, "RAISE(IGNORE)", "RETURN NULL")
    return Attempt(plan_hash, ABOUT_B | {"holds": SLOW, "suspects": "trigger meddle"}, foreseen=False)


@refuses("trigger_failed")
def a_trigger_fails(world: World) -> Attempt:
    plan_hash = stored(world)
    with_trigger(world, "RAISE(ABORT, 'the ledger is closed')", "RAISE EXCEPTION 'the ledger is closed'")
    return Attempt(plan_hash, {"triggers": "meddle", "error": "the ledger is closed"}, foreseen=False)


@refuses("constraint")
def each_actor_may_have_one_conversation(world: World) -> Attempt:
    plan_hash = stored(world)
    world.change(text(f"CREATE UNIQUE INDEX alone ON conversations (actor_id) WHERE actor_id = {FAST}"))
    error = 'duplicate key value violates unique constraint "alone"'
    if world.promoter_url is None:
        error = "UNIQUE constraint failed: conversations.actor_id"
    return Attempt(plan_hash, {"error": error}, foreseen=False)
