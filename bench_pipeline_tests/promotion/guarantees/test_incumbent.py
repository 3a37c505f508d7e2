"""G17: a challenger is compared with the incumbent of the same run, and must be better: a tie changes nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from bench_pipeline.benchmark.ranking import latest_benchmark_id, rank_benchmark
from bench_pipeline.storage.tables import benchmark_model_runs, benchmark_samples
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, LATENCY_OF_SLOW_MS, SLOW
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A
from bench_pipeline_tests.kit.world import World

pytestmark = pytest.mark.usefixtures("hurried")


def measured(world: World) -> set[str]:
    """The models that the latest benchmark ran."""
    latest = latest_benchmark_id(world.database, "grading")
    return {model for benchmark, model in world.rows("benchmark_model_runs", "benchmark_id", "model_name")
            if benchmark == latest}  # fmt: skip


def take(world: World, fast_ms: float, slow_ms: float) -> None:
    """Let every call of the latest benchmark have taken so long, and rank again."""
    latest = latest_benchmark_id(world.database, "grading")
    c, runs = benchmark_samples.c, benchmark_model_runs.c
    for model, latency_ms in (("fast", fast_ms), ("slow", slow_ms)):
        mine = select(runs.model_run_id).where(runs.model_name == model)
        took = update(benchmark_samples).where(c.model_run_id.in_(mine)).values(latency_ns=round(latency_ms * 1e6))
        world.change(took)
    rank_benchmark(world.database, latest)


@pytest.fixture
def in_a_final(world: World, hurried: None, with_final: None) -> None:
    """Let `fast` lead the main pass beyond doubt, so that it meets `slow` in a final."""
    world.server.models["slow:7b"].latency_ms = LATENCY_OF_SLOW_MS


def test_g17_the_incumbent_is_measured_in_the_run_of_its_challenger(typed: Typed, world: World) -> None:
    typed("run", "--task", "grading", "--models", "slow")
    before = len(world.server.log)

    typed("run", "--task", "grading", "--models", "fast")

    assert measured(world) == {"fast", "slow"}
    assert {model for model, _ in world.calls(since=before)} == {"fast:1b", "slow:7b"}


@pytest.mark.usefixtures("in_a_final")
@pytest.mark.parametrize(
    ("fast_ms", "why"),
    [
        pytest.param(100.0, "slow is the champion already", id="equally fast"),
        pytest.param(98.0, "2.0% faster than slow in the final", id="faster by less than the margin"),
    ],
)
def test_g17_a_challenger_that_is_not_better_changes_nothing(
    typed: Typed, world: World, fast_ms: float, why: str
) -> None:
    before = world.snapshot()
    typed("run", "--task", "grading", "--models", "fast")
    take(world, fast_ms, slow_ms=100.0)

    done = typed("promote", "--task", "grading")

    assert (done.returncode, "nothing to promote" in done.stdout) == (0, True)
    assert why in done.stdout
    assert world.snapshot() == before


@pytest.mark.usefixtures("in_a_final")
@ONE_ENGINE
def test_g17_after_a_tie_each_of_them_stays_where_it_is(typed: Typed, world: World) -> None:
    world.give(GRADE_A, FAST)
    typed("run", "--task", "grading", "--models", "fast,slow")
    take(world, fast_ms=100.0, slow_ms=100.0)

    typed("promote", "--task", "grading")

    assert world.holds() == [FAST, SLOW, SLOW]


@pytest.mark.usefixtures("in_a_final")
def test_g17_a_challenger_that_is_better_by_the_margin_is_promoted(typed: Typed, world: World) -> None:
    typed("run", "--task", "grading", "--models", "fast")
    take(world, fast_ms=80.0, slow_ms=100.0)

    typed("promote", "--task", "grading", "--no-validate")

    assert world.holds() == [FAST] * 3


def test_g17_a_benchmark_without_the_incumbent_changes_nothing(typed: Typed, world: World) -> None:
    world.ranked("slow")
    alone = world.ranked("fast").benchmark.benchmark_id
    before = world.snapshot()

    done = typed("promote", "--task", "grading", "--benchmark", alone)

    assert "was not part of this benchmark" in done.stdout
    assert world.snapshot() == before
