"""The simulated rule is the program's, and it keeps its promises. `make simulations` makes the full table."""

from __future__ import annotations

import numpy as np
import pytest

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing, rank
from bench_pipeline.domain.promoting.decision import DecisionKind, Incumbent, decide
from bench_pipeline.domain.promoting.final import LOOKS, contenders, settled
from benchmarks.decisions import BOUND, MAIN_PASSES, POLICY, Cell, draw, final_passes, simulate
from benchmarks.machines import MACHINES, Machine

HELD = frozenset({"incumbent"})
DRAWS = 20  # for each of the machines, 300 in all


def result(name: str, main_ms: float, final: np.ndarray) -> ModelResult:
    """A model with this mean over the main passes and these latencies of the final, by pass and case."""
    passes = tuple({f"c{case}": float(ms) for case, ms in enumerate(one)} for one in final)
    mean = (MAIN_PASSES * main_ms + final.mean(axis=1).sum()) / (MAIN_PASSES + len(final))
    return ModelResult(
        name,
        Standing.QUALIFIED,
        final.shape[1],
        final.shape[1],
        100.0,
        actor_id=sum(name.encode()),
        avg_latency_ms=mean,
        final_latencies_ms=passes,
        final_passes=len(final),
    )


def by_the_program(main: tuple[float, float], final: tuple[np.ndarray, np.ndarray]) -> tuple[bool, int]:
    """Whether the program promotes the challenger, and after how many passes of the final it does or does not."""

    def board(passes: int) -> Scoreboard:
        names = ("challenger", "incumbent")
        return rank((result(*one[:2], one[2][:passes]) for one in zip(names, main, final, strict=True)), HELD)

    meeting, passes = contenders(board(0), HELD), 0
    while meeting and passes < BOUND:
        passes += 1
        if passes in LOOKS and settled(board(passes), meeting, HELD, passes, POLICY):
            break
    last = board(passes)
    held = last.of("incumbent")
    assert held is not None
    decision = decide(last, Incumbent(held.actor_id, "incumbent", "ai_model", held), POLICY)
    return decision.kind is DecisionKind.PROMOTE, passes


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_the_rule_for_many_trials_decides_each_as_the_program_does(machine: Machine) -> None:
    drawn = draw(Cell(machine, cases=5), DRAWS, seed=7)
    for ratio in (1.0, 0.85):
        main, final = drawn.finalist(ratio)
        means = main, drawn.main[:, 0]
        promoted, passes = final_passes(means, (final.mean(axis=2), drawn.incumbent.mean(axis=2)))
        found = [
            by_the_program((means[0][trial], means[1][trial]), (final[trial], drawn.incumbent[trial]))
            for trial in range(DRAWS)
        ]
        assert found == list(zip(promoted.tolist(), passes.tolist(), strict=True))


@pytest.mark.parametrize(
    "machine", [machine for machine in MACHINES if machine.kind != "hiccups"], ids=lambda machine: machine.name
)
def test_hardly_an_equal_or_a_slower_model_is_promoted(machine: Machine) -> None:
    found = simulate(Cell(machine, cases=10), trials=1000)
    assert found.equal_promoted <= 0.015
    assert found.higher_promoted <= 0.01


def test_a_model_that_is_a_fifth_faster_is_promoted_within_eight_passes_in_the_median() -> None:
    found = simulate(Cell(MACHINES[1], cases=10), trials=1000)
    assert found.gain_20_promoted >= 0.99
    assert found.passes_median <= 8
