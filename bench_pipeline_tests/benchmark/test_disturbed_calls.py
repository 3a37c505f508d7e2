"""Disturbed calls of a benchmark: named, repeated once, and ranked by the rule. The clock is simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bench_pipeline.benchmark.events import CallsRepeated, Event, ModelFinished, SampleTaken
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark
from bench_pipeline.benchmark.rescoring import rescore_benchmark, save_rescored
from bench_pipeline.domain.measuring.disturbance import disturbances
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.storage.samples import samples_of
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.simulated import LatencyMs, SimulatedRuntimes, noticing
from bench_pipeline_tests.kit.tasks import CASES, GRADE_A
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE
QUIET = {"fast:1b": 1000.0, "slow:7b": 1500.0}
PASSES = 3
CASE = "PASS_002"
Factor = Callable[[str, str, int], float]
"""How much longer a call takes than usual, by model, case and the number of the call."""


def alone(model: str, case: str, number: int) -> float:
    return 1.0


def slow_pass(model: str, case: str, number: int) -> float:
    """One pass of one model is 3 times as slow; its repetitions come after the three passes."""
    return 3.0 if (model, number) == ("fast:1b", 2) else 1.0


def one_call(model: str, case: str, number: int) -> float:
    return 3.0 if (model, case, number) == ("fast:1b", CASE, 2) else 1.0


def on_the_clock(factor: Factor) -> LatencyMs:
    return lambda model, case, number: QUIET.get(model, 800.0) * factor(model, case, number)


@pytest.fixture(autouse=True)
def noticed(world: World) -> Iterator[None]:
    for model in world.server.models.values():
        model.latency_ms = 0
    with noticing:
        yield


def benchmarked(
    world: World, factor: Factor, *names: str, on_event: Callable[[Event], None] | None = None, **terms: object
) -> RankedBenchmark:
    world.runtimes = SimulatedRuntimes(world.settings, on_the_clock(factor))
    names = names or ("fast", "slow")
    benchmark_id = world.run(*names, on_event=on_event, **{"repeats": PASSES, "retry_pause_s": 0.0} | terms)
    return rank_benchmark(world.database, benchmark_id)


def takes(world: World, model: str = "fast") -> list[tuple[str, int, int, str | None]]:
    """Case, pass, take and exclusion of the model's calls, in the order of the calls."""
    latest = max(
        number for number, name in world.rows("benchmark_model_runs", "model_run_id", "model_name") if name == model
    )
    with world.database.engine.connect() as connection:
        samples = samples_of(connection, [latest])[latest]
    return [(one.case_id, one.repeat, one.take, one.exclusion) for one in samples]


def repeated(world: World, model: str = "fast") -> list[tuple[str, int]]:
    return [(case, in_pass) for case, in_pass, take, _ in takes(world, model) if take == 2]


# The whole story


def test_a_benchmark_with_a_slow_pass_has_the_champion_of_the_quiet_one(world: World) -> None:
    quiet = benchmarked(world, alone).scoreboard
    loaded = benchmarked(world, slow_pass, on_event=world.events.append)
    assert quiet.champion is not None
    assert loaded.scoreboard.champion is not None
    assert loaded.scoreboard.champion.model == quiet.champion.model == "fast"
    assert loaded.scoreboard.champion.avg_latency_ms == pytest.approx(quiet.champion.avg_latency_ms)

    found = disturbances(loaded.samples["fast"])
    assert {(one.first.case_id, one.first.repeat) for one in found} == {(case, 2) for case in CASES}
    assert [one.ratio for one in found] == pytest.approx([3.0] * 4)
    assert all(one.ranking is one.again for one in found)
    assert not disturbances(loaded.samples["slow"])


def test_without_the_repetitions_the_slow_pass_would_have_changed_the_champion(world: World) -> None:
    loaded = benchmarked(world, slow_pass)
    first = [one for one in loaded.samples["fast"] if one.take == 1]
    mean_ms = sum(one.latency_ns or 0 for one in first) / len(first) / 1e6
    assert mean_ms > QUIET["slow:7b"]


def test_a_quiet_benchmark_repeats_nothing(world: World) -> None:
    benchmarked(world, alone)
    assert not repeated(world, "fast") + repeated(world, "slow")
    assert not [event for event in world.events if isinstance(event, CallsRepeated)]


# The repetition


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0], ids=["faster", "as usual", "slow again"])
def test_the_repetition_ranks_and_the_first_call_does_not(world: World, factor: float) -> None:
    def again(model: str, case: str, number: int) -> float:
        return factor if (model, case, number) == ("fast:1b", CASE, PASSES + 1) else one_call(model, case, number)

    benchmarked(world, again, "fast")
    assert [one for one in takes(world) if one[:2] == (CASE, 2)] == [(CASE, 2, 1, "disturbed"), (CASE, 2, 2, None)]


def test_a_call_is_repeated_once_even_if_it_is_slow_again(world: World) -> None:
    def always(model: str, case: str, number: int) -> float:
        return 3.0 if case == CASE and number > 1 else 1.0

    benchmarked(world, always, "fast")
    assert sorted(repeated(world)) == [(CASE, 2), (CASE, 3)]


