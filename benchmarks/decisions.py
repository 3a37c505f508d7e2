"""How often a decision is wrong: simulated benchmarks of an incumbent and a challenger, decided by the real functions.

`python -m benchmarks.decisions [--runs 10000] [--markdown FILE]` prints the tables, puts them between their markers
in FILE, and exits with 1 if a bar is missed. No model is called. Races are simulated in racing.py.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from textwrap import fill

import numpy as np
from numpy.typing import NDArray

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing, rank
from bench_pipeline.domain.measuring.statistics import compare_paired, paired_checks
from bench_pipeline.domain.promoting.decision import DecisionKind, Incumbent, decide
from bench_pipeline.domain.promoting.final import LOOKS, MAX_FINAL_PASSES, contenders, settled
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from benchmarks.page import put_between

Latencies = NDArray[np.float64]
"""Milliseconds by model (incumbent, challenger), pass and case."""

SEED = 20261124
CASES = [f"c{number}" for number in range(10)]
MAIN_PASSES = 3
CASE_EFFECT_SD = 0.5
COVERAGE_LOOK = 4
BCA_RUNS = 400
POLICY = PromotionPolicy()
NAMES = ("incumbent", "challenger")
HELD = frozenset({"incumbent"})
WIDTH = 120
MARKERS = ("<!-- decisions -->", "<!-- /decisions -->")


@dataclass(frozen=True)
class Cell:
    """One simulated setting.

    `ratio`: the challenger's latency over the incumbent's. `cv`: coefficient of variation of the calls of one case.
    `drift`: the share of the first pass's latency by which each pass takes longer than the previous one.
    `interaction`: standard deviation, over cases, of the logarithm of a case effect that only one of the two has.
    """

    cv: float
    ratio: float = 1.0
    drift: float = 0.0
    interaction: float = 0.0


@dataclass(frozen=True)
class Run:
    """The outcome of one benchmark.

    `passes`: those of the final, 0 without one. `covered`: whether the 95 % interval of the main passes, and that of
    the final's first four, contains the true ratio.
    """

    promoted: bool
    without_final: bool
    passes: int
    covered: tuple[bool, bool]


EQUAL = [Cell(cv, drift=drift) for drift in (0.0, 0.01) for cv in (0.05, 0.10, 0.20, 0.40)]
INTERACTING = [Cell(0.15, interaction=0.10)]
DIFFERENT = [Cell(0.15, ratio=0.8), Cell(0.15, ratio=0.9)]


def simulate(cell: Cell, runs: int, seed: int = SEED) -> list[Run]:
    """Benchmark and decide `runs` times, each time with other latencies."""
    return [_run(cell, main, final) for main, final in _draw(cell, runs, seed)]


def _draw(cell: Cell, runs: int, seed: int) -> Iterator[tuple[Latencies, Latencies]]:
    """Yield the latencies of the main passes, model after model, and of a final of full length, A B B A."""
    rng = np.random.default_rng(seed)
    passes = MAIN_PASSES + MAX_FINAL_PASSES
    sigma = math.sqrt(math.log(1 + cell.cv**2))
    within_pass = (np.arange(len(CASES)) + 0.5) / len(CASES)
    turns = np.arange(MAX_FINAL_PASSES)
    first = np.concatenate([np.arange(MAIN_PASSES), 2 * MAIN_PASSES + 2 * turns + turns % 2])
    second = np.concatenate([MAIN_PASSES + np.arange(MAIN_PASSES), 2 * MAIN_PASSES + 2 * turns + 1 - turns % 2])
    truth = np.array([1.0, cell.ratio]).reshape(2, 1, 1)
    for _ in range(runs):
        order = np.stack([first, second] if rng.random() < 0.5 else [second, first])
        slower = 1 + cell.drift * (order[:, :, None] + within_pass)
        hard = rng.normal(0, CASE_EFFECT_SD, len(CASES)) + rng.normal(0, cell.interaction, (2, 1, len(CASES)))
        noise = rng.normal(0, sigma, (2, passes, len(CASES)))
        latencies = 1000 * truth * slower * np.exp(hard + noise)
        yield latencies[:, :MAIN_PASSES], latencies[:, MAIN_PASSES:]


def _run(cell: Cell, main: Latencies, final: Latencies) -> Run:
    before = _scoreboard(main, final[:, :0])
    covered = _covers(main, cell), _covers(final[:, :COVERAGE_LOOK], cell)
    meeting = contenders(before, HELD, POLICY)
    if not meeting:
        promoted = _promotes(before)
        return Run(promoted, promoted, 0, covered)
    for look in LOOKS:
        board = _scoreboard(main, final[:, :look])
        if settled(board, meeting, HELD, look, POLICY):
            break
    return Run(_promotes(board), _promotes(before), look, covered)


def _scoreboard(main: Latencies, final: Latencies) -> Scoreboard:
    everything = np.concatenate([main, final], axis=1)
    means = everything.mean(axis=(1, 2)).tolist()
    of_main = np.median(main, axis=1).tolist()
    of_final = np.median(final, axis=1).tolist() if final.size else [[], []]
    return rank(
        [
            ModelResult(
                name,
                Standing.QUALIFIED,
                len(CASES),
                len(CASES),
                100.0,
                actor_id=number,
                avg_latency_ms=means[number],
                case_medians_ms=dict(zip(CASES, of_main[number], strict=True)),
                final_case_medians_ms=dict(zip(CASES, of_final[number], strict=False)),
                final_passes=final.shape[1],
            )
            for number, name in enumerate(NAMES)
        ],
        HELD,
    )


def _promotes(board: Scoreboard) -> bool:
    incumbent = Incumbent(0, "incumbent", "ai_model", board.of("incumbent"))
    return decide(board, incumbent, POLICY).kind is DecisionKind.PROMOTE


def _medians(latencies: Latencies) -> tuple[dict[str, float], dict[str, float]]:
    incumbent, challenger = np.median(latencies, axis=1).tolist()
    return dict(zip(CASES, challenger, strict=True)), dict(zip(CASES, incumbent, strict=True))


def _covers(latencies: Latencies, cell: Cell) -> bool:
    comparison = compare_paired(*_medians(latencies), 0.95)
    return comparison is not None and comparison.low <= cell.ratio <= comparison.high


def _bca_coverage(cell: Cell, runs: int) -> float:
    """Of the final's first four passes, as for t."""
    covered = []
    for _, final in _draw(cell, runs, SEED):
        checks = paired_checks(*_medians(final[:, :COVERAGE_LOOK]))
        if checks is not None and checks.bca_low is not None and checks.bca_high is not None:
            covered.append(checks.bca_low <= cell.ratio <= checks.bca_high)
    return sum(covered) / len(covered)


