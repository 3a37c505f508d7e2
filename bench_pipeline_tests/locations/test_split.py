"""The two code locations of a deployment: together they are the whole, and `measure` cannot promote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from bench_pipeline.domain.errors import InputError
from bench_pipeline.locations.building import Part, build_location
from bench_pipeline.locations.measure import without_the_right_to_promote
from bench_pipeline.settings import Settings
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.pipeline import Pipeline

ADDRESS = "postgresql+psycopg2://bench_promoter:s3cret@127.0.0.1:1/none"


@pytest.fixture(scope="module")
def locations() -> dict[str, dg.Definitions]:
    settings = Settings()
    built = {part.value: build_location(settings, [part]) for part in Part}
    return built | {"whole": build_location(settings, list(Part))}


def executable(definitions: dg.Definitions) -> set[dg.AssetKey]:
    return set(definitions.resolve_asset_graph().executable_asset_keys)


def test_each_asset_is_made_in_one_of_the_two(locations: dict[str, dg.Definitions]) -> None:
    measure, promote = executable(locations["measure"]), executable(locations["promote"])
    assert (measure & promote, measure | promote) == (set(), executable(locations["whole"]))


def test_what_reaches_production_is_in_promote(locations: dict[str, dg.Definitions]) -> None:
    stages = {key.path[-1] for key in executable(locations["promote"])}
    assert stages == {
        "promotion_plan",
        "production_update",
        "validation",
        "workflow_docs",
        "champion_registry",
    }


@pytest.mark.parametrize("part", list(Part))
def test_each_shows_the_whole_lineage(locations: dict[str, dg.Definitions], part: Part) -> None:
    here, whole = (locations[name].resolve_asset_graph() for name in (part.value, "whole"))
    assert {key: here.get(key).parent_keys for key in here.get_all_asset_keys()} == {
        key: whole.get(key).parent_keys for key in whole.get_all_asset_keys()
    }
    described = {spec.key: (spec.description, spec.group_name) for spec in locations["whole"].resolve_all_asset_specs()}
    for spec in locations[part.value].resolve_all_asset_specs():
        assert (spec.description, spec.group_name) == described[spec.key]


def test_no_name_of_a_job_is_used_twice(locations: dict[str, dg.Definitions]) -> None:
    names = [
        job.name
        for part in Part
        for job in locations[part.value].resolve_all_job_defs()
        if not job.name.startswith("__")
    ]
    assert len(names) == len(set(names))


def test_a_job_that_promotes_nothing_says_so(locations: dict[str, dg.Definitions]) -> None:
    def told(name: str) -> str:
        return locations[name].resolve_job_def("benchmark_grading").description or ""

    assert "promotes nothing" in told("measure")
    assert "promote where the decision says so" in told("whole")


@pytest.mark.parametrize(
    ("held", "named"),
    [
        ({"promoter_url": ADDRESS}, "BENCH_PROMOTER_URL must not be set"),
        ({"owner_url": ADDRESS}, "BENCH_OWNER_URL must not be set"),
        ({"promoter_url": ADDRESS, "owner_url": ADDRESS}, "BENCH_PROMOTER_URL and BENCH_OWNER_URL must not be set"),
    ],
)
def test_measure_refuses_an_address_that_could_write_production(held: dict[str, str], named: str) -> None:
    with pytest.raises(InputError) as refused:
        without_the_right_to_promote(Settings(**held))
    assert str(refused.value).startswith(named)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("given", ["environment", ".env"])
def test_measure_does_not_load_with_the_promoters_address(tmp_path: Path, given: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
    if given == ".env":
        (tmp_path / ".env").write_text(f"BENCH_PROMOTER_URL={ADDRESS}\n", encoding="utf-8")
    else:
        environment["BENCH_PROMOTER_URL"] = ADDRESS
    done = subprocess.run(
        [sys.executable, "-c", "import bench_pipeline.locations.measure"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "BENCH_PROMOTER_URL must not be set for the code location `measure`" in done.stderr
    assert "s3cret" not in done.stderr


@ONE_ENGINE
def test_the_tag_names_the_benchmark_that_is_decided_upon(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"])
    first = pipeline.metadata("grading/scoreboard")["benchmark_id"]
    pipeline.run(assets=["grading/model_runs", "grading/scoreboard"])
    assert pipeline.metadata("grading/scoreboard")["benchmark_id"] != first

    pipeline.run("promote_grading", tags={"bench/benchmark": first}, assets=["grading/promotion_plan"])
    assert pipeline.metadata("grading/promotion_plan")["benchmark_id"] == first
