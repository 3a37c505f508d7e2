"""A/A: the same model entered twice. The full tables are made by `python -m benchmarks.decisions`."""

from __future__ import annotations

import pytest

from bench_pipeline.domain.promoting.final import LOOKS
from benchmarks.decisions import Cell, simulate

RUNS = 300


@pytest.mark.parametrize("cv", [0.05, 0.15, 0.40])
@pytest.mark.parametrize("drift", [0.0, 0.01])
def test_of_equal_models_at_most_one_in_a_hundred_is_promoted(cv: float, drift: float) -> None:
    runs = simulate(Cell(cv, drift=drift), RUNS)
    assert sum(run.promoted for run in runs) <= 0.01 * RUNS


def test_a_model_that_is_a_fifth_faster_is_promoted_within_five_passes() -> None:
    runs = simulate(Cell(0.15, ratio=0.8), RUNS)
    assert sum(run.promoted and run.passes <= 5 for run in runs) >= 0.95 * RUNS


def test_the_final_ends_at_a_look_or_is_not_held() -> None:
    assert {run.passes for run in simulate(Cell(0.40), 50)} <= {0, *LOOKS}
