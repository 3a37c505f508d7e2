"""What our own tables call for: each cause once, with what happened, what it means, what to do and a link."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, text

from bench_pipeline.domain.alerts.alert import Alert, AlertCause
from bench_pipeline.domain.alerts.messages import Messages
from bench_pipeline.domain.triggers.trigger import Cause, TriggerState
from bench_pipeline.operation.alerting.gathering import gather
from bench_pipeline.promotion.plan import store_plan
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.storage.tables import triggers
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.tasks import GRADE_A, task_value, write_task
from bench_pipeline_tests.kit.world import World

UI = "https://dagster.example.org"


def gathered(world: World, now: datetime | None = None) -> list[Alert]:
    found = gather(world.bench, Messages(), now or datetime.now(UTC))
    assert found.faults == ()
    return list(found.alerts)


def the_one(world: World, cause: AlertCause) -> Alert:
    """The alert of this cause; it says all that an alert has to."""
    (found,) = [one for one in gathered(world) if one.cause is cause]
    body = found.body(UI)
    assert [line.partition(":")[0] for line in body.splitlines()] == [
        "What happened", "What it means", "What to do", "Look",
    ]  # fmt: skip
    assert f"Look: {UI}/" in body
    return found


def store(world: World) -> str:
    """Store the plan of a new benchmark with its decisions; return its hash."""
    decided = world.decided()
    store_plan(world.database, decided, "the tests")
    return decided.plan.hash


def test_nothing_is_told_of_a_world_in_which_nothing_happened(world: World) -> None:
    assert gathered(world) == []


def test_a_promotion_is_told_with_its_rows(world: World) -> None:
    promotion = world.promoted()

    alert = the_one(world, AlertCause.PROMOTED)

    assert alert.subject == str(promotion.promotion_id)
    assert alert.at == promotion.applied_at
    assert "slow → fast" in alert.happened
    assert f"bench rollback {promotion.promotion_id}" in alert.todo
    assert alert.path == "/assets/grading/production_update"


def test_an_undone_promotion_is_told_with_the_reason_and_undoing_that_is_a_change_again(world: World) -> None:
    world.promoted()
    undone = roll_back(world.bench, "it answers *nonsense*", "Ann").promotion

    alert = the_one(world, AlertCause.UNDONE)
    assert "fast → slow" in alert.happened
    assert "it answers ·nonsense·" in alert.happened

    roll_back(world.bench, "it was right", "Ann", undone.promotion_id)
    assert [one.cause.value for one in gathered(world)] == ["promoted", "undone", "promoted"]


@ONE_ENGINE
def test_events_are_told_for_a_day(world: World) -> None:
    world.promoted()

    assert gathered(world, datetime.now(UTC) + timedelta(hours=25)) == []


def test_a_plan_that_waits_for_approval_is_told_until_it_is_approved(world: World) -> None:
    write_task(world.folder / "testcases", task=task_value() | {"promotion": {"auto": []}})
    plan = world.plan()
    world.store(plan, "Ann")

    alert = the_one(world, AlertCause.AWAITS_APPROVAL)
    assert alert.subject == plan.hash[:12]
    assert f"bench approve {plan.hash[:12]}" in alert.todo
    assert alert.path == "/assets/grading/promotion_plan"

    world.approve(plan.hash, "Ben")
    assert gathered(world) == []


@ONE_ENGINE
def test_a_plan_that_can_be_applied_or_is_refused_for_another_reason_waits_for_nobody(world: World) -> None:
    plan = world.plan()
    world.store(plan)
    assert gathered(world) == []

    world.give(GRADE_A, None)
    assert gathered(world) == []


def test_an_inconclusive_decision_is_told_once_for_its_benchmark(world: World) -> None:
    world.server.models["slow:7b"].fault = Fault.SERVER_ERROR
    store(world)
    store(world)

    assert [one.cause.value for one in gathered(world)] == ["inconclusive", "inconclusive"]
    alert = gathered(world)[0]
    assert "3 of its conversations" in alert.happened
    assert "slow" in alert.happened
    assert "bench run --task grading" in alert.todo


def test_a_benchmark_in_which_nothing_qualifies_is_told_with_each_models_reason(world: World) -> None:
    benchmark_id = world.ranked("wrong").benchmark.benchmark_id

    alert = the_one(world, AlertCause.NOTHING_QUALIFIES)

    assert benchmark_id in alert.happened
    assert "none of 1 models" in alert.happened
    assert "wrong (" in alert.happened


TRIGGERS = [
    (Cause.NEW_MODEL, TriggerState.GIVEN_UP, AlertCause.TRIGGER_GIVEN_UP),
    (Cause.MODEL_GONE, TriggerState.OPEN, AlertCause.CHAMPION_GONE),
    (Cause.SLOW_IN_PRODUCTION, TriggerState.WAITING, AlertCause.CHAMPION_SLOW),
    (Cause.SLOW_IN_PRODUCTION, TriggerState.LAUNCHED, AlertCause.CHAMPION_SLOW),
    (Cause.SLOW_IN_PRODUCTION, TriggerState.GIVEN_UP, AlertCause.TRIGGER_GIVEN_UP),
    (Cause.NEW_MODEL, TriggerState.WAITING, None),
    (Cause.MODEL_GONE, TriggerState.WITHDRAWN, None),
    (Cause.SLOW_IN_PRODUCTION, TriggerState.DONE, None),
]


def trigger_row(subject: str, cause: Cause, state: TriggerState) -> dict[str, object]:
    now = datetime.now(UTC)
    return {"task_type": "grading", "cause": cause.value, "subject": subject, "evidence": "0" * 64,
            "why": "it was so", "terms": {}, "state": state.value, "attempts": 4, "lost": 0, "claims": 4, "due_at": now,
            "note": "the lock was held", "noticed_at": now, "changed_at": now}  # fmt: skip


@ONE_ENGINE
def test_the_triggers_that_need_a_person_are_told(world: World) -> None:
    rows = [trigger_row(f"model {n}", cause, state) for n, (cause, state, _) in enumerate(TRIGGERS)]
    world.change(insert(triggers).values(rows))

    found = gathered(world)

    assert [(one.cause, one.title.endswith(f"model {n}")) for n, one in enumerate(found)] == [
        (told, True) for _, _, told in TRIGGERS if told
    ]
    assert all("it was so" in one.happened for one in found)
    assert "After 4 failed attempts it is not tried again. Last failure: the lock was held." in found[0].happened


@ONE_ENGINE
def test_one_table_that_cannot_be_read_does_not_hide_the_others(world: World) -> None:
    world.promoted()
    world.change(text("DROP TABLE benchmark_triggers"))

    found = gather(world.bench, Messages(), datetime.now(UTC))

    assert [one.cause.value for one in found.alerts] == ["promoted"]
    assert found.faults == ("triggers cannot be read: no such table: benchmark_triggers",)
