"""`log`, `blame`, `failover` and `reconcile`: what was changed, by whom and why, and what is still open."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B
from bench_pipeline_tests.kit.text import is_calm
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


@pytest.fixture
def promoted(typed: Typed, world: World) -> World:
    world.ranked("fast", "slow")
    assert typed("promote", "--task", "grading").returncode == 0
    return world


def test_log_shows_every_change_newest_first_with_who_what_and_why(typed: Typed, promoted: World) -> None:
    typed("rollback", "--reason", "answers in French")
    done = typed("log")
    heads = [line.split("  ")[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert (done.returncode, heads) == (0, ["rollback 2", "promotion 1"])
    assert "rolled_back by 2: answers in French" in done.stdout
    assert "   undoes 1, requested by " in done.stdout
    assert "   3336 Grade A: slow → fast  99.8% faster than slow" in done.stdout
    assert "   3336 Grade A: fast → slow  answers in French" in done.stdout


def test_log_gives_hashes_of_evidence_and_policy_as_json(typed: Typed, promoted: World) -> None:
    (change,) = json.loads(typed("log", "--json").stdout)
    plan = promoted.rows("benchmark_plans", "plan_hash", "terms_hash")[0]
    assert (change["plan_hash"], change["terms_hash"], change["status"]) == (*plan, "validated")
    assert [len(row["evidence_hash"]) for row in change["rows"]] == [64] * 3


def test_log_says_no_when_nothing_was_changed(typed: Typed, world: World) -> None:
    done = typed("log")
    assert (done.returncode, done.stdout) == (1, "production was never changed\n")
    assert typed("log", "--plans").returncode == 1


def test_log_shows_the_changes_of_one_task(typed: Typed, promoted: World) -> None:
    assert typed("log", "--task", "grading").returncode == 0
    assert typed("log", "--task", "extraction").returncode == 1


def test_blame_tells_the_change_the_decision_the_benchmark_and_every_call(typed: Typed, promoted: World) -> None:
    done = typed("blame", str(GRADE_A))
    assert done.returncode == 0
    assert done.stdout.startswith(f"{GRADE_A} Grade A: fast (actor {FAST})\n   promotion 1 ")
    assert "decision 1: PROMOTE 99.8% faster than slow in the final" in done.stdout
    assert "fast sha256:fa: 4/4 cases correct, mean 5 ms (n=20 calls)" in done.stdout
    calls = [
        line.split()
        for line in done.stdout.splitlines()
        if "correct" in line and line.strip()[:5] in ("PASS_", "FAIL_")
    ]
    assert len(calls) == 20
    assert [(call[0], call[2], call[3], call[4]) for call in calls[:4]] == [
        (case, case[:4], case[:4], "correct") for case in ("PASS_001", "PASS_002", "FAIL_001", "FAIL_002")
    ]
    assert "UTC passed" in done.stdout


def test_blame_goes_back_to_the_benchmark_that_first_put_the_actor_there(typed: Typed, promoted: World) -> None:
    typed("rollback", "1")
    typed("rollback", "2")
    done = typed("blame", str(GRADE_A))
    assert done.returncode == 0
    assert "rollback 3 " in done.stdout
    assert "the actor was first set by promotion 1" in done.stdout
    assert "4/4 cases correct" in done.stdout


def test_blame_says_when_somebody_else_set_the_actor(typed: Typed, promoted: World) -> None:
    promoted.give(GRADE_A, WRONG)
    done = typed("blame", str(GRADE_A))
    assert done.returncode == 1
    assert "not set by bench, whose last change set another actor" in done.stdout
    untouched = typed("blame", "3335")
    assert (untouched.returncode, "bench never changed it" in untouched.stdout) == (1, True)


def test_an_unknown_conversation_is_bad_input(typed: Typed, promoted: World) -> None:
    for command in ("blame", "failover"):
        assert typed(command, "77").returncode == 2


def test_blame_does_not_let_a_name_drive_the_terminal(typed: Typed, world: World) -> None:
    world.set_actor(FAST, actor_name="fast\x1b[2J\u202e")
    world.ranked()
    typed("promote", "--task", "grading")
    for command in (("blame", str(GRADE_A)), ("log",), ("log", "--plans")):
        assert is_calm(typed(*command).stdout)


def test_failover_hands_over_one_conversation_and_writes_the_documents(typed: Typed, promoted: World) -> None:
    done = typed("failover", str(GRADE_B))
    assert done.returncode == 0
    assert f"✅ failover 2 applied\n   {GRADE_B} Grade B: fast → slow\n📝 " in done.stdout
    assert promoted.holds() == [FAST, SLOW, FAST]


def test_reconcile_writes_what_a_run_that_died_did_not(typed: Typed, world: World) -> None:
    world.promoted()
    done = typed("reconcile")
    assert "📝 production/champions.json" in done.stdout
    assert "⏳ promotion 1 waits for its validation: bench validate --task grading" in done.stdout
    assert done.returncode == 1
    typed("validate", "--task", "grading")
    again = typed("reconcile")
    assert (again.returncode, again.stdout) == (0, "📝 documents are up to date\n")


def test_reconcile_undoes_a_promotion_whose_validation_failed(typed: Typed, promoted: World) -> None:
    promoted.falsify(tables.validations, update(tables.validations).values(passed=False, bar="evidence"))
    done = typed("reconcile", "--json")
    assert done.returncode == 0
    assert [one["undone"]["promotion_id"] for one in json.loads(done.stdout)["undone"]] == [1]
    assert promoted.holds() == [SLOW] * 3
