"""Two who undo the same promotion at once: it is undone, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from bench_pipeline.domain.promoting.plan import Bar
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.reconciliation import reconcile
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.storage.promotions import Validation, insert_validation
from bench_pipeline_tests.kit.models import SLOW
from bench_pipeline_tests.kit.world import World


def once_after(world: World, statement: str, act: Callable[[], object]) -> None:
    """Let something happen right after the first statement that contains these words."""
    acted = []

    def look(_connection: object, _cursor: object, executed: str, *_: object) -> None:
        if statement in executed.replace("public.", "") and not acted:
            acted.append(executed)
            act()

    event.listen(world.database.engine, "after_cursor_execute", look)


@pytest.mark.parametrize("named", [True, False], ids=["the promotion that is named", "the last one"])
def test_a_rollback_that_another_one_overtakes_undoes_the_promotion_and_not_the_rollback(
    world: World, named: bool
) -> None:
    promotion, bench = world.promoted(), world.bench
    once_after(world, "FROM benchmark_promotion_rows", lambda: roll_back(bench, "the first", "one", 1))
    with pytest.raises(PlanRefused, match=r"promotion 1 is already undone: the first"):
        roll_back(bench, "the second", "another", promotion.promotion_id if named else None)
    bench.writer.close()
    assert world.holds() == [SLOW] * 3
    assert [one.status.value for one in world.promotions()] == ["rolled_back", "applied"]


def test_of_two_who_reconcile_at_once_both_go_on_and_the_failed_promotion_is_undone_once(world: World) -> None:
    promotion, bench = world.promoted(), world.bench
    failed = Validation(promotion.promotion_id, False, Bar.EVIDENCE, {"reasons": ["wrong"]}, datetime.now(UTC))
    with world.database.writing() as connection:
        insert_validation(connection, failed)
    once_after(world, "ORDER BY benchmark_validations.validation_id DESC", lambda: reconcile(bench, "one"))
    assert reconcile(bench, "another").undone == ()
    bench.writer.close()
    assert world.holds() == [SLOW] * 3
    assert [one.account for one in world.promotions()] == ["the tests", "one"]
