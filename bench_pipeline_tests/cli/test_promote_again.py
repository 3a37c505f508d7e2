"""`bench promote` typed once more: what an earlier run left to do is done."""

from __future__ import annotations

import json

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


def promoted_and_not_validated(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    typed("promote", "--task", "grading", "--no-validate")


def test_a_promotion_that_was_not_validated_is_validated(typed: Typed, world: World) -> None:
    promoted_and_not_validated(typed, world)
    done = typed("promote", "--task", "grading")
    assert (done.returncode, "nothing to promote\n✅ validation passed: fast\n" in done.stdout) == (0, True)
    assert [one.status.value for one in world.promotions()] == ["validated"]


def test_one_that_does_not_hold_any_more_is_undone(typed: Typed, world: World) -> None:
    promoted_and_not_validated(typed, world)
    world.server.models["fast:1b"].answers = {}
    done = typed("promote", "--task", "grading", "--json")
    assert (done.returncode, json.loads(done.stdout)["validation"]["passed"]) == (1, False)
    assert world.holds() == [SLOW] * 3


def test_it_can_be_left_to_later_again(typed: Typed, world: World) -> None:
    promoted_and_not_validated(typed, world)
    assert typed("promote", "--task", "grading", "--no-validate").returncode == 0
    assert world.holds() == [FAST] * 3
    assert [one.status.value for one in world.promotions()] == ["applied"]


def test_one_that_was_validated_is_not_validated_again(typed: Typed, world: World) -> None:
    world.ranked("fast", "slow")
    typed("promote", "--task", "grading")
    assert json.loads(typed("promote", "--task", "grading", "--json").stdout)["validation"] is None
    assert world.rows("benchmark_validations", "passed") == [(True,)]
