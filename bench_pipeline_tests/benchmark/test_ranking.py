"""From stored samples to a scoreboard and its history; what counts of an earlier benchmark, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from bench_pipeline.benchmark.events import Event, SampleTaken
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.ranking import (
    latest_benchmark_id,
    rank_benchmark,
    read_ranked,
    unranked_results,
    up_to_date_benchmark,
)
from bench_pipeline.benchmark.runner import RunTerms, run_benchmark
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.benchmark import Purpose
from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.storage import tables
from bench_pipeline.storage.ledger import benchmark_ledger
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import BROKEN, FAST, SILENT, SLOW, WRONG
from bench_pipeline_tests.kit.tasks import SERVED, suite_value, write_task
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World


def standings(world: World, *measured: str, days: float = 35.0) -> dict[str, Standing]:
    """Measure these, and rank them beside all the others."""
    ranked = world.ranked_among(*measured, days=days)
    return {result.model: result.standing for result in ranked.scoreboard.results}


# History


def test_every_model_of_a_benchmark_has_a_row_of_history_and_only_qualified_ones_a_rank(world: World) -> None:
    world.ranked()
    columns = ("model_name", "rank", "correctness_score", "standing", "actor_id", "cases", "cases_correct")
    assert sorted(world.rows("benchmark_history", *columns)) == [
        ("broken", None, 0.0, "inconclusive", BROKEN, 4, 0),
        ("fast", 1, 100.0, "qualified", FAST, 4, 4),
        ("silent", None, 0.0, "disqualified", SILENT, 4, 0),
        ("slow", 2, 100.0, "qualified", SLOW, 4, 4),
        ("wrong", None, 75.0, "disqualified", WRONG, 4, 3),
    ]


def test_a_row_of_history_holds_the_mean_of_the_stored_latencies_and_its_speed_score(world: World) -> None:
    world.ranked("fast")
    latency_ms, speed = only(world.rows("benchmark_history", "avg_latency_ms", "speed_score"))
    stored = [ns for (ns,) in world.rows("benchmark_samples", "latency_ns")]
    assert latency_ms == pytest.approx(sum(stored) / len(stored) / 1e6)
    assert speed == pytest.approx(1000 / (latency_ms / 1000))


@pytest.mark.parametrize(
    ("model", "latency", "speed"),
    [("wrong", True, False), ("silent", False, False), ("broken", False, False)],
)
@ONE_ENGINE
def test_a_model_that_does_not_qualify_has_no_speed_score_and_a_latency_only_of_whole_replies(
    world: World, model: str, latency: bool, speed: bool
) -> None:
    world.ranked(model)
    found = only(world.rows("benchmark_history", "avg_latency_ms", "speed_score"))
    assert [value is not None for value in found] == [latency, speed]


def test_the_failed_cases_are_named_with_their_outcome_and_reason(world: World) -> None:
    ranked = world.ranked("wrong")
    assert only(world.rows("benchmark_history", "failures")) == (
        [{"case_id": "FAIL_002", "outcome": "wrong", "reason": "said PASS, gold is FAIL"}],
    )
    assert read_ranked(world.database, ranked.benchmark.benchmark_id).scoreboard == ranked.scoreboard


def test_ranking_again_gives_the_same_rows(world: World) -> None:
    benchmark_id = world.run()
    columns = tuple(column.name for column in tables.benchmark_history.c)
    rank_benchmark(world.database, benchmark_id)
    before = world.rows("benchmark_history", *columns)
    rank_benchmark(world.database, benchmark_id)
    assert world.rows("benchmark_history", *columns) == before


def test_a_ranked_benchmark_is_read_back_as_it_was_ranked(world: World) -> None:
    ranked = world.ranked()
    assert read_ranked(world.database, ranked.benchmark.benchmark_id) == ranked
    assert read_ranked(world.database, ranked.benchmark.benchmark_id) == ranked


@ONE_ENGINE
def test_who_was_not_run_is_kept_with_the_reason(world: World) -> None:
    assert [(name, reason.value) for name, reason, _ in world.ranked().excluded] == [("ticket.py", "type")]


@ONE_ENGINE
def test_between_equally_fast_models_the_incumbent_comes_first(world: World) -> None:
    for incumbent, name in ((SLOW, "slow"), (FAST, "fast")):
        for conversation in SERVED:
            world.give(conversation, incumbent)
        benchmark_id = world.run("fast", "slow")
        world.change(update(tables.benchmark_samples).values(latency_ns=5_000_000))
        ranked = rank_benchmark(world.database, benchmark_id)
        assert ranked.incumbents == {name}
        assert ranked.scoreboard.champion is not None
        assert ranked.scoreboard.champion.model == name


@ONE_ENGINE
def test_a_benchmark_knows_its_incumbents_though_production_has_changed_since(world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.promoted()
    assert read_ranked(world.database, ranked.benchmark.benchmark_id).incumbents == {"slow"}


@ONE_ENGINE
def test_a_model_of_the_interrupted_part_that_takes_part_no_more_is_not_ranked(world: World) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, SampleTaken) and event.model == "slow":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        world.run("fast", "slow", "wrong", on_event=stop)
    world.set_actor(FAST, enabled=False)
    ranked = world.ranked("fast", "slow")
    assert [result.model for result in ranked.scoreboard.results] == ["slow"]
    assert [(name, reason.value) for name, reason, _ in ranked.excluded] == [("fast", "disabled")]


@ONE_ENGINE
@pytest.mark.parametrize("ask", [read_ranked, rank_benchmark, unranked_results])
def test_an_unknown_benchmark_is_an_input_error(world: World, ask: Callable[[object, str], object]) -> None:
    with pytest.raises(InputError, match="there is no benchmark 'absent'"):
        ask(world.database, "absent")


@ONE_ENGINE
def test_a_benchmark_that_was_not_ranked_cannot_be_read_as_ranked(world: World) -> None:
    benchmark_id = world.run("fast")
    with pytest.raises(InputError, match="was not ranked"):
        read_ranked(world.database, benchmark_id)


@ONE_ENGINE
def test_a_task_that_was_never_benchmarked_has_no_latest_benchmark(world: World) -> None:
    with pytest.raises(InputError, match="bench run --task grading"):
        latest_benchmark_id(world.database, "grading")


# What counts of earlier benchmarks


def test_a_model_unranked_results_is_ranked_beside_the_earlier_runs_of_the_others(world: World) -> None:
    first = world.run("slow", "wrong")
    ranked = world.ranked_among("fast", days=35)
    assert {model: run.benchmark_id for model, run in ranked.reused.items()} == {"slow": first, "wrong": first}
    assert [(r.model, r.rank) for r in ranked.scoreboard.ranked] == [("fast", 1), ("slow", 2)]
    assert [len(samples) for samples in ranked.samples.values()] == [4, 4, 4]


def test_an_eligible_model_that_was_never_measured_is_inconclusive(world: World) -> None:
    ranked = world.ranked_among("fast", days=35)
    result = ranked.scoreboard.of("slow")
    assert result is not None
    assert (result.standing, result.rank, result.actor_id) == (Standing.INCONCLUSIVE, None, SLOW)
    assert result.reason == "not measured yet under this suite and protocol"
    assert ("slow", None, "inconclusive") in world.rows("benchmark_history", "model_name", "rank", "standing")


@ONE_ENGINE
def test_excluded_others_are_told_and_not_ranked(world: World) -> None:
    ranked = world.ranked_among("fast", days=35)
    assert ranked.scoreboard.of("ticket.py") is None
    assert [name for name, _, _ in ranked.excluded] == ["ticket.py"]


def nothing(world: World) -> None:
    pass


def another_suite(world: World) -> None:
    suite = suite_value()
    suite["test_cases"][0]["difficulty"] = "hard"
    write_task(world.folder / "testcases", suite)


def another_age(world: World) -> None:
    (started,) = world.rows("benchmark_model_runs", "started_at")[0]
    world.change(update(tables.benchmark_model_runs).values(started_at=started.replace(year=2020)))


@pytest.mark.parametrize(
    ("changes", "slow"),
    [
        pytest.param(nothing, Standing.QUALIFIED, id="nothing changed"),
        pytest.param(another_suite, Standing.INCONCLUSIVE, id="another suite"),
        pytest.param(
            lambda w: w.set_template(3336, "{posting} {summary}?"), Standing.INCONCLUSIVE, id="another prompt"
        ),
        pytest.param(
            lambda w: setattr(w.server.models["slow:7b"], "digest", "sha256:new"),
            Standing.INCONCLUSIVE,
            id="another digest",
        ),
        pytest.param(
            lambda w: setattr(w.server.models["slow:7b"], "template", "{{ .System }}"),
            Standing.INCONCLUSIVE,
            id="another chat template",
        ),
        pytest.param(lambda w: setattr(w.server, "version", "0.99"), Standing.INCONCLUSIVE, id="another server"),
        pytest.param(
            lambda w: w.set_actor(SLOW, actor_name="renamed"), Standing.INCONCLUSIVE, id="another name for the actor"
        ),
        pytest.param(another_age, Standing.INCONCLUSIVE, id="too old"),
    ],
)
def test_an_earlier_run_counts_only_with_equal_evidence_and_identity(
    world: World, changes: Callable[[World], None], slow: Standing
) -> None:
    world.run("slow")
    changes(world)
    world.runtimes.close()  # the server's list is read anew
    found = standings(world, "fast")
    assert found.get("slow", found.get("renamed")) is slow


@ONE_ENGINE
def test_an_earlier_run_counts_only_within_the_days_that_are_given(world: World) -> None:
    world.run("slow")
    assert standings(world, "fast", days=0)["slow"] is Standing.INCONCLUSIVE
    assert standings(world, "fast", days=1)["slow"] is Standing.QUALIFIED


@ONE_ENGINE
def test_a_run_that_failed_does_not_count_but_the_one_before_it_does(world: World) -> None:
    first = world.run("slow")
    world.server.models["slow:7b"].fault = Fault.LOADING_REFUSED
    world.run("slow")
    ranked = world.ranked_among("fast", days=35)
    assert {model: run.benchmark_id for model, run in ranked.reused.items()} == {"slow": first}


@ONE_ENGINE
def test_a_validation_never_counts_as_a_benchmark(world: World) -> None:
    run_benchmark(
        world.bench,
        world.prepared(),
        Field(tuple(world.candidates("slow"))),
        world.events.append,
        RunTerms(Purpose.VALIDATION),
    )
    assert standings(world, "fast")["slow"] is Standing.INCONCLUSIVE


@ONE_ENGINE
def test_another_number_of_repeats_is_other_evidence(world: World) -> None:
    world.run("slow", repeats=2)
    assert standings(world, "fast")["slow"] is Standing.INCONCLUSIVE


# The ledger


def codes(world: World) -> dict[str, str]:
    columns = world.rows("benchmark_candidates", "model_name", "reason_code", "reason")
    assert [name for name, _, reason in columns if not reason] == []
    return {name: code for name, code, _ in columns}


def test_every_model_that_was_looked_at_gets_its_reason_code(world: World) -> None:
    world.add_actor(20, "llava", "ollama:llava:7b", enabled=False)
    world.ranked()
    assert codes(world) == {
        "fast": "champion",
        "slow": "runner_up",
        "wrong": "wrong",
        "silent": "invalid",
        "broken": "inconclusive",
        "ticket.py": "type",
        "llava": "disabled",
    }


@ONE_ENGINE
def test_a_reused_run_has_the_code_of_its_rank_and_a_model_without_a_run_is_not_measured(world: World) -> None:
    world.run("slow")
    benchmark_id = world.ranked_among("fast").benchmark.benchmark_id
    with world.database.engine.connect() as connection:
        found = {entry.model: entry.code for entry in benchmark_ledger(connection, benchmark_id)}
    assert sorted(code for model, code in found.items() if model in ("fast", "slow")) == ["champion", "runner_up"]
    assert (found["wrong"], found["ticket.py"]) == ("not_measured", "type")


@ONE_ENGINE
def test_ranking_again_gives_the_same_scoreboard_whatever_was_measured_meanwhile(world: World) -> None:
    world.run("slow")
    first = world.ranked_among("fast")
    world.run("wrong")

    again = rank_benchmark(world.database, first.benchmark.benchmark_id)

    assert again.scoreboard == first.scoreboard


# Without a ranking


def test_results_are_read_unranked_with_the_memory_that_each_model_held(world: World) -> None:
    found = unranked_results(world.database, world.run("fast", "wrong"))
    assert {name: (result.standing, result.rank, result.memory_bytes) for name, result in found.items()} == {
        "fast": (Standing.QUALIFIED, None, 1_000_000_000),
        "wrong": (Standing.DISQUALIFIED, None, 4_000_000_000),
    }


# Whether measuring again could tell anything new


@pytest.mark.parametrize(
    ("changes", "current"),
    [
        pytest.param(nothing, True, id="nothing changed"),
        pytest.param(lambda w: w.set_actor(SLOW, enabled=False), False, id="a model fewer"),
        pytest.param(lambda w: w.add_actor(20, "again", "ollama:wrong:3b"), False, id="a model more"),
        pytest.param(
            lambda w: setattr(w.server.models["fast:1b"], "digest", "sha256:new"), False, id="a model pulled anew"
        ),
        pytest.param(another_suite, False, id="another suite"),
    ],
)
def test_a_benchmark_is_up_to_date_while_suite_models_and_identities_are_the_same(
    world: World, changes: Callable[[World], None], current: bool
) -> None:
    for actor in (WRONG, SILENT, BROKEN):
        world.set_actor(actor, enabled=False)
    benchmark_id = world.ranked().benchmark.benchmark_id
    changes(world)
    world.runtimes.close()
    found = up_to_date_benchmark(world.database, "grading", world.evidence_key, world.candidates(), reuse_days=35)
    assert found == (benchmark_id if current else None)


@ONE_ENGINE
def test_a_benchmark_in_which_a_model_could_not_be_measured_is_not_up_to_date(world: World) -> None:
    world.ranked("fast", "broken")
    found = up_to_date_benchmark(world.database, "grading", world.evidence_key, world.candidates("fast", "broken"), 35)
    assert found is None


@ONE_ENGINE
@pytest.mark.parametrize("days", [0, 35])
def test_a_benchmark_that_is_too_old_is_not_up_to_date(world: World, days: float) -> None:
    benchmark_id = world.ranked("fast").benchmark.benchmark_id
    found = up_to_date_benchmark(world.database, "grading", world.evidence_key, world.candidates("fast"), days)
    assert found == (benchmark_id if days else None)


@ONE_ENGINE
def test_without_a_benchmark_nothing_is_up_to_date(world: World) -> None:
    assert up_to_date_benchmark(world.database, "grading", world.evidence_key, world.candidates("fast"), 35) is None
