"""`approve`, `freeze`, `thaw` and a promotion that waits: what a person types, reads and gets as exit status."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from bench_pipeline.benchmark.workbench import account
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.text import is_calm
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


@pytest.fixture
def waiting(typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """A plan that waits for its approval: the beginning of its hash."""
    monkeypatch.setenv("BENCH_APPROVAL", "required")
    world.ranked("fast", "slow")
    planned = typed("plan", "--task", "grading")
    refused = typed("promote", "--task", "grading")
    assert refused.returncode == 1
    assert world.holds() == [SLOW] * 3
    (plan_hash,) = {plan_hash for (plan_hash,) in world.rows("benchmark_plans", "plan_hash")}
    assert f"⏳ needs an approval: bench promote stores the plan, then bench approve {plan_hash[:12]}" in planned.stdout
    assert f"the plan waits for approval; run `bench approve {plan_hash[:12]}`" in refused.stderr
    return str(plan_hash[:12])


def test_an_approved_plan_is_applied_as_it_was_shown(typed: Typed, world: World, waiting: str) -> None:
    approved = typed("approve", waiting)
    assert (approved.returncode, f"bench promote --plan {waiting} applies it" in approved.stdout) == (0, True)
    assert typed("promote", "--plan", waiting).returncode == 0
    assert world.holds() == [FAST] * 3
    assert world.promotions()[0].approved_by == json.loads(typed("log", "--json").stdout)[0]["approved_by"]


def test_the_plan_of_the_task_is_the_approved_one_while_nothing_changes(
    typed: Typed, world: World, waiting: str
) -> None:
    typed("approve", waiting)
    assert typed("promote", "--task", "grading").returncode == 0
    assert world.holds() == [FAST] * 3


def test_nobody_approves_their_own_plan_when_a_second_person_is_wanted(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch, waiting: str
) -> None:
    monkeypatch.setenv("BENCH_SECOND_PERSON", "true")
    told = typed("promote", "--task", "grading")
    assert re.search(r"run `bench approve \w+`, then apply it again \(an account other than .+ may\)", told.stderr)
    plan_hash = world.rows("benchmark_plans", "plan_hash")[-1][0]
    refused = typed("approve", plan_hash[:12])
    assert (refused.returncode, "requested plan" in refused.stderr and "cannot approve it" in refused.stderr) == (
        1,
        True,
    )
    assert world.rows("benchmark_approvals", "approval_id") == []


def test_who_started_the_run_in_the_ui_does_not_approve_its_plan_when_a_second_person_is_wanted(
    typed: Typed, world: World
) -> None:
    world.configure(second_person=True, approval="required")
    plan = world.plan()
    world.store(plan, requested_by=f"dagster ({account()})")
    refused = typed("approve", plan.hash[:12])
    assert refused.returncode == 1
    assert "you started its run in the UI and cannot approve it; another person may" in refused.stderr
    assert world.rows("benchmark_approvals", "approval_id") == []


@pytest.mark.parametrize(
    ("plan_hash", "says"),
    [("0123456789ab", "there is no stored plan 0123456789ab"), ("short", "give its first 8 or more characters"),
     ("ABCDEF0123456789", "is not the hash of a plan")],
)  # fmt: skip
def test_a_plan_that_is_not_there_is_bad_input(typed: Typed, world: World, plan_hash: str, says: str) -> None:
    for command in (("approve", plan_hash), ("promote", "--plan", plan_hash)):
        done = typed(*command)
        assert (done.returncode, says in done.stderr) == (2, True), command


def test_log_lists_the_plans_and_what_they_wait_for(typed: Typed, world: World, waiting: str) -> None:
    says = f"needs an approval: bench approve {waiting}"
    assert f"waits: {says}" in typed("log", "--plans").stdout
    assert f"⏳ {says}" in typed("plan", "--task", "grading").stdout
    typed("approve", waiting)
    assert "not applied" in typed("log", "--plans").stdout
    assert "⏳" not in typed("plan", "--task", "grading").stdout
    typed("promote", "--plan", waiting)
    (line,) = json.loads(typed("log", "--plans", "--json").stdout)
    assert (line["promotion_id"], line["awaits"]) == (1, None)


def test_a_plan_of_now_is_not_too_old_when_it_was_stored_long_ago(typed: Typed, world: World) -> None:
    plan = world.plan()
    world.store(plan, at=datetime.now(UTC) - timedelta(days=30))
    assert "more than 168 hours ago" in typed("log", "--plans").stdout
    planned = typed("plan", "--task", "grading").stdout
    assert (plan.hash[:12] in planned, "⏳" in planned) == (True, False)


def test_frozen_promotions_are_refused_with_who_and_why_until_they_are_thawed(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    assert typed("freeze", "--reason", "a holiday\x1b[2J").returncode == 0
    refused = typed("promote", "--task", "grading")
    assert refused.returncode == 1
    assert "promotions are frozen by " in refused.stderr
    assert ": a holiday" in refused.stderr
    assert is_calm(refused.stderr)
    assert world.holds() == [SLOW] * 3
    assert typed("thaw").returncode == 0
    assert typed("promote", "--task", "grading").returncode == 0
    assert world.holds() == [FAST] * 3


def test_rollback_works_while_frozen_and_undoing_it_does_not(typed: Typed, world: World) -> None:
    world.promoted()
    typed("freeze", "--reason", "an incident")
    assert typed("rollback", "--reason", "answers in French").returncode == 0
    assert world.holds() == [SLOW] * 3
    assert typed("rollback", "2").returncode == 1
    assert world.holds() == [SLOW] * 3


def test_doctor_tells_that_promotions_are_frozen(typed: Typed, world: World) -> None:
    typed("freeze", "--reason", "a holiday")
    done = typed("doctor")
    assert "➖ promotion: frozen by " in done.stdout
    assert done.returncode == 0


def test_freezing_needs_a_reason(typed: Typed, world: World) -> None:
    assert typed("freeze").returncode == 2


def test_either_a_task_or_a_plan_is_promoted(typed: Typed, world: World) -> None:
    assert typed("promote").returncode == 2
    assert typed("promote", "--task", "grading", "--plan", "0123456789ab").returncode == 2
