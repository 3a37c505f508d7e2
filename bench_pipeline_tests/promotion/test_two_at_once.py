"""Two who undo the same promotion at once: it is undone, once."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from bench_pipeline.domain.refusal import PlanRefused
from bench_pipeline.promotion.undoing import roll_back
from bench_pipeline_tests.world import SLOW, World


@pytest.mark.parametrize("named", [True, False], ids=["the promotion that is named", "the last one"])
def test_a_rollback_that_another_one_overtakes_undoes_the_promotion_and_not_the_rollback(
    world: World, named: bool
) -> None:
    promotion, promoter = world.promoted(), world.promoter
    undone = []

    def overtake(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM benchmark_promotion_rows" in statement and not undone:
            undone.append(promotion)
            roll_back(promoter, "the first", "one", promotion.promotion_id)

    event.listen(world.database.engine, "after_cursor_execute", overtake)
    with pytest.raises(PlanRefused, match=r"promotion 1 was undone already: the first"):
        roll_back(promoter, "the second", "another", promotion.promotion_id if named else None)
    promoter.writer.close()
    assert world.holds() == [SLOW] * 3
    assert [one.status.value for one in world.promotions()] == ["rolled_back", "applied"]
