"""Compares racing with full benchmarks on simulated fields: how often the same leaders, with how many of the calls.

Every latency and every failure is drawn once per (model, case, pass); both strategies see the same draw. It takes
seconds. Decisions are simulated in decisions.py.
"""

from __future__ import annotations

import argparse
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from bench_pipeline.domain.measuring.racing import LEADERS, Racer, case_order, live, stop_reason

CASES = tuple(f"case{number:02d}" for number in range(1, 11))
REPEATS = 3
# Models that are always correct, always fail one case, always fail two to five cases, fail one case in one pass.
SOUND, ONE_CASE, SEVERAL, FLAKY = 12, 3, 3, 2
CASE_SPREAD = 0.3  # standard deviation of the log of a case's length
INTERACTION = 0.05  # the same for the interaction of model and case
DRIFT = 0.03  # the same for the speed of the machine in one pass of one model
# Coefficient of variation of a call; latency of the slowest model over that of the fastest, log-uniform between.
SCENARIOS = ((0.05, 4.0), (0.15, 4.0), (0.30, 4.0), (0.15, 2.0))
BARRED = (0.15, 4.0)  # the scenario for which the bars are set
MIN_CHAMPION, MIN_PAIR, MAX_CALLS = 0.99, 0.95, 0.45
Call = tuple[str, str, int]


@dataclass(frozen=True)
class Field:
    """A drawn field: the models in running order, and the result of each call (model, case, pass)."""

    models: tuple[str, ...]
    incumbent: str
    latencies_ms: dict[Call, float]
    failures: frozenset[Call]

    def leaders(self, complete: Sequence[str]) -> tuple[str, ...]:
        """Champion and runner-up among the models that were correct in every call: the lowest means over all calls."""
        means = {
            model: fmean(self.latencies_ms[model, case, number] for case in CASES for number in range(1, REPEATS + 1))
            for model in complete
        }
        return tuple(sorted(means, key=means.__getitem__)[:LEADERS])

    def full(self) -> tuple[str, ...]:
        """The leaders if every call of every model is made."""
        wrong = {model for model, _, _ in self.failures}
        return self.leaders([model for model in self.models if model not in wrong])


@dataclass(frozen=True)
class Raced:
    """The result of a race and its cost: calls, including confirmations of failures, and model loads."""

    leaders: tuple[str, ...]
    calls: int
    loads: int


@dataclass(frozen=True)
class Row:
    """One line of the table: shares of the fields, calls as share of full's, loads per field."""

    scenario: tuple[float, float]
    fields: int
    champion: float
    pair: float
    calls: float
    loads: float

    @property
    def clears_the_bars(self) -> bool:
        """Whether all three bars hold."""
        return self.champion >= MIN_CHAMPION and self.pair >= MIN_PAIR and self.calls <= MAX_CALLS


def draw_field(number: int, cv: float, spread: float) -> Field:
    """Draw the field with this number for a scenario; the same number gives the same field."""
    rng = random.Random(number)  # noqa: S311 - a simulation, not a secret
    models = [f"m{number:02d}" for number in range(SOUND + ONE_CASE + SEVERAL + FLAKY)]
    case_effect = {case: rng.lognormvariate(math.log(1000), CASE_SPREAD) for case in CASES}
    noise = math.sqrt(math.log1p(cv * cv))
    latencies = {}
    for model in models:
        speed = spread ** rng.random()
        drift = [rng.lognormvariate(0, DRIFT) for _ in range(REPEATS)]
        for case in CASES:
            typical = speed * case_effect[case] * rng.lognormvariate(0, INTERACTION)
            for in_pass in range(1, REPEATS + 1):
                noisy = drift[in_pass - 1] * rng.lognormvariate(0, noise)
                latencies[model, case, in_pass] = typical * noisy
    failures = frozenset(_draw_failures(rng, models[SOUND:]))
    incumbent = rng.choice(models[:SOUND])
    rng.shuffle(models)
    return Field(tuple(models), incumbent, latencies, failures)


def _draw_failures(rng: random.Random, models: Sequence[str]) -> list[Call]:
    """Let the first models always fail one case, the next ones several, and the last ones one case in one pass."""
    failed = []
    for number, model in enumerate(models):
        several = ONE_CASE <= number < ONE_CASE + SEVERAL
        cases = rng.sample(CASES, rng.randint(2, 5) if several else 1)
        passes = range(1, REPEATS + 1) if number < ONE_CASE + SEVERAL else [rng.randint(1, REPEATS)]
        failed += [(model, case, in_pass) for case in cases for in_pass in passes]
    return failed


