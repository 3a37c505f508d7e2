"""The sensor that benchmarks a new model alone."""

from __future__ import annotations

import dagster as dg
import pytest

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import BROKEN, FAST
from bench_pipeline_tests.kit.pipeline import Pipeline, with_settings

pytestmark = ONE_ENGINE


def tick(pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Evaluate the sensor once, as the daemon does."""
    sensor = pipeline.definitions.resolve_sensor_def("new_models")
    result = sensor(dg.build_sensor_context(instance=pipeline.instance, resources={"workbench": pipeline.workbench}))
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def requests_of(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or [])


@pytest.fixture
def measured(pipeline: Pipeline) -> Pipeline:
    """A world without its broken model, benchmarked before `fast` was an actor."""
    pipeline.world.remove_actor(BROKEN)
    pipeline.world.remove_actor(FAST)
    pipeline.run()
    return pipeline


def test_a_new_model_gets_its_partition_and_a_run_of_its_own(measured: Pipeline) -> None:
    measured.world.add_actor(FAST, "fast", "ollama:fast:1b")

    result = tick(measured)

    (request,) = requests_of(result)
    assert (request.job_name, request.partition_key) == ("benchmark_grading", "fast")
    assert isinstance(result, dg.SensorResult)
    assert [list(add.partition_keys) for add in result.dynamic_partitions_requests or []] == [["fast"]]


def test_nothing_is_requested_when_all_models_are_measured(measured: Pipeline) -> None:
    assert isinstance(tick(measured), dg.SkipReason)


def test_a_task_that_was_never_benchmarked_waits_for_a_person(pipeline: Pipeline) -> None:
    assert isinstance(tick(pipeline), dg.SkipReason)


def test_known_names_with_new_weights_are_measured_again(measured: Pipeline) -> None:
    measured.world.server.models["slow:7b"].digest = "sha256:99"

    (request,) = requests_of(tick(measured))

    assert request.partition_key == "slow"


def test_the_requested_run_ranks_the_new_model_among_the_others_and_is_not_asked_for_again(
    measured: Pipeline,
) -> None:
    measured.world.add_actor(FAST, "fast", "ollama:fast:1b")
    (request,) = requests_of(tick(measured))
    measured.instance.add_dynamic_partitions("models", ["fast"])

    measured.run(job=str(request.job_name), partition=request.partition_key)

    assert measured.metadata("grading/scoreboard")["champion"] == "fast"
    assert isinstance(tick(measured), dg.SkipReason)


def test_a_model_that_cannot_be_measured_is_tried_three_times(measured: Pipeline) -> None:
    """Row 30."""
    measured.world.add_actor(BROKEN, "broken", "ollama:broken:3b")
    keys = []
    while isinstance(result := tick(measured), dg.SensorResult):
        (request,) = requests_of(result)
        keys.append(request.run_key)
        measured.instance.add_dynamic_partitions("models", ["broken"])
        measured.run(partition="broken", assets=["grading/model_runs"])

    assert len(set(keys)) == 3


def test_a_failed_reading_is_not_an_empty_list(measured: Pipeline) -> None:
    names = {"actors.enabled": "is_active"}

    result = tick(with_settings(measured, production_names=names))

    assert isinstance(result, dg.SkipReason)
    assert "is_active" in (result.skip_message or "")
