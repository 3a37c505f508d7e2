"""G16: a plan that needs an approval is applied with one: of this very plan, by another person, and not too old."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from bench_pipeline.cli import gates as gates_cli
from bench_pipeline.cli import production as production_cli
from bench_pipeline.domain.promoting.plan import ApprovalMode, PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.storage.plans import insert_approval
from bench_pipeline.storage.tables import approvals, plans
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.pipeline import Pipeline, checks_of, failures_of, with_settings
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, REGRADE, task_value, write_task
from bench_pipeline_tests.kit.world import World, as_role

pytestmark = pytest.mark.usefixtures("hurried")


def asking(world: World, second_person: bool = False, requested_by: str = "Ann") -> PromotionPlan:
    """Store a plan that Ann asked for and that needs an approval, by another person where that is said."""
    plan = world.plan()
    terms = plan.terms.model_copy(update={"approval": ApprovalMode.REQUIRED, "second_person": second_person})
    plan = plan.model_copy(update={"terms": terms})
    world.store(plan, requested_by)
    return plan


def by_hand(world: World, plan: PromotionPlan, approved_by: str, hours_ago: float = 0) -> None:
    """Insert an approval past the program's checks, as a login with the recorder's rights can."""
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    with world.signed_as(approved_by) as database, database.writing() as connection:
        insert_approval(connection, plan.hash, approved_by, at)
    if hours_ago:  # the database itself says when, unless an owner falsifies it
        world.falsify(approvals, update(approvals).values(approved_at=at))


def refusal(world: World, plan: PromotionPlan) -> PlanRefused:
    """Apply the plan, which must be refused and change nothing."""
    before = world.snapshot()
    with pytest.raises(PlanRefused) as refused:
        apply_plan(world.bench, plan.hash, "Ann")
    assert world.snapshot() == before
    return refused.value


# Asked for and given


def test_g16_without_an_approval_the_plan_is_refused_and_says_what_to_do(world: World) -> None:
    plan = asking(world)

    refused = refusal(world, plan)

    assert str(refused) == f"the plan waits for approval; run `bench approve {plan.hash[:12]}`, then apply it again"


def test_g16_an_approved_plan_is_applied_and_names_who_approved(world: World) -> None:
    plan = asking(world)
    world.approve(plan.hash[:12], "Bob")

    promotion = apply_plan(world.bench, plan.hash, "Ann")

    assert world.holds() == [FAST] * 3
    assert promotion is not None
    assert (promotion.account, promotion.approved_by) == ("Ann", "Bob")


@pytest.mark.parametrize(
    ("marked", "setting", "asks"),
    [
        pytest.param([GRADE_A, GRADE_B, REGRADE], "as_marked", ApprovalMode.AUTO, id="all marked"),
        pytest.param([GRADE_A, GRADE_B], "as_marked", ApprovalMode.REQUIRED, id="one not marked"),
        pytest.param([], "as_marked", ApprovalMode.REQUIRED, id="none marked"),
        pytest.param([GRADE_A, GRADE_B, REGRADE], "required", ApprovalMode.REQUIRED, id="marked and BENCH_APPROVAL"),
    ],
)
@ONE_ENGINE
def test_g16_a_plan_asks_unless_every_conversation_that_it_changes_is_marked(
    world: World, marked: list[int], setting: str, asks: ApprovalMode
) -> None:
    write_task(world.folder / "testcases", task=task_value() | {"promotion": {"auto": marked}})
    world.settings = world.settings.model_copy(update={"approval": setting})

    assert world.plan().terms.approval is asks


@ONE_ENGINE
def test_g16_a_conversation_that_is_not_marked_and_does_not_change_asks_nobody(world: World) -> None:
    write_task(world.folder / "testcases", task=task_value() | {"promotion": {"auto": [GRADE_A, GRADE_B]}})
    world.give(REGRADE, FAST)

    assert world.plan().terms.approval is ApprovalMode.AUTO


# Another person


def test_g16_nobody_approves_a_plan_that_they_asked_for(world: World) -> None:
    plan = asking(world, second_person=True)

    with pytest.raises(Exception, match=f"Ann requested plan {plan.hash[:12]} and cannot approve it; "):
        world.approve(plan.hash, "Ann")

    assert world.rows("benchmark_approvals", "approval_id") == []


def test_g16_an_own_approval_that_was_put_there_by_hand_does_not_count(world: World) -> None:
    plan = asking(world, second_person=True)
    by_hand(world, plan, "Ann")

    refused = refusal(world, plan)

    assert refused.reason == "approval_own"
    assert "Ann requested this plan and cannot approve it; another person has to" in str(refused)


def test_g16_an_own_approval_beside_another_persons_does_no_harm(world: World) -> None:
    plan = asking(world, second_person=True)
    by_hand(world, plan, "Bob")
    by_hand(world, plan, "Ann")

    promotion = apply_plan(world.bench, plan.hash, "Ann")

    assert promotion is not None
    assert promotion.approved_by == "Bob"


@pytest.mark.parametrize("approver", ["Ann", "Bob"], ids=["who asked first", "who asked last"])
def test_g16_of_two_who_asked_for_the_same_plan_neither_can_approve_it(world: World, approver: str) -> None:
    plan = asking(world, second_person=True)
    by_hand(world, plan, approver)
    world.store(plan, "Bob")

    assert refusal(world, plan).reason == "approval_own"


def test_g16_where_one_person_is_enough_ones_own_approval_counts(world: World) -> None:
    plan = asking(world)
    world.approve(plan.hash, "Ann")

    assert apply_plan(world.bench, plan.hash, "Ann") is not None


# This very plan


def test_g16_the_approval_of_another_plan_does_not_count(world: World) -> None:
    other = asking(world)
    world.give(GRADE_B, WRONG)
    plan = asking(world)
    world.approve(other.hash, "Bob")

    assert refusal(world, plan).reason == "approval_missing"


def test_g16_a_plan_that_was_altered_so_that_it_asks_nobody_is_refused(world: World) -> None:
    plan = asking(world)
    altered = plan.model_copy(update={"terms": plan.terms.model_copy(update={"approval": ApprovalMode.AUTO})})
    with world.database.writing() as connection:
        connection.execute(
            insert(plans).values(
                plan_hash=plan.hash,
                kind=plan.kind.value,
                terms_hash=plan.terms_hash,
                tasks=plan.tasks,
                document=altered.document,
                requested_by="Mallory",
                made_at=datetime.now(UTC),
            )
        )

    assert refusal(world, plan).reason == "plan_altered"


def test_g16_a_plan_whose_terms_were_loosened_is_another_plan(world: World) -> None:
    plan = asking(world, second_person=True)
    world.approve(plan.hash, "Bob")
    looser = plan.model_copy(update={"terms": plan.terms.model_copy(update={"second_person": False})})
    world.store(looser, "Ann")

    assert refusal(world, looser).reason == "approval_missing"


def test_g16_the_same_plan_made_again_keeps_its_approval(world: World) -> None:
    plan = asking(world, second_person=True)
    world.approve(plan.hash, "Bob")
    world.store(plan, "Ann")

    assert apply_plan(world.bench, plan.hash, "Ann") is not None


def test_g16_a_plan_of_new_evidence_needs_an_approval_of_its_own(world: World) -> None:
    world.approve(asking(world).hash, "Bob")
    world.server.models["wrong:3b"].answers = world.server.models["slow:7b"].answers
    again = world.plan(world.ranked("fast", "slow", "wrong"))
    terms = again.terms.model_copy(update={"approval": ApprovalMode.REQUIRED})
    world.store(again.model_copy(update={"terms": terms}), "Ann")

    assert refusal(world, again.model_copy(update={"terms": terms})).reason == "approval_missing"


# Not too old


def test_g16_an_approval_expires(world: World) -> None:
    plan = asking(world)
    by_hand(world, plan, "Bob", hours_ago=plan.terms.approval_hours + 0.1)

    refused = refusal(world, plan)

    assert refused.reason == "approval_expired"
    assert f"is older than 72 hours; run `bench approve {plan.hash[:12]}` again" in str(refused)


def test_g16_an_approval_within_its_time_counts(world: World) -> None:
    plan = asking(world)
    by_hand(world, plan, "Bob", hours_ago=plan.terms.approval_hours - 0.1)

    assert apply_plan(world.bench, plan.hash, "Ann") is not None


def test_g16_an_approval_that_expired_can_be_given_anew(world: World) -> None:
    plan = asking(world)
    by_hand(world, plan, "Bob", hours_ago=1000)
    world.approve(plan.hash, "Bob")

    assert apply_plan(world.bench, plan.hash, "Ann") is not None


# At the command line


@pytest.fixture
def somebody(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the commands that follow be typed by another person, with a login of their own where there are logins."""

    def typing(name: str) -> None:
        if world.promoter_url is not None:
            world.add_login(name)
            monkeypatch.setenv("BENCH_DATABASE_URL", as_role(world.url, name))
        for module in (production_cli, gates_cli):
            monkeypatch.setattr(module, "account", lambda: name)

    return typing


