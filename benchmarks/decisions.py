"""How often a decision is wrong: simulated benchmarks on machines that disturb, decided by the rule of the program.

`python -m benchmarks.decisions [--trials 6000] [--markdown FILE] [--csv FILE]` prints the table, puts it between its
markers in FILE, and exits with 1 if a bar is missed. No model is called. `final_passes` is the program's rule for many
trials at once; a test holds it against `decide` itself. Races are simulated in racing.py.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from textwrap import fill

import numpy as np
from scipy.special import stdtrit

from bench_pipeline.domain.measuring.scoreboard import TIE_LEVEL
from bench_pipeline.domain.promoting.final import LOOKS, level_at
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from benchmarks.machines import HICCUP_CHANCE, HICCUP_FACTOR, MACHINES, SPIKE_FACTOR, Floats, Machine
from benchmarks.page import put_between, table

SEED = 20261130
MAIN_PASSES = 3
BOUND = 20
CASE_SD = 0.5
LONG_CASE = 10.0
NEAR = 1.10
COVERAGE_LOOKS = (4, 8, 20)
POLICY = PromotionPolicy()
CASES, CHALLENGERS, LOG_RATIO_SDS = (5, 10, 50), (1, 10), (0.0, 0.14, 0.28, 0.5)
EQUAL, HIGHER, GAIN_20, GAIN_10 = 1.0, 1.035, 0.8, 0.9
MARKERS = ("<!-- decisions -->", "<!-- /decisions -->")
WIDTH = 120


@dataclass(frozen=True)
class Cell:
    """One simulated setting.

    `log_ratio_sd`: standard deviation, over cases, of the logarithm of challenger's / incumbent's true latency.
    `long_case`: one case takes ten times as long as the others on average.
    """

    machine: Machine
    cases: int
    challengers: int = 1
    log_ratio_sd: float = 0.28
    long_case: bool = False


@dataclass(frozen=True)
class Latencies:
    """Simulated latencies of many trials, in ms, as if challenger and incumbent were equal in the mean.

    `main`: means over the main passes, by trial and model, the incumbent first. `incumbent` and `challenger`: those of
    the final's passes, by trial, pass and case; the challenger is the one that is the fastest of `main` for a `ratio`.
    """

    main: Floats
    incumbent: Floats
    challengers: Floats

    def finalist(self, ratio: float) -> tuple[Floats, Floats]:
        """Return the challenger's main mean and its final if the first challenger's true ratio is `ratio`."""
        true = np.ones(self.main.shape[1] - 1)
        true[0] = ratio
        if ratio > 1:
            true[:] = ratio
        means = self.main[:, 1:] * true
        fastest = means.argmin(axis=1)
        trials = np.arange(len(means))
        return means[trials, fastest], self.challengers[trials, fastest] * true[fastest][:, None, None]


@dataclass(frozen=True)
class Found:
    """What a cell shows; shares and the coverage are between 0 and 1."""

    machine: str
    cases: int
    challengers: int
    log_ratio_sd: float
    long_case: bool
    equal_promoted: float
    higher_promoted: float
    gain_20_promoted: float
    gain_10_promoted: float
    coverage: float
    passes_median: float
    passes_p90: float


def draw(cell: Cell, trials: int, seed: int) -> Latencies:
    """Draw the latencies of `trials` benchmarks: main passes model after model, then the final in random order."""
    rng = np.random.default_rng(seed)
    models = 1 + cell.challengers
    before = models * MAIN_PASSES
    factors = cell.machine.factors(rng, trials, before + 2 * BOUND, cell.cases)
    length = np.exp(rng.normal(0, CASE_SD, (trials, 1, cell.cases)))
    if cell.long_case:
        length[:, :, 0] = LONG_CASE * length[:, :, 1:].mean(axis=2)
    own = np.exp(rng.normal(0, cell.log_ratio_sd, (trials, models, cell.cases)))
    own[:, 0] = 1
    true = 1e5 * length * own
    true *= (1e5 * length).mean(axis=2, keepdims=True) / true.mean(axis=2, keepdims=True)
    main = factors[:, :before].reshape(trials, models, MAIN_PASSES, cell.cases) * true[:, :, None]
    second = rng.integers(0, 2, (trials, BOUND, 1))  # the incumbent's place in the pass
    slots = factors[:, before:].reshape(trials, BOUND, 2, cell.cases)
    ours, theirs = (np.where(second == place, slots[:, :, 0], slots[:, :, 1]) for place in (1, 0))
    if cell.machine.kind == "spike":
        spiked = rng.integers(0, 2 * BOUND, trials)
        for slot, of_model in enumerate((ours, theirs)):
            hit = spiked // BOUND == slot
            of_model[hit, spiked[hit] % BOUND] *= SPIKE_FACTOR
    if cell.machine.kind == "hiccups":
        ours = ours * _hiccups(rng, ours.shape)
        main[:, 1:] *= _hiccups(rng, main[:, 1:].shape)
    challengers = ours[:, None] * true[:, 1:, None] if cell.challengers > 1 else (ours * true[:, 1:2])[:, None]
    return Latencies(main.mean(axis=(2, 3)), theirs * true[:, :1], challengers)


def _hiccups(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return factors whose mean is 1, as the slow calls belong to the model's true mean."""
    mean = 1 + HICCUP_CHANCE * (HICCUP_FACTOR - 1)
    return np.where(rng.random(shape) < HICCUP_CHANCE, HICCUP_FACTOR, 1.0) / mean


