"""What a run of Dagster measured is what it ranks, reports and promotes, whatever else runs on the database."""

from __future__ import annotations

import json
from collections.abc import Callable

import dagster as dg
import pytest

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.pipeline import Pipeline, failures_of
from bench_pipeline_tests.kit.shell import Shell
from bench_pipeline_tests.kit.tasks import suite_value
from bench_pipeline_tests.kit.text import only

pytestmark = pytest.mark.usefixtures("with_final")
STAGES = ["eligible_models", "grading/test_cases", "grading/model_runs"]


def run_another_suite(shell: Shell) -> None:
    """Under which the model that is wrong in production's suite is the fastest that is always correct."""
    suite = suite_value()
    easy = [case for case in suite["test_cases"] if case["id"] != "FAIL_002"]
    (shell.folder / "other.json").write_text(json.dumps(suite | {"test_cases": easy}), encoding="utf-8")
    done = shell.bench("run", "--task", "grading", "--models", "wrong", "--test-cases", "other.json")
    assert "🥇 Champion: wrong" in done.stdout, done.stderr


def run_the_incumbent_alone(shell: Shell) -> None:
    done = shell.bench("run", "--task", "grading", "--models", "slow")
    assert "🥇 Champion: slow" in done.stdout, done.stderr


@pytest.mark.parametrize("intrude", [run_another_suite, run_the_incumbent_alone])
@pytest.mark.parametrize("stage", ["model_runs", "scoreboard", "promotion_plan"])
@ONE_ENGINE
def test_a_foreign_benchmark_in_the_middle_of_a_run_changes_nothing_about_what_it_promotes(
    pipeline: Pipeline, shell: Shell, intrude: Callable[[Shell], None], stage: str
) -> None:
    @dg.success_hook
    def intruder(context: dg.HookContext) -> None:
        if context.op.name == f"grading__{stage}":
            intrude(shell)

    job = pipeline.definitions.resolve_job_def("benchmark_grading").with_hooks({intruder})
    result = job.execute_in_process(instance=pipeline.instance, raise_on_error=False)

    assert result.success, failures_of(result)
    measured = pipeline.metadata("grading/model_runs", "fast")["benchmark_id"]
    assert len(pipeline.world.rows("benchmark_runs", "benchmark_id")) == 3  # this run's, the intruder's, the validation
    named = [
        pipeline.metadata(f"grading/{name}")["benchmark_id"] for name in ("scoreboard", "report", "promotion_plan")
    ]
    assert named == [measured] * 3
    assert pipeline.world.holds() == [FAST] * 3
    assert {row.benchmark_id for row in only(pipeline.world.promotions()).rows} == {measured}


@ONE_ENGINE
def test_a_stage_that_is_run_alone_follows_the_latest_materialization_of_its_upstream_asset(
    pipeline: Pipeline, shell: Shell
) -> None:
    pipeline.run(assets=STAGES)
    run_another_suite(shell)

    pipeline.run(assets=["grading/scoreboard"])
    pipeline.run(assets=["grading/report", "grading/promotion_plan"])

    measured = pipeline.metadata("grading/model_runs", "fast")["benchmark_id"]
    assert pipeline.metadata("grading/scoreboard")["benchmark_id"] == measured
    assert pipeline.metadata("grading/promotion_plan")["benchmark_id"] == measured


@ONE_ENGINE
def test_a_stage_without_anything_to_follow_says_what_to_materialize(pipeline: Pipeline) -> None:
    result = pipeline.run(assets=["grading/scoreboard"], fails=True)

    assert "grading/model_runs has no benchmark id yet; materialize it first" in failures_of(result)


@ONE_ENGINE
def test_a_run_ranks_its_own_benchmark_although_another_run_materialized_a_newer_one(pipeline: Pipeline) -> None:
    own: list[str] = []

    @dg.success_hook
    def another_run(context: dg.HookContext) -> None:
        if context.op.name == "grading__model_runs" and not own:
            own.append(pipeline.metadata("grading/model_runs")["benchmark_id"])
            pipeline.run(assets=STAGES)

    job = pipeline.definitions.resolve_job_def("benchmark_grading").with_hooks({another_run})
    result = job.execute_in_process(instance=pipeline.instance, raise_on_error=False)

    assert result.success, failures_of(result)
    assert pipeline.metadata("grading/model_runs")["benchmark_id"] != own[0]
    assert pipeline.metadata("grading/scoreboard")["benchmark_id"] == own[0]


@ONE_ENGINE
def test_an_update_alone_applies_the_plan_that_was_materialized_not_one_that_was_stored_since(
    pipeline: Pipeline, shell: Shell
) -> None:
    pipeline.run(assets=[*STAGES, "grading/scoreboard", "grading/promotion_plan"])
    shown = pipeline.metadata("grading/promotion_plan")["plan_hash"]
    pipeline.world.store(pipeline.world.plan(min_gain=0.9999))

    pipeline.run(assets=["grading/production_update"])

    assert only(pipeline.world.promotions()).plan_hash == shown
    assert pipeline.world.holds() == [FAST] * 3


@ONE_ENGINE
def test_the_runtimes_are_asked_about_each_model_once_per_run(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models"])
    before = len(pipeline.world.server.log)

    pipeline.run(partition="fast")

    asked = [record.model for record in pipeline.world.server.log[before:] if record.path == "/api/show"]
    assert asked.count("wrong:3b") == 1  # neither measured nor promoted


@ONE_ENGINE
def test_the_definitions_work_on_the_settings_they_were_built_with_whatever_the_environment_says(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", "sqlite:////nowhere/else.db")
    monkeypatch.setenv("BENCH_OLLAMA_HOST", "http://127.0.0.1:1")

    pipeline.run()

    assert pipeline.world.holds() == [FAST] * 3
