"""Changes of production as they are read, while others are made."""

from __future__ import annotations

import re

from sqlalchemy import event

from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.storage.promotions import all_promotions
from bench_pipeline_tests.kit.world import World


def test_a_change_that_is_committed_while_they_are_read_is_not_among_them(world: World) -> None:
    promotion, bench = world.promoted(), world.bench
    undone = []

    def undo(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if re.search(r"FROM (public\.)?benchmark_promotions\b", statement) and not undone:
            undone.append(promotion)
            roll_back(bench, "the tests want it", "the tests")

    event.listen(world.database.engine, "after_cursor_execute", undo)
    with world.database.engine.connect() as connection:
        read = all_promotions(connection)
    bench.writer.close()
    assert [one.promotion_id for one in read] == [promotion.promotion_id]
    assert [one.promotion_id for one in world.promotions()] == [1, 2]
