"""G17: a challenger is compared with the incumbent of the same run, and must be better: a tie changes nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from bench_pipeline.benchmark.ranking import latest_benchmark_id, rank_benchmark
from bench_pipeline.storage.tables import benchmark_samples
from bench_pipeline_tests.conftest import Typed
from bench_pipeline_tests.world import FAST, ONE_ENGINE, SLOW, World

pytestmark = pytest.mark.usefixtures("hurried")


def measured(world: World) -> set[str]:
    """The models that the latest benchmark ran."""
    latest = latest_benchmark_id(world.database, "grading")
    return {model for benchmark, model in world.rows("benchmark_model_runs", "benchmark_id", "model_name")
            if benchmark == latest}  # fmt: skip


def take_equally_long(world: World) -> None:
    """Let every call of the latest benchmark have taken 5 ms, and rank again."""
    world.change(update(benchmark_samples).values(latency_ns=5_000_000))
    rank_benchmark(world.database, latest_benchmark_id(world.database, "grading"))


def test_g17_the_incumbent_is_measured_in_the_run_of_its_challenger(typed: Typed, world: World) -> None:
    typed("run", "--task", "grading", "--models", "slow")
    before = len(world.server.log)

    typed("run", "--task", "grading", "--models", "fast")

    assert measured(world) == {"fast", "slow"}
    assert {model for model, _ in world.calls(since=before)} == {"fast:1b", "slow:7b"}


def test_g17_equally_fast_models_change_nothing(typed: Typed, world: World) -> None:
    before = world.snapshot()
    typed("run", "--task", "grading", "--models", "fast")
    take_equally_long(world)

    done = typed("promote", "--task", "grading")

    assert (done.returncode, "nothing to promote" in done.stdout) == (0, True)
    assert world.snapshot() == before


@ONE_ENGINE
def test_g17_after_a_tie_each_of_them_stays_where_it_is(typed: Typed, world: World) -> None:
    world.give(3336, FAST)
    typed("run", "--task", "grading", "--models", "fast,slow")
    take_equally_long(world)

    typed("promote", "--task", "grading")

    assert world.holds() == [FAST, SLOW, SLOW]


def test_g17_a_benchmark_without_the_incumbent_changes_nothing(typed: Typed, world: World) -> None:
    world.ranked("slow")
    world.ranked("fast")
    before = world.snapshot()

    done = typed("promote", "--task", "grading")

    assert "was not part of this benchmark" in done.stdout
    assert world.snapshot() == before
