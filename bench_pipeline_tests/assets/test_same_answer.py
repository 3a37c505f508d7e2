"""The command line and Dagster are two faces of the same use cases: on one database they give the same answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench_pipeline.benchmark.ranking import read_ranked
from bench_pipeline.storage.ledger import benchmark_ledger
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.pipeline import Pipeline
from bench_pipeline_tests.kit.shell import Shell
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

pytestmark = pytest.mark.usefixtures("with_final")
MEASURED = ["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"]


def answer(world: World, benchmark_id: str) -> dict[str, Any]:
    """What a benchmark says, without the figures that noise changes."""
    ranked = read_ranked(world.database, benchmark_id)
    with world.database.engine.connect() as connection:
        ledger = {entry.model: entry.code for entry in benchmark_ledger(connection, benchmark_id)}
    results = [
        (r.model, r.standing, r.rank, r.cases_correct, r.calls - r.final_passes * r.cases, r.why)
        for r in ranked.scoreboard.results
    ]
    return {"results": results, "excluded": ranked.excluded, "reused": sorted(ranked.reused), "ledger": ledger}


def typed_benchmark(shell: Shell, *arguments: str) -> str:
    done = shell.bench("run", "--task", "grading", *arguments, "--json")
    return str(json.loads(done.stdout)["benchmark_id"])


@ONE_ENGINE
def test_all_models_are_ranked_alike(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.run(assets=MEASURED)
    typed = typed_benchmark(shell)

    of_dagster = pipeline.metadata("grading/scoreboard")["benchmark_id"]
    assert typed != of_dagster
    assert answer(pipeline.world, typed) == answer(pipeline.world, of_dagster)


@ONE_ENGINE
def test_one_model_is_ranked_alike_among_the_others(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.run(assets=MEASURED)

    typed = typed_benchmark(shell, "--models", "fast", "--among-all")
    pipeline.run(partition="fast", assets=["grading/model_runs", "grading/scoreboard"])

    of_dagster = pipeline.metadata("grading/scoreboard")["benchmark_id"]
    assert answer(pipeline.world, typed) == answer(pipeline.world, of_dagster)
    assert answer(pipeline.world, typed)["reused"] == ["silent", "wrong"]


@ONE_ENGINE
def test_what_need_not_be_repeated_is_reused_alike(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.run(assets=MEASURED)

    typed = typed_benchmark(shell, "--reuse")
    pipeline.run(assets=MEASURED, config={"reuse": True})

    of_dagster = pipeline.metadata("grading/scoreboard")["benchmark_id"]
    assert answer(pipeline.world, typed) == answer(pipeline.world, of_dagster)


def test_one_benchmark_leads_to_the_same_plan_and_the_same_promotion(pipeline: Pipeline, shell: Shell) -> None:
    pipeline.run(assets=[*MEASURED, "grading/promotion_plan"])
    shown = pipeline.metadata("grading/promotion_plan")

    planned = json.loads(
        shell.bench("plan", "--task", "grading", "--benchmark", shown["benchmark_id"], "--json").stdout
    )
    promoted = shell.bench("promote", "--task", "grading", "--benchmark", shown["benchmark_id"], "--json")
    pipeline.run(assets=["grading/production_update", "grading/validation"])

    assert planned["hash"] == shown["plan_hash"]
    assert json.loads(promoted.stdout)["promotion"]["plan_hash"] == shown["plan_hash"]
    assert (
        pipeline.metadata("grading/production_update")["promotion_id"] == only(pipeline.world.promotions()).promotion_id
    )
    assert pipeline.metadata("grading/validation")["validated"] == "no promotion waits for validation"
    assert pipeline.world.holds() == [FAST] * 3