def final_passes(
    main: tuple[Floats, Floats], final: tuple[Floats, Floats], policy: PromotionPolicy = POLICY
) -> tuple[Floats, Floats]:
    """Return for each trial whether the challenger is promoted, and the passes of the final, 0 without one.

    `main` holds the main means of challenger and incumbent, `final` their means of each pass.
    """
    trials = len(main[0])
    promoted, over = np.zeros(trials, bool), main[0] > NEAR * main[1]
    passes = np.where(over, 0, BOUND)
    for look in (one for one in LOOKS if one <= BOUND):
        ours, theirs = (one[:, :look] for one in final)
        mean, error = _paired(ours, theirs)
        upper = mean + _t(look, level_at(look, policy.alpha)) * error
        enough = 1 - np.exp(mean) >= policy.min_gain - 1e-9
        promotable = enough & (upper < 0) & (ours.mean(axis=1) < theirs.mean(axis=1))
        hopeless = np.exp(mean - _t(look, TIE_LEVEL) * error) > 1 - policy.min_gain
        leads = _mean_of_all(main[0], ours) < _mean_of_all(main[1], theirs)
        promoted |= ~over & promotable & leads
        passes = np.where(~over & (promotable | hopeless), look, passes)
        over = over | promotable | hopeless
    return promoted, passes


