"""From a ranked benchmark to the rows that should change: decided for each conversation, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from bench_pipeline.benchmark.field import incumbent_models
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark, read_ranked
from bench_pipeline.domain.promoting.decision import DecisionKind
from bench_pipeline.domain.promoting.impact import Impact
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.replay import read_input
from bench_pipeline.promotion.plan import impacts, store_plan
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.storage import tables
from bench_pipeline.storage.decisions import decisions_of
from bench_pipeline.storage.plans import latest_plan
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SCRIPT, SLOW, WRONG
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, GRADE_B, REGRADE, SERVED, TEMPLATE, task_value, write_task
from bench_pipeline_tests.kit.world import World

PROMOTE, KEEP, INCONCLUSIVE, INVALID = DecisionKind


def decisions(world: World, ranked: RankedBenchmark | None = None, min_gain: float = 0.05) -> list[DecisionKind]:
    return [row.decision for row in world.plan(ranked, min_gain).rows]


def equally_fast(world: World) -> RankedBenchmark:
    """A benchmark in which `fast` and `slow` took the same time for every case."""
    benchmark_id = world.run("fast", "slow")
    world.change(update(tables.benchmark_samples).values(latency_ns=5_000_000))
    return rank_benchmark(world.database, benchmark_id)


def incumbents(world: World) -> list[str]:
    return incumbent_models(world.bench, world.prepared().task)


def test_a_plan_names_old_and_new_actor_runner_up_and_gain_of_every_conversation_served(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    plan = world.plan(ranked)
    assert [row.conversation_id for row in plan.rows] == list(SERVED)
    row = plan.rows[1]
    assert (row.conversation, row.decision) == ("Grade B", PROMOTE)
    assert (row.old_actor_id, row.old_actor, row.new_actor_id, row.new_actor) == (SLOW, "slow", FAST, "fast")
    assert (row.runner_up_actor_id, row.runner_up, row.execution_path) == (SLOW, "slow", "ollama:fast:1b")
    fast, slow = ranked.scoreboard.ranked
    assert fast.avg_latency_ms is not None
    assert slow.avg_latency_ms is not None
    assert row.avg_latency_ms == fast.avg_latency_ms
    assert row.gain == pytest.approx(1 - fast.avg_latency_ms / slow.avg_latency_ms)
    assert "faster than slow" in row.reason


def test_planning_changes_nothing(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    before = world.snapshot()
    assert world.plan(ranked) == world.plan(ranked)
    assert world.snapshot() == before
    assert world.rows("benchmark_plans", "plan_id") == []
    assert world.rows("benchmark_decisions", "decision_id") == []


def test_the_same_plan_comes_of_the_benchmark_as_it_is_read_back(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    assert world.plan(ranked).hash == world.plan(read_ranked(world.database, ranked.benchmark.benchmark_id)).hash


# The decision, by what production holds


@pytest.mark.parametrize(
    ("holds", "kind", "reason"),
    [
        pytest.param(SLOW, PROMOTE, "faster than slow", id="a slower model"),
        pytest.param(FAST, KEEP, "fast is the champion already", id="the champion"),
        pytest.param(WRONG, PROMOTE, "wrong no longer qualifies: 3/4 correct", id="a model that is wrong"),
        pytest.param(None, PROMOTE, "has no actor yet", id="nobody"),
        pytest.param(SCRIPT, KEEP, "is not a model but of type script; a person decides", id="a script"),
        pytest.param(404, INCONCLUSIVE, "was not part of this benchmark", id="an actor that is gone"),
    ],
)
def test_what_becomes_of_a_conversation_depends_on_who_carries_it_out(
    world: World, holds: int | None, kind: DecisionKind, reason: str
) -> None:
    world.give(GRADE_B, holds)
    row = world.plan(world.ranked("fast", "slow", "wrong")).rows[1]
    assert (row.decision, row.old_actor_id) == (kind, holds)
    assert reason in row.reason


@ONE_ENGINE
@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        pytest.param({"enabled": False}, PROMOTE, "slow is no longer eligible (disabled)", id="disabled"),
        pytest.param(
            {"execution_path": "ollama:gone:7b"}, PROMOTE, "no longer eligible (not_installed)", id="not installed"
        ),
        pytest.param(
            {"execution_path": "openai:http://127.0.0.1:1/v1#gpt"},
            INCONCLUSIVE,
            "its runtime did not answer",
            id="its server is down",
        ),
    ],
)
def test_an_incumbent_that_is_not_eligible_is_replaced_unless_that_may_pass(
    world: World, values: dict[str, object], kind: DecisionKind, reason: str
) -> None:
    world.set_actor(SLOW, **values)
    row = world.plan(world.ranked("fast", "slow")).rows[0]
    assert row.decision == kind
    assert reason in row.reason


@ONE_ENGINE
def test_an_incumbent_that_was_not_part_of_the_benchmark_is_not_replaced(world: World) -> None:
    assert decisions(world, world.ranked("fast")) == [INCONCLUSIVE] * 3


@ONE_ENGINE
def test_an_incumbent_that_could_not_be_measured_leaves_it_inconclusive(world: World) -> None:
    world.server.models["slow:7b"].fault = Fault.SERVER_ERROR
    assert decisions(world) == [INCONCLUSIVE] * 3


@ONE_ENGINE
@pytest.mark.parametrize(
    ("measured", "kind", "reason"),
    [
        pytest.param(["wrong"], KEEP, "no model was correct in all cases", id="all wrong"),
        pytest.param(["broken"], INCONCLUSIVE, "broken could not be measured", id="none measured to the end"),
        pytest.param(["wrong", "broken"], INCONCLUSIVE, "broken could not be measured", id="both"),
        pytest.param(["fast:1b"], KEEP, "the models that qualified are no actors", id="no actor qualified"),
    ],
)
def test_without_a_champion_among_the_actors_nothing_is_promoted(
    world: World, measured: list[str], kind: DecisionKind, reason: str
) -> None:
    plan = world.plan(world.ranked(*measured))
    assert [row.decision for row in plan.rows] == [kind] * 3
    assert reason in plan.rows[0].reason
    assert plan.changes == ()


@ONE_ENGINE
def test_a_model_that_is_no_actor_is_passed_over_for_the_best_actor(world: World) -> None:
    plan = world.plan(world.ranked("fast:1b", "slow", "fast"))
    assert {row.new_actor_id for row in plan.rows} == {FAST}


def test_equal_latencies_promote_nothing(world: World) -> None:
    assert decisions(world, equally_fast(world)) == [KEEP] * 3


@ONE_ENGINE
@pytest.mark.parametrize(("min_gain", "kind"), [(0.05, PROMOTE), (0.999, KEEP)])
def test_a_gain_below_the_margin_promotes_nothing(world: World, min_gain: float, kind: DecisionKind) -> None:
    assert decisions(world, min_gain=min_gain) == [kind] * 3


# Prompts, scripts, missing rows


def test_a_conversation_whose_own_prompt_is_not_the_measured_one_is_kept(world: World) -> None:
    world.set_template(GRADE_A, TEMPLATE)
    world.set_template(GRADE_B, TEMPLATE + " Be strict.")
    plan = world.plan()
    assert [row.decision for row in plan.rows] == [PROMOTE, KEEP, PROMOTE]
    assert "its own prompt is not the one that was measured" in plan.rows[1].reason
    assert plan.rows[1].new_actor_id is None


@ONE_ENGINE
def test_a_prompt_that_changed_after_the_benchmark_is_not_the_measured_one(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.set_template(GRADE_A, "{posting} {summary} in other words")
    assert decisions(world, ranked) == [KEEP, PROMOTE, PROMOTE]


@ONE_ENGINE
def test_a_conversation_that_production_does_not_have_is_invalid_and_the_others_are_planned(world: World) -> None:
    write_task(world.folder / "testcases", task=task_value(conversations=[GRADE_A, 9999, REGRADE]))
    plan = world.plan()
    assert [row.decision for row in plan.rows] == [PROMOTE, INVALID, PROMOTE]
    assert "correct conversations in task.yaml" in plan.rows[1].reason


@ONE_ENGINE
def test_a_task_that_serves_no_conversation_plans_nothing(world: World) -> None:
    write_task(world.folder / "testcases", task=task_value(conversations=[]))
    assert world.plan().rows == ()


# What it would save


def impacts_now(world: World, ranked: RankedBenchmark | None = None) -> dict[int, Impact]:
    return impacts(world.bench, world.decided(ranked), datetime.now(UTC))


def test_the_impact_rests_on_the_calls_of_the_last_thirty_days(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.was_called(GRADE_A, 3)
    world.was_called(GRADE_A, 2, days_ago=31)
    world.was_called(EXTRACT, 5)
    (number,), (found,) = zip(*impacts_now(world, ranked).items(), strict=True)
    assert (number, found.calls, found.days) == (GRADE_A, 3, 30)
    assert found.minutes == pytest.approx(3 * (2000 - 5) / 60_000)


@ONE_ENGINE
@pytest.mark.parametrize("holds", [FAST, WRONG, None, SCRIPT])
def test_where_no_two_models_were_compared_no_impact_is_told(world: World, holds: int | None) -> None:
    ranked = world.ranked("fast", "slow", "wrong")
    world.give(GRADE_A, holds)
    world.was_called(GRADE_A, 3)
    assert impacts_now(world, ranked) == {}


# Plans that are kept


def last_plan(world: World) -> PromotionPlan:
    with world.database.engine.connect() as connection:
        stored = latest_plan(connection, "grading")
    assert stored is not None
    return stored.plan


def test_the_last_stored_plan_is_read_back_as_it_was(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    store_plan(world.database, world.decided(ranked, min_gain=0.9999), "the tests")
    made = world.decided(ranked)
    store_plan(world.database, made, "the tests")
    assert last_plan(world) == made.plan
    assert last_plan(world).hash == made.plan.hash


def test_a_stored_plan_has_a_decision_for_every_conversation_that_decides_the_same_again(world: World) -> None:
    write_task(world.folder / "testcases", task=task_value(conversations=[GRADE_A, 9999, GRADE_B, REGRADE]))
    world.set_template(GRADE_B, TEMPLATE + " Be strict.")
    made = world.decided()
    store_plan(world.database, made, "the tests")
    with world.database.engine.connect() as connection:
        stored = decisions_of(connection, made.plan.evidence[0].benchmark_id)
    assert [(d.conversation_id, d.kind, d.reason) for d in stored] == [
        (row.conversation_id, row.decision, row.reason) for row in made.plan.rows
    ]
    assert [d.kind for d in stored] == [PROMOTE, INVALID, KEEP, PROMOTE]
    assert {d.plan_hash for d in stored} == {made.plan.hash}
    assert [read_input(d.input).decide() for d in stored] == [one.decision for one in made.decided]


@ONE_ENGINE
def test_a_plan_that_was_undone_is_kept_by_decisions_that_replay(world: World) -> None:
    promotion = world.promoted()
    roll_back(world.bench, "the tests", "the tests")
    made = world.decided(read_ranked(world.database, str(promotion.rows[0].benchmark_id)))
    assert [one.decision.kind for one in made.decided] == [KEEP] * 3
    assert [read_input(one.input.as_json()).decide() for one in made.decided] == [one.decision for one in made.decided]
    assert "promotion 1 did this and was undone (the tests)" in made.plan.rows[0].reason


@ONE_ENGINE
def test_the_incumbents_are_the_actors_of_the_conversations_served(world: World) -> None:
    world.give(GRADE_A, FAST)
    world.give(GRADE_B, None)
    assert sorted(incumbents(world)) == ["fast", "slow"]
    assert incumbent_models(replace(world.bench, application=None), world.prepared().task) == []


@ONE_ENGINE
def test_a_plan_of_other_evidence_is_another_plan(world: World) -> None:
    first, second = world.plan(), world.plan(world.ranked("fast", "slow", repeats=2))
    assert first.evidence[0].evidence_hash != second.evidence[0].evidence_hash
    assert first.hash != second.hash


@ONE_ENGINE
def test_a_plan_that_is_the_last_one_already_is_not_stored_again(world: World) -> None:
    made = world.decided()
    store_plan(world.database, made, "one person")
    store_plan(world.database, made, "another person")
    assert world.rows("benchmark_plans", "requested_by") == [("one person",)]
    assert len(world.rows("benchmark_decisions", "decision_id")) == len(SERVED)


@ONE_ENGINE
def test_a_plan_comes_to_be_the_last_one_again_by_being_stored_again(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    one, other = world.decided(ranked), world.decided(ranked, min_gain=0.9999)
    for made in (one, other, one):
        store_plan(world.database, made, "the tests")
    assert last_plan(world) == one.plan


# Terms


@ONE_ENGINE
@pytest.mark.parametrize(
    ("auto", "setting", "approval"),
    [
        pytest.param(SERVED, "as_marked", "auto", id="all are marked"),
        pytest.param((GRADE_A, GRADE_B), "as_marked", "required", id="one is not"),
        pytest.param((), "as_marked", "required", id="none is"),
        pytest.param(SERVED, "required", "required", id="all are marked, but the setting asks for it"),
    ],
)
def test_a_plan_needs_an_approval_unless_every_conversation_that_changes_is_marked(
    world: World, auto: tuple[int, ...], setting: str, approval: str
) -> None:
    write_task(world.folder / "testcases", task=task_value() | {"promotion": {"auto": list(auto)}})
    world.settings = world.settings.model_copy(update={"approval": setting})
    assert world.plan().terms.approval == approval


@ONE_ENGINE
def test_a_conversation_that_stays_as_it_is_needs_no_mark(world: World) -> None:
    write_task(world.folder / "testcases", task=task_value() | {"promotion": {"auto": [GRADE_A, GRADE_B]}})
    world.give(REGRADE, FAST)
    assert world.plan().terms.approval == "auto"


@ONE_ENGINE
@pytest.mark.parametrize(("by_task", "by_setting", "most"), [(None, 20, 3), (2, 20, 2), (None, 1, 1), (3, 2, 2)])
def test_the_smaller_of_the_limits_of_task_and_settings_counts(
    world: World, by_task: int | None, by_setting: int, most: int
) -> None:
    rules = {"auto": list(SERVED), "max_rows": by_task}
    write_task(world.folder / "testcases", task=task_value() | {"promotion": rules})
    world.settings = world.settings.model_copy(update={"max_rows": by_setting})
    assert world.plan().terms.max_rows == most
