"""Who carries out a conversation now, who did before, and whether one could go back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.promoting.changes import RecordedChange, linked
from bench_pipeline.domain.promoting.holders import BEFORE, RUNNER_UP, holders, ways_back
from bench_pipeline_tests.domain.promoting.test_changes import CHAIN, NEW, OLD, change, row

AT = datetime(2026, 11, 24, tzinfo=UTC)
CHAMPION = Champion(7, "grading", NEW, OLD, "b1", 100.0, AT)
HELD = {7: ("Grade", NEW, "new")}


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        pytest.param(CHAIN[:1], ("old", 1), id="promoted"),
        pytest.param(CHAIN[:2], (None, None), id="undone"),
        pytest.param(CHAIN[:3], ("old", 3), id="done again"),
        pytest.param([change(1), change(5, rows=(replace(row(), old_actor="new"),))], ("new", 5), id="promoted twice"),
        pytest.param([change(1, rows=(replace(row(), changed=False),))], (None, None), id="left alone"),
        pytest.param([], (None, None), id="confirmed only"),
    ],
)
def test_the_actor_before_is_the_one_that_the_last_promotion_in_force_replaced(
    changes: list[RecordedChange], before: tuple[str | None, int | None]
) -> None:
    (found,) = holders(HELD, [CHAMPION], linked(changes, {}))

    assert (found.before, found.promotion_id) == before


def test_the_conversations_without_their_champion_come_first() -> None:
    other = replace(CHAMPION, conversation_id=8)
    gone = replace(CHAMPION, conversation_id=9)

    found = holders(HELD | {8: ("Grade B", OLD, "old")}, [CHAMPION, other, gone], [])

    assert [(one.conversation_id, one.has_champion) for one in found] == [(8, False), (9, False), (7, True)]
    assert found[1].conversation == "conversation 9 (deleted)"


@pytest.mark.parametrize(
    ("candidate", "missing"),
    [
        pytest.param(Candidate("old", OLD, None), "", id="installed"),
        pytest.param(
            Candidate("old", OLD, None, None, Exclusion.NOT_INSTALLED, "not found"), "not found", id="removed"
        ),
        pytest.param(Candidate("old", OLD, None, None, Exclusion.DISABLED), "disabled", id="disabled"),
        pytest.param(Candidate("old", OLD, None, None, Exclusion.RUNTIME_UNAVAILABLE, "refused"), "", id="unknown"),
        pytest.param(Candidate("another", 99, None), "its row in actors is gone", id="deleted"),
    ],
)
def test_a_way_back_is_missing_only_where_the_model_is_surely_gone(candidate: Candidate, missing: str) -> None:
    (found,) = holders(HELD, [CHAMPION], linked(CHAIN[:1], {}))

    assert [(way.role, way.missing) for way in ways_back([found], [candidate])] == [
        (BEFORE, missing),
        (RUNNER_UP, missing),
    ]
