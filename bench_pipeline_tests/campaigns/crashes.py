"""Kills a promotion at any point: `bench promote` is stopped, killed, and run again.

`python -m bench_pipeline_tests.campaigns.crashes` prints what was killed where, and exits with 1 on a violation.
Every run is the real command in its own process, against SQLite and a real PostgreSQL server; only the models are
simulated. It takes minutes. What must hold afterwards is in crash_invariants.py.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from signal import SIGCONT
from textwrap import fill

from bench_pipeline_tests.campaigns.crash_invariants import (
    Known,
    State,
    but_for_moments,
    faults_at_any_moment,
    faults_at_the_end,
    look,
)
from bench_pipeline_tests.campaigns.server_sessions import Late, Sessions, sessions_of, wait_until
from bench_pipeline_tests.campaigns.stoppable_run import PHASES, Point, Run, start
from bench_pipeline_tests.campaigns.template_world import (
    FORK,
    OLD,
    Copy,
    Template,
    get_ready_to_fork,
    make_template,
    model_server,
)
from bench_pipeline_tests.fakes.postgres import create_database, postgres_server
from benchmarks.page import put_between, table

SEED = 20261124
PROGRAM = "python -m bench_pipeline_tests.campaigns.crashes"
COMMAND = ("promote", "--task", "grading")
MARKERS = ("<!-- crashes -->", "<!-- /crashes -->")
WIDTH = 120
KILLED, SOON, ENDED = "Killed there", "Killed within 1 ms", "Session ended"
SOON_NS = 1_000_000
PLACES = (*PHASES, *(f"row {number} of {len(OLD)}, in the server" for number in range(1, len(OLD) + 1)))
ROWS = dict(zip(PLACES[len(PHASES) :], OLD, strict=True))


@dataclass(frozen=True)
class Blow:
    """What is done to a run, and where. `point` counts from 0; it is None inside the server's function.

    `at_once`: the next run does not wait until the sessions of the killed one have ended. `second`: the point at
    which that one is killed too, None for none.
    """

    place: str
    how: str
    champion_holds: bool
    point: int | None = None
    delay_ns: int = 0
    at_once: bool = False
    second: int | None = None


@dataclass
class Trial:
    """A blow, and what did not hold after it."""

    database: str
    blow: Blow
    what: str = ""
    statuses: list[int | None] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """A run without a blow: the points it passed, and what it left."""

    points: Sequence[Point]
    before: State
    end: State


class Campaign:
    """All trials on one database."""

    def __init__(self, name: str, template: Template, servers: dict[bool, str], folder: Path, seed: int) -> None:
        self.name = name
        self._template = template
        self._servers = servers
        self._folder = folder
        self._random = random.Random(f"{seed} {name}")  # noqa: S311 - a choice of points is no secret
        self._begun: list[Run] = []
        self._runs = {holds: self._undisturbed(holds) for holds in servers}
        self._known = {holds: self._all_known(run) for holds, run in self._runs.items()}

    @property
    def points(self) -> dict[str, int]:
        """How many points a run passes in each phase, with a validation that fails."""
        return {phase: sum(point.phase == phase for point in self._runs[False].points) for phase in PHASES}

    def _undisturbed(self, holds: bool) -> Undisturbed:
        with self._template.copied(self._folder / f"{self.name.lower()}_undisturbed") as world:
            before = look(world)
            run = start(world, self._servers[holds], *COMMAND)
            run.wait()
            if run.status != (0 if holds else 1):
                raise SystemExit(f"the undisturbed run ended with {run.status}:\n{run.output}")
            return Undisturbed(run.points, before, look(world))

    def _all_known(self, run: Undisturbed) -> Known:
        states = [run.before, *(one.end for one in self._runs.values())]
        names = run.before.documents
        texts = {name: frozenset(but_for_moments(state.documents[name]) for state in states) for name in names}
        return Known(run.before, texts, run.end)

    # Which blows

    def blows(self, trials: int) -> list[Blow]:
        """Spread the blows over the places, over the outcomes of the validation, and over the ways to strike."""
        sources = [
            self._row_blows(place) if place in ROWS else self._point_blows(place) for place in places(self._template)
        ]
        return [next(source) for source, _ in zip(cycle(sources), range(trials), strict=False)]

    def _row_blows(self, place: str) -> Iterator[Blow]:
        for how, holds in cycle([(KILLED, True), (ENDED, True), (KILLED, False), (ENDED, False)]):
            yield Blow(place, how, holds)

    def _point_blows(self, place: str) -> Iterator[Blow]:
        ends_sessions = self._template.dialect == "postgresql" and place in ("apply", "commit", "rollback")
        ways = [KILLED, SOON, ENDED] if ends_sessions else [KILLED, SOON]
        outcomes = [False] if place == "rollback" else [True, False]
        points = {holds: self._points_of(place, holds) for holds in outcomes}
        for number, holds in enumerate(cycle(outcomes)):
            yield Blow(
                place,
                how=ways[number // len(outcomes) % len(ways)],
                champion_holds=holds,
                point=next(points[holds]),
                delay_ns=self._random.randrange(SOON_NS),
                at_once=self._random.random() < 1 / 2,
                second=self._random.randrange(len(self._runs[holds].points)) if self._random.random() < 1 / 3 else None,
            )

    def _points_of(self, place: str, holds: bool) -> Iterator[int]:
        """Two that change something for each that only looks, in a random order."""
        there = [number for number, point in enumerate(self._runs[holds].points) if point.phase == place]
        changing = [number for number in there if self._runs[holds].points[number].changes]
        looking = [number for number in there if number not in changing] or changing
        for numbers in (changing, looking):
            self._random.shuffle(numbers)
        first, second = cycle(changing), cycle(looking)
        while True:
            yield from (next(first), next(first), next(second))

    # One trial

    def trial(self, number: int, blow: Blow) -> Trial:
        """Strike a run, run the command again, then once more, and check what holds."""
        done = Trial(self.name, blow)
        with self._template.copied(self._folder / f"{self.name.lower()}_{number}") as world:
            try:
                again = self._struck_in_the_server(world, done) if blow.point is None else self._struck(world, done)
                self._end(world, done, again)
            except Late as error:
                done.violations.append(f"it hangs: {error}")
            finally:
                while self._begun:
                    self._begun.pop().kill()
        return done

    def _start(self, world: Copy, done: Trial, *arguments: str, stop_at: int | None = None) -> Run:
        run = start(world, self._servers[done.blow.champion_holds], *(arguments or COMMAND), stop_at=stop_at)
        self._begun.append(run)
        return run

    def _struck(self, world: Copy, done: Trial) -> Run:
        """Let a run stop at its point, strike, and return the run that follows."""
        blow, point = done.blow, self._runs[done.blow.champion_holds].points[done.blow.point or 0]
        done.what = point.what
        run = self._start(world, done, stop_at=blow.point)
        if not run.wait():
            done.violations.append(f"it ended with {run.status} before the point:\n{run.output}")
        elif blow.how == ENDED:
            with sessions_of(world) as sessions:
                sessions.end_all()
            run.send(SIGCONT)
            run.wait()
            if run.status not in (0, 1):
                done.violations.append(f"it ended with {run.status}:\n{run.output}")
        else:
            if blow.how == SOON:
                run.send(SIGCONT)
                _spin(blow.delay_ns)
            run.kill()
        done.statuses.append(run.status)
        if not blow.at_once:
            self._look_between(world, done)
        if blow.second is not None:
            self._strike_again(world, done, blow.second)
        return self._start(world, done)

    def _strike_again(self, world: Copy, done: Trial, point: int) -> None:
        """Kill the run that was to end what the first began, unless it is over before the point."""
        run = self._start(world, done, stop_at=point)
        if run.wait():
            run.kill()
        done.statuses.append(run.status)

    def _look_between(self, world: Copy, done: Trial) -> None:
        if self._template.dialect == "postgresql":
            with sessions_of(world) as sessions:
                sessions.settle()
        state = look(world)
        known = self._known[done.blow.champion_holds]
        done.violations += [f"after the blow: {fault}" for fault in faults_at_any_moment(state, known)]

    def _struck_in_the_server(self, world: Copy, done: Trial) -> Run:
        """Hold the server's function at a row of its transaction, strike, and return the run that follows.

        The session of a killed client is still at the row when the next run comes: that one has to wait for it.
        """
        done.what = f"UPDATE of conversation {ROWS[done.blow.place]}"
        with sessions_of(world) as sessions:
            sessions.close_gate(ROWS[done.blow.place])
            run = self._start(world, done)
            wait_until(lambda: sessions.one_is_at_the_gate)
            if done.blow.how == ENDED:
                sessions.end_all()
                sessions.open_gate()
                run.wait()
                again = self._start(world, done)
            else:
                run.kill()
                again = self._start(world, done)
                self._wait_for_the_orphan(sessions, again, done)
                sessions.open_gate()
        done.statuses.append(run.status)
        return again

    def _wait_for_the_orphan(self, sessions: Sessions, again: Run, done: Trial) -> None:
        wait_until(lambda: sessions.one_waits_for_the_promotion or again.has_ended)
        if again.has_ended:
            done.violations.append(f"it ended with {again.status} while the killed run's session was at work")

    def _end(self, world: Copy, done: Trial, again: Run) -> None:
        known = self._known[done.blow.champion_holds]
        again.wait()
        done.statuses.append(again.status)
        if again.status not in ((0,) if done.blow.champion_holds else (0, 1)):
            done.violations.append(f"the second run ended with {again.status}:\n{again.output}")
        state = look(world)
        done.violations += faults_at_the_end(state, known)
        read = {point.what.removeprefix("open ") for point in again.points}
        if left := state.leftovers & read:
            done.violations.append(f"temporary files of the run that was killed are read: {sorted(left)}")
        for arguments in (COMMAND, ("reconcile",)):
            run = self._start(world, done, *arguments)
            run.wait()
            if run.status != 0:
                done.violations.append(f"bench {arguments[0]} after all ended with {run.status}:\n{run.output}")
        if look(world) != state:
            done.violations.append("the same command once more, and bench reconcile, changed something")


def _spin(duration_ns: int) -> None:
    ends = time.perf_counter_ns() + duration_ns
    while time.perf_counter_ns() < ends:
        pass


# The whole


def run_campaigns(trials: int, seed: int) -> tuple[list[Trial], dict[str, dict[str, int]]]:
    """Run all trials, the same number at each place; return them, and the points of each phase by database."""
    get_ready_to_fork()
    done: list[Trial] = []
    points: dict[str, dict[str, int]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {holds: stack.enter_context(model_server(holds)) for holds in (True, False)}
        server = stack.enter_context(postgres_server(folder / "postgres"))
        templates = {
            "SQLite": make_template(f"sqlite:///{folder / 'sqlite_world' / 'bench.db'}", folder / "sqlite_world"),
            "PostgreSQL": make_template(create_database(server, "world"), folder / "postgresql_world"),
        }
        pool = stack.enter_context(ProcessPoolExecutor(len(templates), mp_context=FORK))
        share = trials / sum(len(places(template)) for template in templates.values())
        begun = [
            pool.submit(_campaign, name, template, servers, folder, seed, round(share * len(places(template))))
            for name, template in templates.items()
        ]
        for name, campaign in zip(templates, begun, strict=True):
            points[name], of_one = campaign.result()
            done += of_one
    return done, points


def places(template: Template) -> tuple[str, ...]:
    """Where a run can be struck: only PostgreSQL has a server that outlives it."""
    return PLACES if template.dialect == "postgresql" else PHASES


def _campaign(
    name: str, template: Template, servers: dict[bool, str], folder: Path, seed: int, trials: int
) -> tuple[dict[str, int], list[Trial]]:
    campaign = Campaign(name, template, servers, folder, seed)
    return campaign.points, [campaign.trial(*numbered) for numbered in enumerate(campaign.blows(trials))]


def report(trials: Sequence[Trial], points: dict[str, dict[str, int]], seed: int) -> str:
    """Return the table as Markdown."""
    rows = []
    for database, of_phase in points.items():
        for place in PLACES:
            mine = [one for one in trials if (one.database, one.blow.place) == (database, place)]
            if mine:
                rows.append([database, place, str(of_phase.get(place, 1)), *_counts(mine)])
    rows.append(["both", "all", str(sum(sum(one.values()) for one in points.values())), *_counts(trials)])
    head = ["Database", "Where", "Points", KILLED, SOON, ENDED, "Killed again", "Trials", "Violations"]
    failing = sum(not one.blow.champion_holds for one in trials)
    setting = (
        f"{len(trials)} runs of `bench {' '.join(COMMAND)}` (3 conversations, seed {seed}). Each was stopped at one "
        f"point, interrupted there, and run again. In {failing} of them the champion fails its validation. "
        f"Generated by `{PROGRAM}`."
    )
    return "\n".join(["## Crashes", "", fill(setting, WIDTH), "", *table(head, rows, "llrrrrrrr")])


def _counts(trials: Sequence[Trial]) -> list[str]:
    ways = [sum(one.blow.how == how for one in trials) for how in (KILLED, SOON, ENDED)]
    twice = sum(one.blow.second is not None for one in trials)
    return [str(number) for number in (*ways, twice, len(trials), sum(bool(one.violations) for one in trials))]


def main() -> None:
    """Run the campaign and print; exit 1 when there was a violation."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--trials", type=int, default=270, help="as many at each place (default 270)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the choice of points")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every trial to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the page that contains the table")
    options = parser.parse_args()
    trials, points = run_campaigns(options.trials, options.seed)
    text = report(trials, points, options.seed)
    print(text)
    for one in trials:
        for violation in one.violations:
            print(f"{one.database}, {one.blow}, {one.what}: {violation}")
    if options.json:
        found = {"seed": options.seed, "points": points, "trials": [asdict(one) for one in trials]}
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if options.markdown:
        put_between(options.markdown, MARKERS, text, "Campaigns")
    sys.exit(any(one.violations for one in trials))


if __name__ == "__main__":
    main()