# The tables


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def _drift(cell: Cell) -> str:
    return f"{cell.drift:.0%} per pass" if cell.drift else "none"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---:"] * len(head), *rows)]


def _equal_models(found: dict[Cell, list[Run]], misses: list[str]) -> list[str]:
    rows = []
    for cell in [*EQUAL, *INTERACTING]:
        runs = found[cell]
        promoted = _share([run.promoted for run in runs])
        if promoted > 0.01 and not cell.interaction:
            misses.append(f"{cell}: {promoted:.2%} of equal challengers promoted")
        rows.append(
            [
                f"{cell.cv:.0%}",
                _drift(cell),
                f"{cell.interaction:.0%}" if cell.interaction else "none",
                f"{promoted:.2%}",
                f"{_share([run.without_final for run in runs]):.2%}",
                f"{median(run.passes for run in runs):.0f}",
            ]
        )
    head = ["CV", "Drift", "Case × model", "Promoted (bar: ≤ 1 %)", "Promoted without a final", "Passes, median"]
    return _table(head, rows)


def _different_models(found: dict[Cell, list[Run]], misses: list[str]) -> list[str]:
    rows = []
    for cell, bound in zip(DIFFERENT, (5, MAX_FINAL_PASSES), strict=True):
        runs = found[cell]
        in_bound = _share([run.promoted and run.passes <= bound for run in runs])
        if in_bound < 0.95:
            misses.append(f"{cell}: {in_bound:.2%} promoted within {bound} passes")
        passes = sorted(run.passes for run in runs)
        rows.append(
            [
                f"{1 - cell.ratio:.0%}",
                f"{cell.cv:.0%}",
                f"{in_bound:.2%} within {bound} passes",
                f"{_share([run.promoted for run in runs]):.2%}",
                f"{median(passes):.0f}",
                f"{passes[math.ceil(0.9 * len(passes)) - 1]}",
            ]
        )
    head = ["Difference", "CV", "Promoted (bar: ≥ 95 %)", "Promoted in total", "Passes, median", "Passes, p90"]
    return _table(head, rows)


