"""What a check stops, and what it warns of. The rules are tested in domain/promoting/test_concerns.py."""

from __future__ import annotations

from collections import Counter

import dagster as dg
from sqlalchemy import update

from bench_pipeline.benchmark.events import Event, ModelFinished
from bench_pipeline.definitions import build_definitions
from bench_pipeline.storage.tables import benchmark_runs
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import ACTORS, SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline, key_of, with_settings

pytestmark = ONE_ENGINE
MEASURING = ["eligible_models", "grading/test_cases", "grading/model_runs"]


def said_of(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    """Whether each check passed, and what it says."""
    return {one.check_name: (one.passed, one.description or "") for one in result.get_asset_check_evaluations()}


def materialized(pipeline: Pipeline, asset: str) -> int:
    return len(pipeline.instance.fetch_materializations(key_of(asset), limit=5).records)


def test_a_plan_that_rests_on_an_invalid_benchmark_stops_the_run_before_production(pipeline: Pipeline) -> None:
    pipeline.run(assets=[*MEASURING, "grading/scoreboard"])
    pipeline.world.change(update(benchmark_runs).values(invalid="the machine drifted"))

    result = pipeline.run(assets=["grading/promotion_plan", "grading/production_update"], fails=True)

    passed, said = said_of(result)["evidence_is_valid"]
    assert not passed
    assert "is invalid: the machine drifted. No decision may rest on it" in said
    assert materialized(pipeline, "grading/production_update") == 0
    assert pipeline.world.holds() == [SLOW] * 3


def test_a_run_that_could_measure_nothing_stops_at_once_and_says_why(pipeline: Pipeline) -> None:
    for actor_id in ACTORS:
        pipeline.world.set_actor(actor_id, enabled=False)

    result = pipeline.run(assets=MEASURING, fails=True)

    passed, said = said_of(result)["models_are_eligible"]
    assert not passed
    assert said.startswith("None of 6 actors is eligible (5 disabled; 1 type). Nothing can be measured.")
    assert materialized(pipeline, "grading/model_runs") == 0


def test_the_registry_warns_of_old_evidence_of_a_lost_way_back_and_of_changes_by_hand(pipeline: Pipeline) -> None:
    pipeline.run()
    pipeline.world.give(3336, SLOW)
    pipeline.world.server.models.pop("slow:7b")
    aged = with_settings(pipeline, promotion_evidence_days=1e-6)

    said = said_of(aged.run(assets=["champion_registry"]))

    assert {name: passed for name, (passed, _) in said.items()} == dict.fromkeys(
        ("production_equals_registry", "evidence_is_recent", "ways_back_are_installed"), False
    )
    assert "3336 Grade A has slow (actor 2), its champion is actor 1" in said["production_equals_registry"][1]
    assert "3 of 3 champions rest on measurements older than" in said["evidence_is_recent"][1]
    assert "slow, the previous actor of Grade A: " in said["ways_back_are_installed"][1]
    first = aged.metadata("champion_registry")["holders"].records[0].data
    assert (first["conversation"], first["actor"], first["before"]) == ("3336 Grade A", "slow", "slow")
    assert aged.metadata("champion_registry")["have_their_champion"] == 2


def test_models_of_an_interrupted_benchmark_are_recorded_once_by_the_run_that_resumes_it(pipeline: Pipeline) -> None:
    finished: list[str] = []

    def dies_once(event: Event) -> None:
        if isinstance(event, ModelFinished):
            finished.append(event.model)
            assert len(finished) != 2, "the worker died"

    pipeline.__dict__["definitions"] = build_definitions(pipeline.settings, dies_once)
    pipeline.run(assets=MEASURING, fails=True)
    assert pipeline.recorded() == Counter()

    pipeline.run(assets=MEASURING)

    assert pipeline.recorded() == Counter([None, *ACTORS.values()])
    assert pipeline.metadata("grading/model_runs")["measured"] == len(ACTORS)
    assert pipeline.instance.get_dynamic_partitions("models") == list(ACTORS.values())
