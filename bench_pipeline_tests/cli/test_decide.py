"""`bench decide`: what a decision rests on, and whether it comes out the same again."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from bench_pipeline.promotion.plan import store_plan
from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, SERVED
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


def store(world: World) -> None:
    """Store a plan whose decisions are promote, keep, promote."""
    ranked = world.ranked("fast", "slow")
    world.give(GRADE_B, FAST)
    store_plan(world.database, world.decided(ranked), "the tests")


def test_decide_shows_each_decision_with_its_input_and_what_it_would_save(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    world.was_called(GRADE_A, 1200)
    done = typed("decide", "--task", "grading")
    assert done.returncode == 0
    first = done.stdout.splitlines()[:4]
    assert first[0] == "3336 Grade A: PROMOTE slow → fast"
    assert "interval" in first[1]
    assert "n=4 passes" in first[1]
    assert first[2] == ("   about 40 min a month less (99.94 % interval 40 to 40 min; 1,200 calls in the last 30 days)")
    assert first[3].startswith("   input ")
    assert first[3].endswith(", not stored yet")
    assert done.stdout.splitlines()[-1].startswith("no decision from benchmark grading-")
    assert world.rows("benchmark_decisions", "decision_id") == []


def test_decide_tells_the_id_of_a_decision_that_is_stored(typed: Typed, world: World) -> None:
    store(world)
    lines = typed("decide", "--task", "grading").stdout.splitlines()
    assert [line.partition(", ")[2] for line in lines if line.startswith("   input")] == [
        f"`bench decide --replay {number}`" for number in (1, 2, 3)
    ]


def test_decide_lists_what_is_stored_of_the_benchmark_even_when_the_incumbent_is_another_now(
    typed: Typed, world: World
) -> None:
    store(world)
    world.give(GRADE_A, FAST)
    lines = typed("decide", "--task", "grading").stdout.splitlines()
    assert lines[2].endswith(", not stored yet")
    assert [(line.split()[0], *line.split()[3:5]) for line in lines[-3:]] == [
        ("1", "3336", "PROMOTE"), ("2", "3337", "KEEP"), ("3", "3339", "PROMOTE"),
    ]  # fmt: skip
    value = json.loads(typed("decide", "--task", "grading", "--json").stdout)
    assert [(one["decision_id"], one["decision"]) for one in value["stored"]] == [
        (1, "promote"), (2, "keep"), (3, "promote"),
    ]  # fmt: skip
    assert value["decisions"][0]["decision_id"] is None


def test_decide_gives_its_figures_as_json(typed: Typed, world: World) -> None:
    store(world)
    world.was_called(GRADE_A, 6)
    value = json.loads(typed("decide", "--task", "grading", "--json").stdout)["decisions"]
    assert [(one["conversation_id"], one["decision_id"]) for one in value] == list(zip(SERVED, (1, 2, 3), strict=True))
    first, second, _ = value
    assert (first["incumbent"], first["challenger"], first["runner_up"]) == ("slow", "fast", "slow")
    assert first["comparison"]["n"] == 4
    assert (first["impact"]["calls"], first["impact"]["level"]) == (6, first["comparison"]["level"])
    assert len(first["input_hash"]) == 64
    assert (second["decision"], second["comparison"], second["impact"]) == ("keep", None, None)
    assert first["policy"] == {"min_gain": 0.05, "alpha": 0.006, "version": 2}


def test_a_replay_gives_the_same(typed: Typed, world: World) -> None:
    store(world)
    world.change(update(tables.benchmark_history).values(latency_ms=1.0, final_latencies_ms=[]))
    done = typed("decide", "--replay", "1")
    assert done.returncode == 0
    _, stored, again, rule, verdict = done.stdout.splitlines()
    assert stored.split(maxsplit=1)[1] == again.split(maxsplit=1)[1]
    assert stored.split()[1] == "PROMOTE:"
    assert rule == "   rule    policy version 2: ratio of mean latencies, passes of the final as the sample"
    assert verdict == "✅ the same"


@pytest.mark.parametrize(
    ("column", "value"), [("decision", "keep"), ("reason", "said another version")], ids=["decision", "reason"]
)
def test_a_replay_that_differs_shows_both_and_says_no(typed: Typed, world: World, column: str, value: str) -> None:
    store(world)
    world.falsify(tables.decisions, update(tables.decisions).values({column: value}))
    done = typed("decide", "--replay", "1", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["same"], found["stored"][column]) == (1, False, value)
    assert found["again"]["decision"] == "promote"
    assert "❌ this version of the program decides differently" in typed("decide", "--replay", "1").stdout


@pytest.mark.parametrize("changed_hash", [False, True], ids=["the hash tells", "nobody can read it"])
def test_an_input_that_was_changed_is_refused(typed: Typed, world: World, changed_hash: bool) -> None:
    store(world)
    hashed = {"input_hash": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}  # of {}
    world.falsify(tables.decisions, update(tables.decisions).values({"input": {}} | (hashed if changed_hash else {})))
    done = typed("decide", "--replay", "1")
    assert done.returncode == 1
    said = "this version cannot read the input" if changed_hash else "the input"
    assert done.stderr.startswith(f"bench: {said} of decision 1")


def test_an_unknown_id_is_bad_input(typed: Typed, world: World) -> None:
    done = typed("decide", "--replay", "77")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no decision 77; `bench decide --task TASK` lists" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--task", "grading", "--replay", "1"), ("--replay", "0")])
def test_either_a_task_or_an_id_is_wanted(typed: Typed, world: World, arguments: tuple[str, ...]) -> None:
    assert typed("decide", *arguments).returncode == 2


def test_promote_stores_the_decisions_and_plan_does_not(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    typed("plan", "--task", "grading")
    assert world.rows("benchmark_decisions", "decision_id") == []
    typed("promote", "--task", "grading", "--no-validate")
    assert world.rows("benchmark_decisions", "conversation_id", "decision") == [(n, "promote") for n in SERVED]


def test_the_plans_json_tells_the_impact_by_conversation(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    world.was_called(GRADE_B, 30)
    value = json.loads(typed("plan", "--task", "grading", "--json").stdout)["impact"]
    assert list(value) == [str(GRADE_B)]
    assert value[str(GRADE_B)]["minutes"] > 0
