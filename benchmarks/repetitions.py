"""What the repetition of disturbed calls does to a ranking: simulated main passes, judged by the program's functions.

`python -m benchmarks.repetitions [--trials 400] [--markdown FILE]` prints the table, puts it between its markers in
FILE, and exits with 1 if a bar is missed. No model is called.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill

import numpy as np

from bench_pipeline.domain.measuring.disturbance import due, with_takes_settled
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import score_model
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome
from benchmarks.machines import Floats
from benchmarks.page import put_between, table

SEED = 20261130
CASES = [f"c{number}" for number in range(10)]
PASSES = 3
CV = 0.10
TOKENS_A_CALL = 200
MARKERS = ("<!-- repetitions -->", "<!-- /repetitions -->")
WIDTH = 120

Disturb = Callable[[np.random.Generator, int], Floats]
"""From a generator and the number of the model, 0 or 1, to factors by pass and case, and one row for repetitions."""


@dataclass(frozen=True)
class Setting:
    """A disturbance of the main passes of two models, and the true ratio of the second model's mean to the first's."""

    name: str
    disturb: Disturb
    ratio: float


def _quiet(rng: np.random.Generator, model: int) -> Floats:  # noqa: ARG001 - the same for both models
    return np.ones((PASSES + 1, len(CASES)))


def _loaded(rng: np.random.Generator, model: int) -> Floats:
    """Another program takes half of the machine during one pass of the faster model."""
    factors = _quiet(rng, model)
    if model == 1:
        factors[rng.integers(PASSES)] = 2.0
    return factors


def _single_calls(rng: np.random.Generator, model: int) -> Floats:
    """One call in twenty takes three times as long, whichever model makes it, and so do repetitions."""
    return np.where(rng.random(_quiet(rng, model).shape) < 0.05, 3.0, 1.0)


SETTINGS = [
    Setting("quiet, equal models", _quiet, 1.0),
    Setting("1 call in 20 takes 3 x, equal models", _single_calls, 1.0),
    Setting("1 call in 20 takes 3 x, the second 10% faster", _single_calls, 0.9),
    Setting("one pass of the second takes 2 x, equal models", _loaded, 1.0),
    Setting("one pass of the second takes 2 x, the second 20% faster", _loaded, 0.8),
]


@dataclass(frozen=True)
class Trial:
    """Whether the second model ranks first, by repetitions and by first calls, and the calls repeated of each model."""

    first: bool
    first_without: bool
    repeated: tuple[int, int]


def simulate(setting: Setting, trials: int, seed: int = SEED) -> list[Trial]:
    """Simulate the main passes of two models."""
    rng = np.random.default_rng(seed)
    return [_trial(setting, rng) for _ in range(trials)]


def _trial(setting: Setting, rng: np.random.Generator) -> Trial:
    sigma = math.sqrt(math.log(1 + CV**2))
    tokens = rng.integers(TOKENS_A_CALL // 2, 2 * TOKENS_A_CALL, len(CASES))
    means, means_without, repeated = [], [], []
    for model, ratio in enumerate((1.0, setting.ratio)):
        noise = np.exp(rng.normal(0, sigma, (PASSES + 1, len(CASES)))) * setting.disturb(rng, model)
        latencies = 5e6 * ratio * tokens * noise
        samples = [
            _sample(case, repeat, tokens[n], latencies[repeat - 1, n])
            for repeat in range(1, PASSES + 1)
            for n, case in enumerate(CASES)
        ]
        waiting = due(samples, len(CASES))
        again = [
            replace(_sample(one.first.case_id, one.first.repeat, tokens[n], latencies[PASSES, n]), take=2)
            for one in waiting
            for n in [CASES.index(one.first.case_id)]
        ]
        means.append(score_model("m", CASES, with_takes_settled([*samples, *again]), PASSES).avg_latency_ms or 0)
        means_without.append(score_model("m", CASES, samples, PASSES).avg_latency_ms or 0)
        repeated.append(len(again))
    return Trial(means[1] < means[0], means_without[1] < means_without[0], (repeated[0], repeated[1]))


def _sample(case: str, repeat: int, tokens: int, latency_ns: float) -> Sample:
    timings = ServerTimings(prompt_ns=0, prompt_tokens=0, generation_ns=int(latency_ns), generated_tokens=int(tokens))
    return Sample(case, repeat, 1, Outcome.CORRECT, "PASS", latency_ns=int(latency_ns), timings=timings)


def missed(setting: Setting, found: Sequence[Trial]) -> Iterator[str]:
    """Yield the bars that a setting misses by more than three standard errors of the simulation.

    Of two equal models that are disturbed alike, each ranks first in half of the trials; a faster one does in nine of
    ten.
    """
    share = sum(trial.first for trial in found) / len(found)
    error = 3 * math.sqrt(0.25 / len(found))
    if setting.ratio == 1 and setting.disturb is not _loaded and abs(share - 0.5) > error:
        yield f"{setting.name}: the second ranks first in {share:.1%}"
    if setting.ratio < 1 and share < 0.9 - error:
        yield f"{setting.name}: the faster model ranks first in {share:.1%}"


def report(trials: int) -> tuple[str, list[str]]:
    """Return the table as Markdown, and the bars that were missed."""
    found = {setting: simulate(setting, trials) for setting in SETTINGS}
    text = (
        f"{trials:,} benchmarks per row: {PASSES} main passes of {len(CASES)} cases by two models, CV {CV:.0%}, with "
        "the repetitions that the program makes. Bars: of two equal models that are disturbed "
        "alike, the second ranks first in 50%, and a faster one does in at least 90%, within three standard errors. "
        "Generated by `make simulations`."
    )
    rows = []
    for setting, runs in found.items():
        shares = [sum(of) / trials for of in ([run.first for run in runs], [run.first_without for run in runs])]
        repeated = [sum(run.repeated[model] for run in runs) / trials for model in range(2)]
        rows.append([setting.name, *(f"{share:.1%}" for share in shares), *(f"{calls:.1f}" for calls in repeated)])
    head = ["Disturbance", "Second ranks first", "by first calls", "Repeated, first model", "Repeated, second model"]
    lines = ["## Repetitions of disturbed calls", "", fill(text, WIDTH), "", *table(head, rows, "lrrrr")]
    return "\n".join(lines), [miss for setting, runs in found.items() for miss in missed(setting, runs)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repetitions")
    parser.add_argument("--trials", type=int, default=1000, help="simulated benchmarks per row")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the page that contains the table")
    options = parser.parse_args()
    text, misses = report(options.trials)
    print(text)
    if options.markdown:
        put_between(options.markdown, MARKERS, text, "Simulations")
    if misses:
        sys.exit("\n".join(["bars missed:", *misses]))


if __name__ == "__main__":
    main()