def test_the_warm_up_prompt_is_called_before_the_repetitions_in_the_same_load(world: World) -> None:
    benchmarked(world, slow_pass, "fast")
    prompts = [case for model, case in world.prompts() if model == "fast:1b"]
    made = len(CASES) * PASSES
    assert prompts[0] == prompts[1 + made] == "warm-up"
    assert "warm-up" not in prompts[1 : 1 + made] + prompts[2 + made :]
    assert world.server.models["fast:1b"].loads == 1


def test_the_calls_are_announced_and_the_end_of_the_model_names_them(world: World) -> None:
    benchmarked(world, one_call, "fast", on_event=world.events.append)
    (announced,) = [event for event in world.events if isinstance(event, CallsRepeated)]
    (finished,) = [event for event in world.events if isinstance(event, ModelFinished)]
    assert [(one.first.case_id, one.first.repeat, one.again) for one in announced.calls] == [(CASE, 2, None)]
    assert [one.again is not None for one in finished.disturbed] == [True]


def test_the_cold_regime_repeats_in_its_last_load(world: World) -> None:
    benchmarked(world, one_call, "fast", cache_regime="cold")
    assert repeated(world) == [(CASE, 2)]
    assert world.server.models["fast:1b"].loads == PASSES


# What a repetition answers


@pytest.mark.parametrize(
    ("fault", "standing"),
    [
        (Fault.SERVER_ERROR, Standing.QUALIFIED),
        (Fault.CUT_STREAM, Standing.QUALIFIED),
        (Fault.EMPTY_CONTENT, Standing.DISQUALIFIED),
    ],
)
def test_a_failed_repetition_counts_for_nothing_and_an_invalid_one_disqualifies(
    world: World, fault: Fault, standing: Standing
) -> None:
    model = world.server.models["fast:1b"]
    model.fault, model.fault_on_calls = fault, {len(CASES) * PASSES + 3}  # after two warm-ups
    ranked = benchmarked(world, one_call, "fast", retries=0)
    result = ranked.scoreboard.of("fast")
    assert result is not None
    assert result.standing is standing
    assert [one[3] for one in takes(world) if one[:3] == (CASE, 2, 1)] == [None]


def test_a_wrong_repetition_disqualifies(world: World) -> None:
    asked = iter(range(1, 1000))
    model = world.server.models["fast:1b"]
    right = dict(model.answers)  # type: ignore[arg-type]

    def answer(prompt: str) -> str:
        if next(asked) == len(CASES) * PASSES + 3:
            return "[FAIL] no"
        return next((reply for part, reply in right.items() if part in prompt), "[PASS] yes")

    model.answers = answer
    result = benchmarked(world, one_call, "fast").scoreboard.of("fast")
    assert result is not None
    assert (result.standing, [one.case_id for one in result.failures]) == (Standing.DISQUALIFIED, [CASE])


def test_a_failed_warm_up_before_the_repetitions_leaves_the_first_calls(world: World) -> None:
    model = world.server.models["fast:1b"]
    model.fault, model.fault_on_calls = Fault.SERVER_ERROR, {len(CASES) * PASSES + 2}
    ranked = benchmarked(world, one_call, "fast", retries=0)
    assert ranked.scoreboard.champion is not None
    assert not repeated(world)


# Turns


def test_every_pass_of_a_race_is_a_turn(world: World) -> None:
    def last_pass(model: str, case: str, number: int) -> float:
        return 3.0 if (model, case, number) == ("fast:1b", CASE, PASSES) else 1.0

    ranked = benchmarked(world, last_pass, strategy="race")
    assert repeated(world) == [(CASE, PASSES)]
    assert ranked.scoreboard.champion is not None
    assert ranked.scoreboard.champion.model == "fast"


def test_a_race_goes_on_with_the_next_pass_after_repetitions(world: World) -> None:
    def middle(model: str, case: str, number: int) -> float:
        return 3.0 if (model, case, number) == ("fast:1b", CASE, 2) else 1.0

    benchmarked(world, middle, strategy="race")
    made = [(in_pass, take) for _, in_pass, take, _ in takes(world)]
    assert made == [(1, 1)] * 4 + [(2, 1)] * 4 + [(2, 2)] + [(3, 1)] * 4


def test_a_wrong_repetition_stops_a_race(world: World) -> None:
    asked = iter(range(1, 1000))
    model = world.server.models["fast:1b"]
    right = dict(model.answers)  # type: ignore[arg-type]

    def answer(prompt: str) -> str:
        # Each pass has a load with a warm-up; the repetition comes after the second pass and another warm-up.
        if next(asked) == 2 * (len(CASES) + 1) + 2:
            return "[FAIL] no"
        return next((reply for part, reply in right.items() if part in prompt), "[PASS] yes")

    model.answers = answer
    ranked = benchmarked(world, one_call, strategy="race")
    result = ranked.scoreboard.of("fast")
    assert result is not None
    assert (result.standing, ranked.runs["fast"].stopped) == (Standing.DISQUALIFIED, "failed")
    assert max(in_pass for _, in_pass, _, _ in takes(world)) == 2


