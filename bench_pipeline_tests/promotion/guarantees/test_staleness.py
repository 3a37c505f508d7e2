"""G2, G3: an operator's edit is never overwritten, and only the exact plan that was shown is applied."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from bench_pipeline.benchmark.ranking import rank_benchmark
from bench_pipeline.domain.promoting.plan import PlanTerms, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.production import conversations
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, GRADE_B, IMPROVE, REGRADE, TEMPLATE, task_value, write_task
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import (
    BOTH_TASKS,
    apply_stored,
    applying,
    bench_of,
    edit,
    halt_after,
    halting,
    hurry,
    operator,
    plan_of_both,
    plan_of_one,
    refusal,
    state,
    until,
    waiting,
)

# G2


@pytest.mark.parametrize("edited", BOTH_TASKS)
def test_g2_a_row_that_an_operator_changed_since_the_plan_is_named_and_no_row_changes(
    world: World, edited: int
) -> None:
    plan = plan_of_both(world)
    world.give(edited, FAST)
    refused = refusal(world, plan)
    assert (refused.reason, refused.facts["conversation_id"], refused.facts["holds"]) == (
        "conversation_changed",
        edited,
        FAST,
    )
    assert str(refused).startswith(f"conversation {edited} (")


@pytest.mark.parametrize(
    ("edited", "theirs"),
    [(GRADE_A, None), (GRADE_A, 404), (GRADE_B, SLOW), (REGRADE, SLOW)],
    ids=["took the actor away", "gave an unknown actor", "gave a first actor", "gave another actor"],
)
def test_g2_whatever_an_operator_gave_a_conversation_stays(world: World, edited: int, theirs: int | None) -> None:
    plan = plan_of_both(world)
    assert refusal(world, plan, before=lambda: world.give(edited, theirs)).facts["holds"] == theirs
    assert world.holds(edited) == [theirs]


def test_g2_a_row_that_an_operator_deleted_is_named_and_no_row_changes(world: World) -> None:
    plan = plan_of_both(world)
    world.change(delete(conversations).where(conversations.c.conversation_id == EXTRACT))
    assert refusal(world, plan).facts["conversation_id"] == EXTRACT


@pytest.mark.parametrize("edited", BOTH_TASKS)
def test_g2_a_promotion_waits_for_an_operators_open_edit_and_then_refuses(world: World, edited: int) -> None:
    plan = plan_of_both(world)
    with operator(world) as connection:
        connection.execute(edit(edited, FAST))
        with applying(world, plan) as outcome:
            connection.commit()
            after = state(world)
            with pytest.raises(PlanRefused, match=f"conversation {edited} .* but {FAST};"):
                outcome.result()
    assert world.holds(edited) == [FAST]
    assert state(world) == after


def test_g2_a_promotion_waits_for_an_operators_open_edit_and_goes_on_when_it_is_taken_back(world: World) -> None:
    plan = plan_of_both(world)
    with operator(world) as connection:
        connection.execute(edit(REGRADE, SLOW))
        with applying(world, plan) as outcome:
            connection.rollback()
            assert outcome.result() is not None
    assert world.holds(*BOTH_TASKS) == [FAST] * 4


def test_g2_a_promotion_that_waits_too_long_for_an_operator_is_refused_and_can_be_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of_both(world)
    hurry(world, monkeypatch)
    with operator(world) as connection:
        connection.execute(edit(REGRADE, SLOW))
        assert refusal(world, plan).reason == "busy"
        connection.rollback()
    assert apply_stored(world, plan) is not None


@ONLY_POSTGRESQL
def test_g2_an_edit_between_two_rows_of_a_promotion_is_not_overwritten(world: World) -> None:
    plan = plan_of_both(world)
    halt_after(world, BOTH_TASKS[0])
    with halting(world) as release, applying(world, plan) as outcome:
        world.give(REGRADE, SLOW)
        after = state(world)
        release()
        with pytest.raises(PlanRefused, match=f"conversation {REGRADE} .* but {SLOW};"):
            outcome.result()
    assert state(world) == after


@ONLY_POSTGRESQL
def test_g2_an_edit_of_a_row_that_a_promotion_has_just_changed_waits_and_is_the_last_word(world: World) -> None:
    plan = plan_of_both(world)
    halt_after(world, REGRADE)
    with halting(world) as release, applying(world, plan) as outcome, ThreadPoolExecutor(1) as pool:
        edited = pool.submit(world.give, GRADE_A, WRONG)
        until(lambda: waiting(world, "postgres"))
        release()
        assert outcome.result() is not None
        edited.result()
    assert world.holds(*BOTH_TASKS) == [WRONG, FAST, FAST, FAST]


def test_g2_what_is_no_part_of_the_plan_may_change(world: World) -> None:
    plan = plan_of_both(world)
    world.give(IMPROVE, WRONG)
    world.change(text("UPDATE conversations SET owner = 'somebody', conversation_name = 'Renamed'"))
    assert apply_stored(world, plan) is not None


# G3


def rewrite(world: World, plan: PromotionPlan, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the stored document, as its owner can who turns the triggers off."""
    document = json.loads(plan.document)
    change(document)
    changed = update(tables.plans).values(document=json.dumps(document, sort_keys=True, separators=(",", ":")))
    if world.promoter_url is None:
        world.change(text("DROP TRIGGER benchmark_plans_no_update"), changed)
    else:
        world.change(text("ALTER TABLE benchmark_plans DISABLE TRIGGER USER"), changed)


