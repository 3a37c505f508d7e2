"""`bench triggers` and `bench retry`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.operation import triggers
from bench_pipeline.operation.runs import RunState
from bench_pipeline.storage.triggers import triggers_of
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.runs import FakeRuns
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE
NOW = datetime.now(UTC)


@pytest.fixture
def given_up(world: World) -> World:
    for subject in ("fast", "slow\x1b[2J"):
        found = Finding("grading", Cause.NEW_MODEL, "it is new", subject, models=(subject,))
        triggers.notice(world.bench, "grading", [found], NOW, looked_for=())
    with world.database.engine.connect() as connection:
        first = triggers_of(connection)[0]
    triggers.claim(world.bench, first, NOW)
    triggers.settle(world.bench, FakeRuns(RunState.CANCELLED), NOW)
    return world


def test_what_waits_and_what_was_given_up_is_listed_with_the_remedy(given_up: World, typed: Typed) -> None:
    shown = typed("triggers", "--task", "grading")

    assert shown.returncode == 1
    assert "cancelled by a person; bench retry grading --subject 'fast' takes it up again" in shown.stdout
    assert "it is new; waits for its turn" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert [one["state"] for one in json.loads(typed("triggers", "--json").stdout)] == ["given_up", "waiting"]


def test_the_remedy_works_when_it_is_typed(given_up: World, typed: Typed) -> None:
    assert typed("retry", "grading", "--subject", "fast").stdout == "grading: fast (new_model) is due now\n"
    assert typed("triggers").returncode == 0
    nothing = typed("retry", "grading", "--subject", "nobody")
    assert (nothing.returncode, nothing.stdout.split(";")[0]) == (1, "nothing waits and nothing was given up")


@pytest.mark.parametrize("command", [("triggers", "--task", "grading_"), ("retry", "grading_")])
def test_a_misspelt_task_is_named(world: World, typed: Typed, command: tuple[str, ...]) -> None:
    refused = typed(*command)
    assert (refused.returncode, "there is no task 'grading_'" in refused.stderr) == (2, True)
