"""Kills parts of a deployment at any point of a new model's way into production, and starts nothing by hand.

`python -m bench_pipeline_tests.campaigns.outages` brings up the deployment that deploy/ ships, adds a model to the
server and to `actors`, and lets the sensors measure, decide and promote. At one point of that story a part is killed
(SIGKILL); the supervisor starts it again, as systemd would. Of all at once the supervisor dies too, as the machine
would. It takes hours; `--only daemon --points 3` takes minutes. What must hold is in outage_invariants.py.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import fill

import httpx
import psutil
from sqlalchemy import Connection, Engine, create_engine, insert, update
from sqlalchemy.exc import SQLAlchemyError

from bench_pipeline_tests.campaigns.outage_invariants import Story, faults, look
from bench_pipeline_tests.fakes.ollama_server import FakeModel, FakeOllama
from bench_pipeline_tests.kit.models import FAST, fake_models
from bench_pipeline_tests.kit.production import actors, fill_production
from bench_pipeline_tests.kit.rehearsal import Rehearsal, rehearsal_of_grading
from benchmarks.page import put_between, table

SEED = 20261130
PROGRAM = "python -m bench_pipeline_tests.campaigns.outages"
MARKERS = ("<!-- outages -->", "<!-- /outages -->")
VICTIMS = {
    "daemon": "Dagster's daemon",
    "code server": "both code locations' servers; a run in progress lives on without its parent",
    "worker": "the process of the run in progress; the next one, if there is none at that moment",
    "all": "every process at once: database, proxy, servers, daemon, runs and the supervisor itself",
}
STAGES = ("added", "noticed", "being measured", "measured", "decided", "promoted", "validated")
FIRST_MS, GAIN = 100.0, 0.87
"""The latency of the first champion, and by which share each new model is slower than that of the model before it."""
FIRST_ACTOR = 1001
STORY_LIMIT_S = 600.0
LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename } }
"""
RECOVERIES = (httpx.HTTPError, SQLAlchemyError, AssertionError, KeyError, TypeError)
"""What a look meets while parts are down."""


@dataclass
class Trial:
    """One story: who was killed after how many seconds, how far it was, and what did not hold in the end."""

    victim: str
    after_s: float
    stage: str = ""
    killed: int = 0
    took_s: float = 0.0
    violations: list[str] = field(default_factory=list)


class Campaign:
    """Stories one after the other on one deployment; each new model is faster than the champion before it."""

    def __init__(self, rehearsal: Rehearsal, server: FakeOllama, seed: int) -> None:
        self._rehearsal = rehearsal
        self._server = server
        self._random = random.Random(seed)  # noqa: S311 - a choice of moments is no secret
        self._latency_ms = FIRST_MS
        self._told = 0

    def begin(self) -> None:
        """Measure the first models as a person would, and wait until one of them is the champion."""
        selector = {
            "repositoryLocationName": "measure",
            "repositoryName": "__repository__",
            "jobName": "benchmark_grading",
        }
        params = {"selector": selector, "runConfigData": {}, "mode": "default"}
        assert self._rehearsal.graphql(LAUNCH, params=params)["launchRun"]["__typename"] == "LaunchRunSuccess"
        story = self._end_of("fast", FAST)
        if found := list(faults(story, FAST)):
            raise SystemExit(f"the first benchmark did not end well: {found}\n{self._rehearsal.trouble()}")

    def undisturbed(self) -> float:
        """Return how many seconds a story takes in which nothing dies."""
        trial = self.trial("nobody", 0.0)
        if trial.violations:
            raise SystemExit(f"the undisturbed story failed: {trial.violations}\n{self._rehearsal.trouble()}")
        return trial.took_s

    def trials(self, victim: str, points: int, length_s: float) -> Iterator[Trial]:
        """Kill at a random moment of each of `points` equal parts of the story."""
        for number in range(points):
            yield self.trial(victim, length_s * (number + self._random.random()) / points)

    def trial(self, victim: str, after_s: float) -> Trial:
        """Let one story run, with one death in it."""
        trial = Trial(victim, round(after_s, 1))
        model, actor = self._add_model()
        began = time.monotonic()
        if victim in VICTIMS:
            time.sleep(max(0.0, after_s))
            if victim == "worker":
                self._await_run(model, actor)
            with suppress(*RECOVERIES), self._looking() as connection:
                trial.stage = look(self._rehearsal, connection, model, actor).stage
            trial.killed = self._kill(victim)
        story = self._end_of(model, actor)
        trial.took_s = round(time.monotonic() - began, 1)
        trial.violations = list(faults(story, actor))
        return trial

    def _add_model(self) -> tuple[str, int]:
        """Add a model to the server and to `actors`, as an operator does at noon."""
        number = FIRST_ACTOR + self._told
        self._told += 1
        self._latency_ms *= GAIN
        name = f"new{number}"
        right = fake_models()["fast:1b"].answers
        self._server.models[f"{name}:1b"] = FakeModel(
            digest=f"sha256:{number:x}", size_bytes=10**9, answers=right, latency_ms=self._latency_ms
        )
        row = {"actor_id": number, "actor_name": name, "actor_type": "ai_model", "enabled": True}
        with self._owner() as engine, engine.begin() as connection:
            connection.execute(insert(actors), row | {"execution_path": f"ollama:{name}:1b"})
        return name, number

    def _await_run(self, model: str, actor: int) -> None:
        """Wait for the next run, or for the end of the story if none begins."""
        while not self._rehearsal.run_processes():
            with self._looking() as connection:
                if look(self._rehearsal, connection, model, actor).is_over:
                    return
            time.sleep(0.05)

    def _kill(self, victim: str) -> int:
        """Kill, and return how many processes that hit. After a death of everything the machine starts again."""
        rehearsal = self._rehearsal
        if victim == "worker":
            return rehearsal.kill_runs()
        if victim == "all":
            killed = len(psutil.Process(rehearsal.supervisor_pid).children(recursive=True)) + 1
            rehearsal.kill()
            rehearsal.up()
            return killed
        names = ("measure", "promote") if victim == "code server" else (victim,)
        rehearsal.kill(*names)
        return len(names)

    def _end_of(self, model: str, actor: int) -> Story:
        """Return the story when nothing more happens, or when it takes too long."""
        ends = time.monotonic() + STORY_LIMIT_S
        story = None
        while time.monotonic() < ends:
            with suppress(*RECOVERIES), self._looking() as connection:
                story = look(self._rehearsal, connection, model, actor)
                if story.is_over:
                    return story
            time.sleep(1)
        if story is None:
            raise SystemExit(f"the deployment did not come back\n{self._rehearsal.trouble()}")
        return story

    @contextmanager
    def _owner(self) -> Iterator[Engine]:
        engine = create_engine(self._rehearsal.cluster.url("postgres"))
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        with self._owner() as engine, engine.connect() as connection:
            yield connection


