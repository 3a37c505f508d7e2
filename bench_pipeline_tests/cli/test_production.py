"""`plan`, `promote`, `rollback`, `validate` and `docs`: what they say, what they change, their exit status."""

from __future__ import annotations

import json

from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_B, SERVED
from bench_pipeline_tests.kit.text import is_calm
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


def test_plan_shows_each_conversation_with_its_decision_and_why(typed: Typed, world: World) -> None:
    world.give(GRADE_B, 6)
    world.ranked("fast", "slow")
    done = typed("plan", "--task", "grading")
    assert done.returncode == 0
    lines = done.stdout.splitlines()[2:5]
    assert [line.split()[:4] for line in lines] == [
        ["3336", "Grade", "A", "PROMOTE"], ["3337", "Grade", "B", "KEEP"], ["3339", "Regrade", "PROMOTE", "slow"],
    ]  # fmt: skip
    assert "slow → fast" in lines[0]
    assert "99.8% faster than slow in the final" in lines[0]
    assert "ticket.py is not a model but of type script; a person decides" in lines[1]


def test_plan_says_no_when_everything_stays(typed: Typed, world: World) -> None:
    world.server.models["slow:7b"].answers = {}
    world.ranked("slow", "wrong")
    done = typed("plan", "--task", "grading")
    assert done.returncode == 1
    assert "no model was correct in all cases" in done.stdout


def test_promote_applies_validates_and_writes_the_documents(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    value = json.loads(typed("promote", "--task", "grading", "--json").stdout)
    assert (value["promotion"]["promotion_id"], value["validation"]["passed"]) == (1, True)
    assert world.holds() == [FAST] * 3
    assert [path for path in value["documents"] if not (world.folder / path).is_file()] == []
    assert "Grade A" in (world.folder / value["documents"][0]).read_text(encoding="utf-8")


def test_promote_again_changes_neither_production_nor_documents(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    typed("promote", "--task", "grading")
    before = world.snapshot()
    done = typed("promote", "--task", "grading")
    assert done.returncode == 0
    assert "nothing to promote\n📝 " in done.stdout
    typed("promote", "--task", "grading")
    assert world.snapshot() == before
    assert len(world.rows("benchmark_promotions", "promotion_id")) == 1
    assert typed("docs").stdout == "📝 documents are up to date\n"


def test_promote_without_a_champion_touches_nothing(typed: Typed, world: World) -> None:
    world.server.models["slow:7b"].answers = {}
    world.ranked("slow", "wrong")
    before = world.snapshot()
    done = typed("promote", "--task", "grading")
    assert (done.returncode, "nothing to promote" in done.stdout) == (0, True)
    assert world.snapshot() == before


def test_a_promotion_that_fails_its_validation_is_undone_and_says_so(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    world.server.models["fast:1b"].answers = {}
    done = typed("promote", "--task", "grading")
    assert done.returncode == 1
    assert "❌ validation failed: fast got 2/4 cases right: " in done.stdout
    assert "promotion 1 is undone" in done.stdout
    assert world.holds() == [SLOW] * 3


def test_the_validation_can_be_left_to_later(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    before = len(world.server.log)
    assert typed("promote", "--task", "grading", "--no-validate").returncode == 0
    assert world.calls(since=before) == []
    assert [one.status for one in world.promotions()] == ["applied"]
    done = typed("validate", "--task", "grading")
    assert (done.returncode, "✅ validation passed: fast" in done.stdout) == (0, True)
    assert [one.status for one in world.promotions()] == ["validated"]


def test_validate_undoes_a_promotion_that_holds_no_more(typed: Typed, world: World) -> None:
    world.promoted()
    world.server.__exit__()
    done = typed("validate", "--task", "grading", "--json")
    value = json.loads(done.stdout)["validation"]
    assert (done.returncode, value["passed"]) == (1, False)
    assert "cannot be called: no Ollama server" in value["reasons"][0]
    assert world.holds() == [SLOW] * 3


def test_rollback_names_what_it_restored_and_what_it_left(typed: Typed, world: World) -> None:
    world.promoted()
    world.give(GRADE_B, WRONG)
    done = typed("rollback", "--task", "grading")
    assert done.returncode == 1
    assert "   3336 Grade A: fast → slow\n   3339 Regrade: fast → slow\n" in done.stdout
    assert "   3337 Grade B: left alone, changed in the meantime or its old actor was removed" in done.stdout
    assert world.holds() == [SLOW, WRONG, SLOW]


def test_rollback_undoes_the_promotion_that_is_named(typed: Typed, world: World) -> None:
    world.promoted()
    value = json.loads(typed("rollback", "1", "--json").stdout)["rollback"]
    assert ([row["conversation_id"] for row in value["restored"]], value["left"]) == (list(SERVED), [])
    refused = typed("rollback", "1")
    assert refused.returncode == 1
    assert refused.stderr.startswith("bench: promotion 1 is already undone: requested by ")


def test_docs_writes_what_the_database_says_and_the_second_time_nothing(typed: Typed, world: World) -> None:
    world.promoted()
    first = json.loads(typed("docs", "--json").stdout)["documents"]
    written = {path: (world.folder / path).read_bytes() for path in first}
    times = {path: (world.folder / path).stat().st_mtime_ns for path in first}
    assert json.loads(typed("docs", "--json").stdout) == {"documents": []}
    assert {path: (world.folder / path).read_bytes() for path in first} == written
    assert {path: (world.folder / path).stat().st_mtime_ns for path in first} == times


def test_docs_rewrites_only_what_changed(typed: Typed, world: World) -> None:
    world.promoted()
    typed("docs")
    roll_back(world.bench, "the tests want it", "the tests")
    assert len(json.loads(typed("docs", "--json").stdout)["documents"]) == 3
    world.give(GRADE_B, WRONG)
    (changed,) = json.loads(typed("docs", "--json").stdout)["documents"]
    assert "3001" in changed


def test_hostile_names_do_not_drive_the_terminal(typed: Typed, world: World) -> None:
    world.set_actor(FAST, actor_name="fast\x1b[2J\u202e")
    world.ranked()
    for command in ("plan", "promote", "validate"):
        assert is_calm(typed(command, "--task", "grading").stdout)
    undone = typed("rollback")
    assert "→ slow" in undone.stdout
    assert is_calm(undone.stdout.replace("\ufe0f", ""))