class Race:
    """One race over a field: what a runner does with the functions of `domain.racing`, without a runtime."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._seen: dict[str, dict[str, list[float]]] = {model: defaultdict(list) for model in field.models}
        self._racers = {model: self._racer(model, failed=False) for model in field.models}
        self._failures: Counter[str] = Counter()
        self._calls = self._loads = 0

    def run(self) -> Raced:
        """Race to the end."""
        while names := live(self._standing(), REPEATS):
            for model in names:
                if not self._stopped(model):
                    self._pass(model)
        complete = [racer.model for racer in self._standing() if racer.is_complete(REPEATS)]
        return Raced(self._field.leaders(complete), self._calls, self._loads)

    def _pass(self, model: str) -> None:
        """Make the calls that are missing in this model's pass, up to where it stops."""
        number = self._racers[model].passes + 1
        self._loads += 1
        missing = [case for case in CASES if len(self._seen[model][case]) < number]
        for case in case_order(missing, self._failures):
            call = (model, case, number)
            self._calls += 1
            self._seen[model][case].append(self._field.latencies_ms[call])
            failed = call in self._field.failures
            if failed:
                self._calls += 1  # asked once more, regardless of the answer
                self._failures[case] += 1
            self._racers[model] = self._racer(model, failed)
            if self._stopped(model):
                return

    def _racer(self, model: str, failed: bool) -> Racer:
        seen = {case: latencies for case, latencies in self._seen[model].items() if latencies}
        return Racer(
            model=model,
            medians_ms={case: median(latencies) for case, latencies in seen.items()},
            passes=min(len(seen.get(case, ())) for case in CASES),
            failed=failed,
            incumbent=model == self._field.incumbent,
        )

    def _standing(self) -> list[Racer]:
        return list(self._racers.values())

    def _stopped(self, model: str) -> bool:
        return stop_reason(self._racers[model], self._standing(), REPEATS) is not None


def simulate(fields: int, scenario: tuple[float, float], first: int = 1) -> Row:
    """Race this many fields of a scenario, numbered from `first`, and compare with full benchmarks."""
    champions = pairs = calls = loads = 0
    for number in range(first, first + fields):
        field = draw_field(number, *scenario)
        full, raced = field.full(), Race(field).run()
        champions += raced.leaders[:1] == full[:1]
        pairs += raced.leaders == full
        calls += raced.calls
        loads += raced.loads
    made_by_full = fields * len(field.models) * len(CASES) * REPEATS
    return Row(scenario, fields, champions / fields, pairs / fields, calls / made_by_full, loads / fields)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a markdown table."""
    models = SOUND + ONE_CASE + SEVERAL + FLAKY
    lines = [
        "| Noise (CV) | Slowest / fastest | Fields | Same champion | Same pair | "
        f"Calls, of full's {models * len(CASES) * REPEATS} | Loads (full: {models}) | Bars |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        shares = " | ".join(f"{share:.1%}" for share in (row.champion, row.pair, row.calls))
        cv, spread = row.scenario
        lines.append(f"| {cv:.0%} | {spread:.0f} | {row.fields} | {shares} | {row.loads:.1f} | {_verdict(row)} |")
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    if row.scenario != BARRED:
        return "none set"
    bars = f"≥ {MIN_CHAMPION:.0%}, ≥ {MIN_PAIR:.0%}, ≤ {MAX_CALLS:.0%}"
    return f"{bars}: {'met' if row.clears_the_bars else 'missed'}"


def put_between_marks(page: Path, text: str) -> None:
    """Replace the text between `<!-- racing -->` and `<!-- /racing -->` in a page. Raises `SystemExit` without them."""
    parts = re.split(
        r"(?<=<!-- racing -->\n).*?(?=<!-- /racing -->)", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    if len(parts) != 2:
        raise SystemExit(f"{page}: must contain the markers <!-- racing --> and <!-- /racing --> exactly once")
    page.write_text(f"{parts[0]}\n{text}\n\n{parts[1]}", encoding="utf-8")


def main() -> None:
    """Simulate and print; exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.racing", description=__doc__)
    parser.add_argument("--fields", type=int, default=200, help="simulated fields per row (default 200)")
    parser.add_argument("--markdown", type=Path, help="also put the table between the markers in this page")
    arguments = parser.parse_args()
    rows = [simulate(arguments.fields, scenario) for scenario in SCENARIOS]
    print(table(rows))
    if arguments.markdown:
        put_between_marks(arguments.markdown, table(rows))
    raise SystemExit(0 if all(row.clears_the_bars for row in rows if row.scenario == BARRED) else 1)


if __name__ == "__main__":
    main()