def _paired(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    logs = np.log(ours / theirs)
    return logs.mean(axis=1), logs.std(axis=1, ddof=1) / math.sqrt(logs.shape[1])


def _t(passes: int, level: float) -> float:
    return float(stdtrit(passes - 1, (1 + level) / 2))


def _mean_of_all(main: Floats, final: Floats) -> Floats:
    return (MAIN_PASSES * main + final.sum(axis=1)) / (MAIN_PASSES + final.shape[1])


def simulate(cell: Cell, trials: int, seed: int = SEED) -> Found:
    """Simulate a cell. The same noise meets challengers of four true ratios."""
    drawn = draw(cell, trials, seed)
    theirs = drawn.main[:, 0], drawn.incumbent.mean(axis=2)
    outcomes = {}
    for ratio in (EQUAL, HIGHER, GAIN_20, GAIN_10):
        main, final = drawn.finalist(ratio)
        outcomes[ratio] = final_passes((main, theirs[0]), (final.mean(axis=2), theirs[1]))
    ours = drawn.challengers[:, 0].mean(axis=2)
    covered = [
        np.mean(np.abs(mean) <= _t(look, TIE_LEVEL) * error)
        for look in COVERAGE_LOOKS
        for mean, error in [_paired(ours[:, :look], theirs[1][:, :look])]
    ]
    passes = outcomes[GAIN_20][1]
    return Found(
        cell.machine.name,
        cell.cases,
        cell.challengers,
        cell.log_ratio_sd,
        cell.long_case,
        *(float(outcomes[ratio][0].mean()) for ratio in (EQUAL, HIGHER, GAIN_20, GAIN_10)),
        coverage=float(min(covered)),
        passes_median=float(np.median(passes)),
        passes_p90=float(np.quantile(passes, 0.9, method="higher")),
    )


def cells() -> Iterator[Cell]:
    """Yield every setting."""
    for machine, cases, challengers, sd, long_case in product(
        MACHINES, CASES, CHALLENGERS, LOG_RATIO_SDS, (False, True)
    ):
        yield Cell(machine, cases, challengers, sd, long_case)


# The bars


def missed(cell: Cell, found: Found, trials: int) -> Iterator[str]:
    """Yield the bars that a cell misses by more than two standard errors of the simulation."""
    if cell.machine.kind == "hiccups":
        return
    bars = [
        ("equal models promoted", found.equal_promoted, 0.01, True),
        ("models with a higher mean promoted", found.higher_promoted, 0.01, True),
        ("coverage", found.coverage, 0.93, False),
        ("20 % faster promoted", found.gain_20_promoted, _least_of_20(cell), False),
        ("10 % faster promoted", found.gain_10_promoted, _least_of_10(cell), False),
    ]
    for what, share, bar, at_most in bars:
        error = 2 * math.sqrt(bar * (1 - bar) / trials)
        if share > bar + error if at_most else share < bar - error:
            yield f"{_words(cell)}: {what} {share:.2%}, bar {bar:.0%}"
    if _is_plain(cell) and found.passes_median > 8:
        yield f"{_words(cell)}: {found.passes_median:.0f} passes, median, bar 8"


def _words(cell: Cell) -> str:
    long_case = ", one long case" if cell.long_case else ""
    sd = f"log ratio SD {cell.log_ratio_sd}"
    return f"{cell.machine.name}, {cell.cases} cases, {cell.challengers} challengers, {sd}{long_case}"


def _least_of_20(cell: Cell) -> float:
    if cell.cases < 10 or cell.machine.cv > 0.15 or cell.machine.kind in ("spike", "hiccups") or cell.challengers > 1:
        return 0.0
    return 0.90 if cell.machine.kind == "stretches" else 0.95


def _least_of_10(cell: Cell) -> float:
    steady = cell.machine.kind == "steady" and cell.machine.pass_sd <= 0.03 and cell.machine.cv <= 0.15
    alone = cell.challengers == 1 and not cell.long_case
    return 0.85 if steady and alone and cell.cases >= 10 and cell.log_ratio_sd <= 0.28 else 0.0


def _is_plain(cell: Cell) -> bool:
    steady = cell.machine.cv == 0.15 and cell.machine.kind == "steady"
    return steady and cell.cases >= 10 and cell.challengers == 1 and not cell.long_case


# The table


def report(trials: int) -> tuple[str, list[Found], list[str]]:
    """Return the table as Markdown, what every cell shows, and the bars that were missed."""
    everything = list(cells())
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        seeds = range(SEED, SEED + len(everything))
        found = list(pool.map(_simulated, range(len(everything)), [trials] * len(everything), seeds, chunksize=4))
    misses = [miss for cell, one in zip(everything, found, strict=True) for miss in missed(cell, one, trials)]
    return _markdown(trials, found), found, misses


def _simulated(number: int, trials: int, seed: int) -> Found:
    return simulate(list(cells())[number], trials, seed)


def _markdown(trials: int, found: Sequence[Found]) -> str:
    of_last = max(one.equal_promoted for one in found if one.machine == MACHINES[-1].name)
    errors = [math.sqrt(share * (1 - share) / trials) for share in (0.01, 0.95)]
    texts = (
        f"{trials:,} benchmarks per cell: {MAIN_PASSES} main passes, model after model, then a final of at most "
        f"{BOUND} passes. The margin is {POLICY.min_gain:.0%}, alpha is {POLICY.alpha:.1%}. Each row is the worst of "
        "its cells: a standard deviation, over cases, of the logarithm of challenger's / incumbent's true latency of "
        f"0, 0.14, 0.28 and 0.5; all cases alike (lengths log-normal, SD {CASE_SD}), or one that takes "
        f"{LONG_CASE:.0f} times as long as the others; one challenger, and in the columns on wrong promotions and "
        "coverage also ten. All cells are in [simulations.csv](simulations.csv). Generated by `make simulations`.",
        "t and Pareto noise is scaled to CV 15%, the latter has shape 3. Throttling begins at a call with a chance of "
        "1% and lasts 10 calls at 1.6 times the latency. A minute has 60 calls. A spike triples one pass of one model. "
        "AR(1) noise has an SD of 15% on the logarithm and a correlation of 0.9 from call to call.",
        "Bars: at most 1% of equal models and of models with a higher mean are promoted, and coverage is at least "
        "93%, in every cell. With one challenger, 10 or more cases and a CV of at most 15%, a gain of 20% is promoted "
        "in at least 95% (throttled and AR(1): 90%; a spike or slow calls of one model: no bar), and a gain of 10% in "
        "at least 85% where passes vary by at most 3%, the log ratio by at most 0.28, and no case is long. Median "
        "passes at a gain of 20% are at most 8 with steady noise at CV 15%, 10 or more cases and no long one. A bar is "
        "missed if it is missed by two standard errors of the simulation: a share of 1% has an error of "
        f"{errors[0]:.2%}, one of 95% has {errors[1]:.2%}.",
        "*Of ten*: one of ten challengers is 20% faster, the others are as fast as the incumbent. The main passes "
        "choose who meets the incumbent, and where noise lasts longer than a pass they often choose another one. More "
        "main passes (`BENCH_REPEATS`) help; no wrong model is promoted meanwhile.",
        "The last machine has no bars. Its slow calls are the challenger's own and count in its true mean, but in a "
        "short final they may not occur. No method sees what did not happen: equal models are then promoted in up to "
        f"{of_last:.1%} of benchmarks. Repetitions play no part in it, since a final is decided by first calls.",
    )
    head = [
        "Machine", "Cases", "Equal promoted", "Mean 3.5% higher promoted", "Coverage of 95%", "20% faster promoted",
        "of ten", "10% faster promoted", "Passes at 20%: median, p90", "Their cost: calls, min at 1 s a call",
    ]  # fmt: skip
    rows = [
        _row(machine.name, cases, [one for one in found if (one.machine, one.cases) == (machine.name, cases)])
        for machine in MACHINES
        for cases in CASES
    ]
    parts = [fill(text, WIDTH) + "\n" for text in texts]
    return "\n".join(["## Decisions", "", *parts, *table(head, rows, "lrrrrrrrrr")])


def _row(name: str, cases: int, of_cells: Sequence[Found]) -> list[str]:
    alone, of_ten = ([one for one in of_cells if one.challengers == number] for number in CHALLENGERS)
    median, p90 = max(one.passes_median for one in alone), max(one.passes_p90 for one in alone)
    calls = 2 * median * cases
    return [
        name,
        f"{cases}",
        f"{max(one.equal_promoted for one in of_cells):.2%}",
        f"{max(one.higher_promoted for one in of_cells):.2%}",
        f"{min(one.coverage for one in of_cells):.1%}",
        f"{min(one.gain_20_promoted for one in alone):.1%}",
        f"{min(one.gain_20_promoted for one in of_ten):.1%}",
        f"{min(one.gain_10_promoted for one in alone):.1%}",
        f"{median:.0f}, {p90:.0f}",
        f"{calls:.0f}, {calls / 60:.1f}",
    ]


def _rounded(one: Found) -> dict[str, object]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(one).items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decisions")
    parser.add_argument("--trials", type=int, default=6000, help="simulated benchmarks per cell")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the page that contains the table")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the file for all cells")
    options = parser.parse_args()
    text, found, misses = report(options.trials)
    print(text)
    if options.markdown:
        put_between(options.markdown, MARKERS, text, "Simulations")
    if options.csv:
        with options.csv.open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, list(asdict(found[0])), lineterminator="\n")
            rows.writeheader()
            rows.writerows(_rounded(one) for one in found)
    if misses:
        sys.exit("\n".join(["bars missed:", *misses]))


if __name__ == "__main__":
    main()
