"""`bench db rehearse` on SQLite: the same attempt as a promotion's, with nothing left in the file."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


def test_a_promotion_is_made_and_rolled_back(typed: Typed, world: World) -> None:
    before = world.snapshot()

    done = typed("db", "rehearse", "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    assert "✅ a promotion works: conversation 3336 (Grade A) went from actor 2 (slow) to 1 (fast)" in done.stdout
    assert (world.snapshot(), world.promotions(), world.rows("benchmark_plans", "plan_hash")) == (before, [], [])


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (
            "SELECT RAISE(ABORT, 'not today')",
            "conversations failed (guard): not today; nothing was changed",
        ),
        (
            "SELECT RAISE(IGNORE)",
            "though it holds actor 2 as planned; nothing was changed, look at trigger guard",
        ),
    ],
    ids=["refuses", "drops the change"],
)
def test_a_trigger_that_stands_in_the_way_is_named_and_found(typed: Typed, world: World, does: str, says: str) -> None:
    world.change(text(f"CREATE TRIGGER guard BEFORE UPDATE ON conversations BEGIN {does}; END"))
    before = world.snapshot()

    asked = typed("db", "rehearse")
    done = typed("db", "rehearse", "--yes")

    assert (asked.returncode, "these triggers of conversations run: guard" in asked.stderr) == (2, True)
    assert (done.returncode, says in done.stderr) == (1, True)
    assert world.snapshot() == before