def small_production(url: str) -> None:
    """The tests' production, with the models that answer; nothing was measured yet."""
    fill_production(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(update(actors).where(actors.c.actor_name.in_(["silent", "broken"])).values(enabled=False))
    engine.dispose()


@contextmanager
def deployment() -> Iterator[tuple[Rehearsal, FakeOllama]]:
    """Yield the deployment over a small production, and its server."""
    models = fake_models()
    models["fast:1b"].latency_ms, models["slow:7b"].latency_ms = FIRST_MS, 2 * FIRST_MS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(FakeOllama(models))
        yield stack.enter_context(rehearsal_of_grading(folder, server.url, small_production)), server


def run_campaign(victims: Sequence[str], points: int, seed: int) -> tuple[list[Trial], float]:
    """Return all trials, and the length of a story without a death. Each victim has a deployment of its own."""
    trials: list[Trial] = []
    length_s = 0.0
    for victim in victims:
        with deployment() as (rehearsal, server):
            campaign = Campaign(rehearsal, server, seed)
            campaign.begin()
            length_s = max(length_s, campaign.undisturbed())
            for trial in campaign.trials(victim, points, length_s):
                print(f"{trial.victim:12} {trial.after_s:6.1f} s  {trial.stage:15} {trial.took_s:6.1f} s", end="  ")
                print("; ".join(trial.violations) or "ok", flush=True)
                trials.append(trial)
    return trials, length_s


def report(trials: Sequence[Trial], length_s: float, seed: int) -> str:
    """Return the table as Markdown: one row for each victim and stage."""
    rows = []
    for victim in VICTIMS:
        for stage in STAGES:
            mine = [one for one in trials if (one.victim, one.stage) == (victim, stage)]
            if mine:
                longest = max(one.took_s for one in mine)
                broken = sum(bool(one.violations) for one in mine)
                hit = sum(one.killed for one in mine)
                rows.append([victim, stage, str(len(mine)), str(hit), f"{longest:.0f}", str(broken)])
    broken = sum(bool(one.violations) for one in trials)
    hit, longest = sum(one.killed for one in trials), max(one.took_s for one in trials)
    rows.append(["all of them", "", str(len(trials)), str(hit), f"{longest:.0f}", str(broken)])
    head = ["Killed", "When the model was", "Trials", "Processes hit", "Longest, s", "Violations"]
    setting = (
        f"{len(trials)} models were added to a running deployment (seed {seed}), each with one SIGKILL on its way. "
        f"Without a death the way takes {length_s:.0f} s on this machine. Generated by `{PROGRAM}`."
    )
    return "\n".join(["## Outages", "", fill(setting, 120), "", *table(head, rows, "llrrrr")])


def main() -> None:
    """Run the campaign and print; exit 1 when there was a violation."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--only", choices=list(VICTIMS), help="kill nothing else")
    parser.add_argument("--points", type=int, default=20, help="how many moments of the story, for each (default 20)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the choice of moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every trial to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the page that contains the table")
    options = parser.parse_args()
    victims = [options.only] if options.only else list(VICTIMS)
    trials, length_s = run_campaign(victims, options.points, options.seed)
    page = report(trials, length_s, options.seed)
    print(page)
    if options.json:
        found = {"seed": options.seed, "undisturbed_s": length_s, "trials": [asdict(one) for one in trials]}
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if options.markdown:
        put_between(options.markdown, MARKERS, page, "Outages")
    sys.exit(any(one.violations for one in trials))


if __name__ == "__main__":
    main()