def _coverage(found: dict[Cell, list[Run]], misses: list[str]) -> list[str]:
    rows = []
    for cell, runs in found.items():
        main, final = (_share([run.covered[part] for run in runs]) for part in range(2))
        if not 0.93 <= final <= 0.97:
            misses.append(f"{cell}: the interval covers in {final:.2%}")
        rows.append(
            [
                f"{cell.cv:.0%}",
                f"{1 - cell.ratio:.0%}",
                _drift(cell),
                f"{cell.interaction:.0%}" if cell.interaction else "none",
                f"{final:.1%}",
                f"{_bca_coverage(cell, min(BCA_RUNS, len(runs))):.1%}",
                f"{main:.1%}",
            ]
        )
    bca = f"BCa, 4 passes (n={min(BCA_RUNS, len(next(iter(found.values()))))})"
    head = ["CV", "Difference", "Drift", "Case × model", "t, 4 passes of the final", bca, "t, main passes"]
    return _table(head, rows)


def report(runs: int) -> tuple[str, list[str]]:
    """Return the tables as markdown, and the bars that were missed."""
    misses: list[str] = []
    cells = [*EQUAL, *INTERACTING, *DIFFERENT]
    found = {cell: simulate(cell, runs, SEED + number) for number, cell in enumerate(cells)}
    setting = (
        f"{runs:,} benchmarks per row, each of an incumbent and one challenger: {len(CASES)} cases, {MAIN_PASSES} main "
        f"passes, one model after the other, then the final. Latencies are log-normal, and case effects have a "
        f"standard deviation of {CASE_EFFECT_SD} on the logarithm. The margin is {POLICY.min_gain:.0%}, alpha is "
        f"{POLICY.alpha:.1%}. With drift, every pass takes longer than the previous one by that share of the first. "
        "*Case × model*: the standard deviation of a case effect that only one of the two models has. Generated by "
        "`python -m benchmarks.decisions`."
    )
    why_not = (
        "Bar for the final: 93 to 97 %. Under drift the interval of the main passes covers less, because the model "
        "measured later is measured on a slower machine. The less noise there is, the more this bias matters. The "
        "alternating turns of the final cancel it, which is why a final decides. With ten cases BCa covers less than "
        "t, which is why it is only a check."
    )
    parts = [
        ["## Decisions", "", fill(setting, WIDTH), "", "### An equal challenger", ""],
        _equal_models(found, misses),
        ["", "### A faster challenger", ""],
        _different_models(found, misses),
        ["", "### Coverage of the nominal 95 % interval", "", fill(why_not, WIDTH), ""],
        _coverage(found, misses),
    ]
    return "\n".join(line for part in parts for line in part), misses


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decisions")
    parser.add_argument("--runs", type=int, default=10_000, help="simulated benchmarks per row")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the page that contains the tables")
    options = parser.parse_args()
    text, misses = report(options.runs)
    print(text)
    if options.markdown:
        put_between(options.markdown, MARKERS, text, "Simulations")
    if misses:
        sys.exit("\n".join(["bars missed:", *misses]))


if __name__ == "__main__":
    main()