def test_a_pass_of_the_final_is_a_turn_and_may_show_that_the_main_passes_were_slow(world: World) -> None:
    def first_two(model: str, case: str, number: int) -> float:
        if model == "slow:7b":
            return 2.0  # the incumbent, which the other one must beat even in its slow passes to reach the final
        return 2.5 if number <= 2 else 1.0

    world.give(GRADE_A, SLOW)
    ranked = benchmarked(world, first_two, repeats=2, final_passes=2)
    result = ranked.scoreboard.of("fast")
    assert result is not None
    found = takes(world)
    first_final = next(n for n, one in enumerate(found) if one[1] == 3)
    assert [one for one in found[:first_final] if one[2] == 2] == []
    assert {one[:2] for one in found if one[2] == 2} == {(case, in_pass) for case in CASES for in_pass in (1, 2)}
    assert result.avg_latency_ms == pytest.approx(QUIET["fast:1b"])


# Interruptions


class _Killed(Exception):
    """The process ends here."""


def killed_at(number: int) -> Callable[[Event], None]:
    """Die when this repetition, from 1, has been stored."""
    seen = iter(range(1, 1000))

    def on_event(event: Event) -> None:
        if isinstance(event, SampleTaken) and event.sample.take == 2 and next(seen) == number:
            raise _Killed

    return on_event


@pytest.mark.parametrize("terms", [{}, {"strategy": "race"}, {"repeats": 1, "final_passes": 2}], ids=str)
@pytest.mark.parametrize("number", [1, 3, 4])
def test_an_interrupted_benchmark_makes_the_repetitions_that_are_missing(
    world: World, terms: dict[str, object], number: int
) -> None:
    world.give(GRADE_A, SLOW)
    whole = sorted(takes_after(world, terms))
    with pytest.raises(_Killed):
        benchmarked(world, slow_pass, on_event=killed_at(number), **terms)
    assert len(repeated(world)) == number
    # The clock counts the calls of the whole benchmark, so it must not start again.
    world.run("fast", "slow", **{"repeats": PASSES} | terms | {"retry_pause_s": 0.0})
    assert sorted(takes(world)) == whole


def takes_after(world: World, terms: dict[str, object]) -> list[tuple[str, int, int, str | None]]:
    benchmarked(world, slow_pass, **terms)
    return takes(world)


def test_a_benchmark_that_ended_is_not_repeated_further(world: World) -> None:
    benchmark_id = benchmarked(world, slow_pass).benchmark.benchmark_id
    asked = len(world.server.log)
    rank_benchmark(world.database, benchmark_id)
    assert len(world.server.log) == asked


# Judged again


def test_a_rescored_benchmark_ranks_the_same_takes(world: World) -> None:
    ranked = benchmarked(world, one_call, "fast")
    saved = save_rescored(world.database, rescore_benchmark(world.database, world.settings, "grading"))
    assert [(one.take, one.exclusion) for one in saved.samples["fast"]] == [
        (one.take, one.exclusion) for one in ranked.samples["fast"]
    ]


# What is shown


@pytest.fixture
def on_the_simulated_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bench_pipeline.benchmark.workbench.Runtimes",
        lambda settings: SimulatedRuntimes(settings, on_the_clock(slow_pass)),
    )


@pytest.mark.usefixtures("on_the_simulated_clock")
def test_the_terminal_shows_the_repetitions_as_they_are_made_and_names_the_calls_at_the_end(typed: Typed) -> None:
    shown = typed("run", "--task", "grading", "--models", "fast", "--repeats", str(PASSES)).stdout
    assert (
        "  🐢 4 calls took far longer than expected; repeating once\n  ├─ FAIL_001 #2 again: ✅ FAIL (1.00 s)" in shown
    )
    assert "  └─ PASS_002 #2 again: ✅ PASS (1.00 s)\n  Result: 4/4" in shown
    line = "   fast, PASS_001, pass 2: 3.00 s, 3.0 × as long as expected; again 1.00 s; the repetition ranks"
    assert line in shown.partition("🐢 Disturbed calls:")[2].splitlines()


@pytest.mark.usefixtures("on_the_simulated_clock")
def test_dagster_shows_their_number_and_a_table(pipeline: Pipeline) -> None:
    pipeline.run(config={"repeats": PASSES}, assets=["grading/test_cases", "eligible_models", "grading/model_runs"])
    fast, slow = (pipeline.metadata("grading/model_runs", name) for name in ("fast", "slow"))
    assert (fast["disturbed_calls"], slow["disturbed_calls"]) == (4, 0)
    assert "disturbed" not in slow
    first = fast["disturbed"].records[0].data
    assert first == {
        "model": "fast", "case_id": "FAIL_001", "pass": 2, "latency_ms": 3000.0, "ratio": 3.0, "again_ms": 1000.0,
        "ranks": "repetition",
    }  # fmt: skip
    assert pipeline.metadata("grading/model_runs")["disturbed_calls"] == 4