ALTERATIONS: dict[str, Callable[[dict[str, Any]], None]] = {
    "another new actor": lambda plan: plan["rows"][0].update(new_actor_id=WRONG),
    "another old actor": lambda plan: plan["rows"][0].update(old_actor_id=FAST),
    "another conversation": lambda plan: plan["rows"][0].update(conversation_id=IMPROVE),
    "a row less": lambda plan: plan["rows"].pop(),
    "a row more": lambda plan: plan["rows"].append(plan["rows"][0] | {"conversation_id": IMPROVE}),
    "another identity": lambda plan: plan["rows"][0].update(identity_hash="0" * 64),
    "another benchmark": lambda plan: plan["evidence"][0].update(benchmark_id="another"),
    "another evidence hash": lambda plan: plan["evidence"][0].update(evidence_hash="0" * 64),
    "another policy": lambda plan: plan["terms"].update(min_gain=0.0),
    "older evidence": lambda plan: plan["terms"].update(evidence_days=3650.0),
    "more rows": lambda plan: plan["terms"].update(max_rows=1000),
    "a longer life": lambda plan: plan["terms"].update(plan_hours=1e6),
    "another reason": lambda plan: plan.update(reason="another"),
    "no plan at all": dict.clear,
}


@ONE_ENGINE
@pytest.mark.parametrize("change", ALTERATIONS.values(), ids=ALTERATIONS)
def test_g3_a_stored_plan_that_was_altered_is_refused(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    plan = plan_of_one(world)
    rewrite(world, plan, change)
    assert refusal(world, plan).reason == "plan_altered"


@pytest.mark.parametrize("change", ["another new actor", "a row more", "more rows", "no plan at all"])
def test_g3_a_stored_plan_that_is_altered_after_it_was_read_is_refused(world: World, change: str) -> None:
    plan = plan_of_one(world)
    assert refusal(world, plan, before=lambda: rewrite(world, plan, ALTERATIONS[change])).reason == "plan_altered"


@ONE_ENGINE
@pytest.mark.parametrize("term", PlanTerms.model_fields)
def test_g3_a_plan_under_other_terms_is_another_plan(world: World, term: str) -> None:
    plan = plan_of_one(world)
    held = getattr(plan.terms, term)
    others = {"max_rows": 4, "approval": "required", "second_person": not held, "schema_hash": "0" * 64}
    terms = PlanTerms.model_validate(plan.terms.model_dump() | {term: others.get(term, 0.04)})
    other = plan.model_copy(update={"terms": terms})
    assert (other.hash == plan.hash, other.terms_hash == plan.terms_hash) == (False, False)


def test_g3_a_plan_that_was_never_stored_is_refused(world: World) -> None:
    plan = plan_of_both(world)
    assert refusal(world, plan.model_copy(update={"reason": "another"})).reason == "plan_unknown"


@pytest.mark.parametrize("of", [lambda _: "0" * 64, lambda plan: plan.hash[:12]], ids=["another hash", "a beginning"])
def test_g3_the_writer_itself_takes_no_hash_but_that_of_a_stored_plan(
    world: World, of: Callable[[PromotionPlan], str]
) -> None:
    plan = plan_of_one(world)
    with bench_of(world) as bench, pytest.raises(PlanRefused) as refused:
        bench.writer.apply(of(plan), "the tests", None, [])
    assert refused.value.reason == "plan_unknown"


def rank_anew(world: World, plan: PromotionPlan) -> None:
    world.change(update(tables.benchmark_samples).values(latency_ns=tables.benchmark_samples.c.latency_ns + 1))
    rank_benchmark(world.database, plan.evidence[0].benchmark_id)


def rewrite_history(world: World, plan: PromotionPlan) -> None:
    world.change(update(tables.benchmark_history).values(latency_ms=1.0))


def rewrite_suite(world: World, plan: PromotionPlan) -> None:
    world.change(update(tables.benchmark_runs).values(suite_hash="0" * 64))


def lose_evidence(world: World, plan: PromotionPlan) -> None:
    world.change(delete(tables.benchmark_history))


def take_from_the_list(world: World, plan: PromotionPlan) -> None:
    task = {"conversations": [GRADE_A, REGRADE], "promotion": {"auto": [GRADE_A, REGRADE]}}
    write_task(world.folder / "testcases", task=task_value() | task)


def edit_the_prompt(world: World, plan: PromotionPlan) -> None:
    world.set_template(GRADE_B, TEMPLATE + " Be strict.")


def drop_a_column(world: World, plan: PromotionPlan) -> None:
    world.change(text("ALTER TABLE actors RENAME COLUMN enabled TO switched_on"))


@pytest.mark.parametrize(
    ("change", "reason", "names"),
    [
        pytest.param(rank_anew, "evidence_changed", "was ranked again", id="evidence ranked anew"),
        pytest.param(rewrite_history, "evidence_changed", "was ranked again", id="history rewritten"),
        pytest.param(rewrite_suite, "evidence_changed", "was ranked again", id="suite rewritten"),
        pytest.param(lose_evidence, "evidence_gone", "is gone", id="history gone"),
        pytest.param(take_from_the_list, "not_listed", f"conversation {GRADE_B} (Grade B)", id="allow-list"),
        pytest.param(edit_the_prompt, "prompt_changed", f"conversation {GRADE_B} (Grade B)", id="own prompt"),
        pytest.param(drop_a_column, "schema_changed", "production's tables", id="schema"),
    ],
)
def test_g3_a_plan_whose_inputs_changed_is_stale_and_names_what_did(
    world: World, change: Callable[[World, PromotionPlan], None], reason: str, names: str
) -> None:
    plan = plan_of_one(world)
    change(world, plan)
    before = world.holds()
    with pytest.raises(PlanRefused, match=re.escape(names)) as refused:
        apply_stored(world, plan)
    assert refused.value.reason == reason
    assert (world.holds(), world.promotions(), world.registry()) == (before, [], {})


RANKED_ANEW = update(tables.benchmark_runs).values(evidence_hash="0" * 64)


def test_g3_a_promotion_waits_for_an_open_ranking_of_its_evidence_and_then_refuses(world: World) -> None:
    plan = plan_of_one(world)
    with operator(world) as connection:
        connection.execute(RANKED_ANEW)
        with applying(world, plan) as outcome:
            connection.commit()
            after = state(world)
            with pytest.raises(PlanRefused, match="was ranked again"):
                outcome.result()
    assert state(world) == after