def test_g16_promote_waits_for_another_persons_approve_and_then_applies_exactly_that_plan(
    typed: Typed, world: World, somebody: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_APPROVAL", "required")
    monkeypatch.setenv("BENCH_SECOND_PERSON", "true")
    world.ranked("fast", "slow")
    somebody("Ann")
    waiting = typed("promote", "--task", "grading")
    short = waiting.stderr.split("`bench approve ", 1)[1].split("`")[0]
    own = typed("approve", short)
    somebody("Bob")
    approved = typed("approve", short)
    applied = typed("promote", "--plan", short)

    assert (waiting.returncode, own.returncode, approved.returncode, applied.returncode) == (1, 1, 0, 0)
    assert waiting.stderr.startswith(f"bench: the plan waits for approval; run `bench approve {short}`")
    assert own.stderr.startswith(f"bench: Ann requested plan {short} and cannot approve it; ")
    assert "✅ approved by Bob" in approved.stdout
    assert world.holds() == [FAST] * 3


@ONE_ENGINE
def test_g16_a_plan_that_waits_is_listed_with_what_it_waits_for(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_APPROVAL", "required")
    world.ranked("fast", "slow")
    typed("promote", "--task", "grading")

    assert "waits: needs an approval: bench approve " in typed("log", "--plans").stdout


@ONE_ENGINE
@pytest.mark.parametrize(
    ("plan", "status", "says"),
    [
        ("0123456789ab", 2, "there is no stored plan 0123456789ab; `bench log --plans` lists them"),
        ("012", 2, "'012' is not the hash of a plan; give its first 8 or more characters"),
    ],
    ids=["unknown", "too short"],
)
def test_g16_an_approval_of_no_plan_says_so(typed: Typed, plan: str, status: int, says: str) -> None:
    done = typed("approve", plan)

    assert (done.returncode, done.stderr) == (status, f"bench: {says}\n")


@ONE_ENGINE
def test_g16_a_plan_that_needs_no_approval_says_so(typed: Typed, world: World) -> None:
    plan = world.plan()
    world.store(plan)

    done = typed("approve", plan.hash)

    assert done.returncode == 1
    assert "needs no approval; `bench promote` applies it" in done.stderr


# In Dagster


BEFORE = ["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard",
          "grading/promotion_plan"]  # fmt: skip


def test_g16_in_dagster_the_update_says_what_to_do_until_somebody_approves(pipeline: Pipeline, world: World) -> None:
    pipeline = with_settings(pipeline, approval=ApprovalMode.REQUIRED)
    pipeline.run(assets=BEFORE)
    plan_hash = str(pipeline.metadata("grading/promotion_plan")["plan_hash"])

    refused = pipeline.run(assets=["grading/production_update"], fails=True)
    held = world.holds()
    world.approve(plan_hash, "Bob")
    pipeline.run(assets=["grading/production_update"])

    assert f"the plan waits for approval; run `bench approve {plan_hash[:12]}`" in failures_of(refused)
    assert held == [SLOW] * 3
    assert world.holds() == [FAST] * 3


def test_g16_in_dagster_a_check_says_what_is_awaited_and_of_whom(pipeline: Pipeline, world: World) -> None:
    pipeline = with_settings(pipeline, approval=ApprovalMode.REQUIRED, second_person=True)

    run = pipeline.run(assets=BEFORE)

    (check,) = [one for one in run.get_asset_check_evaluations() if one.check_name == "plan_is_unblocked"]
    short = str(pipeline.metadata("grading/promotion_plan")["plan_hash"])[:12]
    assert (check.passed, check.severity.value) == (False, "WARN")
    assert str(check.description).startswith(f"waits: needs an approval: bench approve {short} (")


@ONE_ENGINE
def test_g16_in_dagster_plan_is_unblocked_after_the_approval(pipeline: Pipeline, world: World) -> None:
    pipeline = with_settings(pipeline, approval=ApprovalMode.REQUIRED)
    pipeline.run(assets=BEFORE)
    world.approve(str(pipeline.metadata("grading/promotion_plan")["plan_hash"]), "Bob")

    checks = checks_of(pipeline.run(assets=["grading/promotion_plan"]))

    assert checks["plan_is_unblocked"]


@ONE_ENGINE
def test_g16_in_dagster_a_plan_of_marked_conversations_awaits_nothing(pipeline: Pipeline) -> None:
    assert checks_of(pipeline.run(assets=BEFORE))["plan_is_unblocked"]
