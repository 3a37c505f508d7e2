"""The terms of a measurement as the runner keeps them: order, cache regime, retries, anchor, final and race."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import update

from bench_pipeline.benchmark import runner
from bench_pipeline.benchmark.events import FinalPass, ModelFinished
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.ranking import rank_benchmark
from bench_pipeline.benchmark.runner import run_benchmark
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.promoting.final import LOOKS
from bench_pipeline.storage import tables
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.tasks import CASES, SERVED
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


def run(
    world: World,
    *names: str,
    incumbents: tuple[str, ...] = (),
    anchor: str | None = None,
    **terms: Any,  # noqa: ANN401
) -> str:
    prepared = world.prepared().with_terms(**{"anchor": anchor, "retry_pause_s": 0.0} | terms)
    field = Field(
        tuple(world.candidates(*names)), frozenset(incumbents), only(world.candidates(anchor)) if anchor else None
    )
    return run_benchmark(world.bench, prepared, field, world.events.append)


def order_of(world: World, model: str) -> list[str]:
    return [case for name, case in world.calls() if name == model]


# The order


def test_without_a_seed_the_cases_come_as_they_are_written(world: World) -> None:
    run(world, "fast", repeats=2)
    assert order_of(world, "fast:1b") == [*CASES] * 2


def test_a_seed_shuffles_every_pass_alike_for_all_models_and_is_stored(world: World) -> None:
    run(world, "fast", "slow", repeats=2, order_seed=7)
    order = order_of(world, "fast:1b")
    assert order == order_of(world, "slow:7b")
    assert sorted(order[:4]) == sorted(order[4:]) == sorted(CASES)
    assert order != [*CASES] * 2
    assert only(world.rows("benchmark_runs", "protocol"))[0]["order_seed"] == 7


# The cache regime


@pytest.mark.parametrize(("regime", "loads"), [("as_production", 1), ("cold", 3)])
def test_cold_unloads_the_model_before_every_pass(world: World, regime: str, loads: int) -> None:
    run(world, "fast", repeats=3, cache_regime=regime)
    assert world.server.models["fast:1b"].loads == loads
    assert len(world.rows("benchmark_samples", "case_id")) == 12


# What a runtime cannot keep


@pytest.mark.parametrize(
    ("terms", "own", "says"),
    [
        ({}, None, "start it with that context and set BENCH_OPENAI_NUM_CTX=2048"),
        ({}, 1024, "num_ctx 2048 exceeds the server's 1024"),
        ({"cache_regime": "cold"}, 4096, "cannot unload a model"),
    ],
    ids=["context unknown", "context too small", "cold"],
)
def test_a_term_that_a_runtime_cannot_keep_excludes_the_model_before_the_first_call(
    world: World, terms: dict[str, Any], own: int | None, says: str
) -> None:
    world.configure(openai_num_ctx=own)
    world.add_actor(20, "own server", f"openai:{world.server.url}/v1#fast:1b")
    run(world, "own server", "fast", **terms)
    found = dict(world.rows("benchmark_candidates", "model_name", "exclusion"))
    assert found == {"own server": "protocol", "fast": None}
    assert says in dict(world.rows("benchmark_candidates", "model_name", "detail"))["own server"]
    assert not world.server.requests("/v1/chat/completions")


def test_a_runtime_that_keeps_all_terms_is_measured(world: World) -> None:
    world.configure(openai_num_ctx=4096)
    world.add_actor(20, "own server", f"openai:{world.server.url}/v1#fast:1b")
    run(world, "own server")
    assert [outcome for (outcome,) in world.rows("benchmark_samples", "outcome")] == ["correct"] * 4


# Retries


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.JUNK])
def test_what_a_second_try_cannot_change_is_not_tried_again(world: World, fault: Fault) -> None:
    model = world.server.models["fast:1b"]
    model.fault, model.fault_on_calls = fault, {2}
    run(world, "fast", retries=2)
    assert world.rows("benchmark_samples", "outcome")[0] == ("error",)
    assert Counter(order_of(world, "fast:1b"))["PASS_001"] == 1


def test_after_a_crash_the_model_is_loaded_and_warmed_up_again_outside_every_latency(world: World) -> None:
    model = world.server.models["fast:1b"]
    model.fault, model.fault_on_calls = Fault.SERVER_ERROR, {2}
    run(world, "fast", retries=1)
    asked = [record.body["messages"] for record in world.server.requests("/api/chat")]
    first = asked[2]  # after load and warm-up: the call that fails
    assert asked[3:6] == [[], asked[1], first]


@pytest.mark.parametrize(("budget", "standing"), [(0, Standing.INCONCLUSIVE), (1, Standing.QUALIFIED)])
def test_errors_within_the_budget_are_forgiven_where_another_pass_was_right(
    world: World, budget: int, standing: Standing
) -> None:
    model = world.server.models["fast:1b"]
    model.fault, model.fault_on_calls = Fault.CUT_STREAM, {3}
    benchmark_id = run(world, "fast", repeats=2, error_budget=budget)
    assert only(rank_benchmark(world.database, benchmark_id).scoreboard.results).standing is standing


# The anchor


def set_latencies(world: World, model: str, latency_ms: float) -> None:
    """Give all calls of one model run this latency."""
    runs, samples = tables.benchmark_model_runs, tables.benchmark_samples
    mine = runs.select().with_only_columns(runs.c.model_run_id).where(runs.c.model_name == model)
    world.change(
        update(samples).where(samples.c.model_run_id.in_(mine)).values(latency_ns=round(latency_ms * 1_000_000))
    )


def test_the_anchor_is_measured_first_and_last_and_not_ranked(world: World) -> None:
    benchmark_id = run(world, "wrong", anchor="fast")
    assert [model for model, case in world.calls() if case == "PASS_001"] == ["fast:1b", "wrong:3b", "fast:1b"]
    assert world.rows("benchmark_model_runs", "role") == [("anchor_first",), ("candidate",), ("anchor_last",)]
    assert [line.model for line in rank_benchmark(world.database, benchmark_id).scoreboard.results] == ["wrong"]


def test_a_model_can_be_candidate_and_anchor(world: World) -> None:
    run(world, "fast", anchor="fast")
    assert len(world.rows("benchmark_model_runs", "role")) == 3


@pytest.mark.parametrize(
    ("slower_by_ms", "invalid"), [(0, False), (400, True)], ids=["as fast as before", "slower than before"]
)
def test_drift_of_the_anchor_marks_the_run_invalid(
    world: World, monkeypatch: pytest.MonkeyPatch, slower_by_ms: float, invalid: bool
) -> None:
    monkeypatch.setattr(runner, "MAX_DRIFT", 1.0)  # more than a busy machine adds to what the anchor takes
    world.server.models["fast:1b"].latency_ms = 200

    def slow_down(event: object) -> None:
        if isinstance(event, ModelFinished):
            world.server.models["fast:1b"].latency_ms += slower_by_ms

    prepared = world.prepared().with_terms(anchor="fast")
    benchmark_id = run_benchmark(
        world.bench,
        prepared,
        Field(tuple(world.candidates("wrong")), anchor=only(world.candidates("fast"))),
        slow_down,
    )
    board = rank_benchmark(world.database, benchmark_id).scoreboard
    assert bool(board.invalid) is invalid
    assert ("the anchor's latency changed by +" in board.invalid) is invalid


def test_an_anchor_that_fails_leaves_the_run_invalid(world: World) -> None:
    benchmark_id = run(world, "wrong", anchor="broken")
    board = rank_benchmark(world.database, benchmark_id).scoreboard
    assert board.invalid == "the anchor broken (anchor, first) has no valid latency to compare"


# The final


def passes_of(world: World) -> list[tuple[str, ...]]:
    return [event.models for event in world.events if isinstance(event, FinalPass)]


def test_challenger_and_incumbent_make_pass_after_pass_until_a_look_decides(world: World) -> None:
    for name, latency_ms in (("fast:1b", 20), ("slow:7b", 80)):  # far above what a busy machine adds
        world.server.models[name].latency_ms = latency_ms
    benchmark_id = run(world, "fast", "slow", "wrong", incumbents=("slow",), final_passes=20)
    passes = passes_of(world)
    assert {frozenset(one) for one in passes} == {frozenset({"fast", "slow"})}
    assert len(passes) in LOOKS  # the first, unless the machine stumbled
    ranked = rank_benchmark(world.database, benchmark_id)
    by_name = {result.model: result for result in ranked.scoreboard.results}
    assert {name: result.final_passes for name, result in by_name.items()} == {
        "fast": len(passes),
        "slow": len(passes),
        "wrong": 0,
    }
    assert set(by_name["fast"].final_case_medians_ms) == set(CASES)


def test_each_pass_of_the_final_has_a_load_of_its_own_so_that_no_pass_is_warmer(world: World) -> None:
    run(world, "fast", "slow", incumbents=("slow",), final_passes=2)
    assert [world.server.models[name].loads for name in ("fast:1b", "slow:7b")] == [3, 3]


def test_a_final_is_bounded(world: World) -> None:
    run(world, "fast", "slow", incumbents=("slow",), final_passes=1)
    assert len(passes_of(world)) == 1


@pytest.mark.parametrize(
    ("incumbents", "passes", "names"),
    [((), 20, ("fast", "slow")), (("slow",), 0, ("fast", "slow")), (("wrong",), 20, ("fast", "slow", "wrong"))],
    ids=["no incumbent", "switched off", "incumbent that does not qualify"],
)
def test_without_need_there_is_no_final(
    world: World, incumbents: tuple[str, ...], passes: int, names: tuple[str, ...]
) -> None:
    run(world, *names, incumbents=incumbents, final_passes=passes)
    assert passes_of(world) == []


def test_a_wrong_answer_in_the_final_disqualifies(world: World) -> None:
    answers = iter(["[PASS] yes"] * 3 + ["[FAIL] no"] * 2)  # warm-up and the two PASS cases, then the FAIL cases

    def tired(prompt: str) -> str:
        return next(answers, "[PASS] whatever")

    world.server.models["fast:1b"].answers = tired
    benchmark_id = run(world, "fast", "slow", incumbents=("slow",), final_passes=20)
    board = rank_benchmark(world.database, benchmark_id).scoreboard
    assert {result.model: result.standing for result in board.results} == {
        "fast": Standing.DISQUALIFIED,
        "slow": Standing.QUALIFIED,
    }


def test_the_same_model_entered_twice_never_promotes_itself(world: World) -> None:
    for conversation in SERVED:
        world.give(conversation, FAST)
    world.add_actor(20, "again", "ollama:fast:1b")
    benchmark_id = run(world, "fast", "again", incumbents=("fast",), repeats=2, final_passes=4)
    ranked = rank_benchmark(world.database, benchmark_id)
    assert len(ranked.scoreboard.ranked) == 2
    assert world.plan(ranked).changes == ()


# The race


def test_a_race_stops_a_model_at_its_first_wrong_answer(world: World) -> None:
    benchmark_id = run(world, "fast", "slow", "wrong", strategy="race")
    assert len(order_of(world, "fast:1b")) == len(order_of(world, "slow:7b")) == 4
    assert order_of(world, "wrong:3b")[-1] == "FAIL_002"
    ranked = rank_benchmark(world.database, benchmark_id)
    wrong = ranked.scoreboard.of("wrong")
    assert wrong is not None
    assert (wrong.standing, [failure.case_id for failure in wrong.failures]) == (Standing.DISQUALIFIED, ["FAIL_002"])
    assert dict(world.rows("benchmark_model_runs", "model_name", "stopped"))["wrong"] == "failed"


def test_the_case_that_most_models_failed_comes_first(world: World) -> None:
    world.server.models["same:3b"] = FakeModel(digest="sha256:5a", answers=world.server.models["wrong:3b"].answers)
    run(world, "wrong")
    run(world, "same:3b", strategy="race")
    assert order_of(world, "same:3b") == ["FAIL_002"]


def test_a_wrong_answer_is_confirmed_when_the_protocol_says_so(world: World) -> None:
    run(world, "wrong", strategy="race", confirm_wrong=True)
    assert order_of(world, "wrong:3b")[-2:] == ["FAIL_002", "FAIL_002"]


def test_a_model_that_two_others_outpace_stops_and_is_not_disqualified(world: World) -> None:
    third = FakeModel(digest="sha256:03", answers=world.server.models["fast:1b"].answers, latency_ms=900)
    world.server.models |= {"third:7b": third}
    for name, latency_ms in (("fast:1b", 20), ("slow:7b", 60)):  # no stumble of the machine makes up for a factor of 15
        world.server.models[name].latency_ms = latency_ms
    benchmark_id = run(world, "fast", "slow", "third:7b", strategy="race", repeats=3)
    assert [len(order_of(world, name)) for name in ("fast:1b", "slow:7b", "third:7b")] == [12, 12, 4]
    board = rank_benchmark(world.database, benchmark_id).scoreboard
    assert [result.model for result in board.ranked] == ["fast", "slow"]
    outpaced = board.of("third:7b")
    assert outpaced is not None
    assert (outpaced.standing, outpaced.cases_seen, outpaced.rank) == (Standing.OUTPACED, 4, None)


def test_an_incumbent_is_never_outpaced(world: World) -> None:
    for name, latency_ms in (("fast:1b", 40), ("slow:7b", 400)):
        world.server.models[name].latency_ms = latency_ms
    world.server.models["third:7b"] = FakeModel(
        digest="sha256:03", answers=world.server.models["fast:1b"].answers, latency_ms=80
    )
    run(world, "fast", "third:7b", "slow", strategy="race", repeats=2, incumbents=("slow",))
    assert len(order_of(world, "slow:7b")) == 8


@pytest.mark.parametrize(("latency_ms", "meet"), [(300, True), (600, False)], ids=["about as fast", "clearly slower"])
def test_the_leaders_of_a_race_meet_in_a_final_unless_one_is_clearly_slower(
    world: World, latency_ms: float, meet: bool
) -> None:
    fast = world.server.models["fast:1b"]
    fast.latency_ms = 300  # a busy machine adds less than a tenth
    world.server.models["second:1b"] = FakeModel(digest="sha256:02", answers=fast.answers, latency_ms=latency_ms)
    run(world, "fast", "second:1b", strategy="race", final_passes=1)
    assert bool(passes_of(world)) is meet
