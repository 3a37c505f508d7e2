"""Which changes of production are in force, and which actors they bar: chains of undoings, without a database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.promoting.bars import Bars, MeasuredAs
from bench_pipeline.domain.promoting.changes import (
    Promotion,
    PromotionRow,
    RecordedChange,
    last_link,
    latest_of,
    linked,
    unvalidated,
)
from bench_pipeline.domain.promoting.plan import Bar, PlanEvidence, PlanKind, PlanRow

OLD, NEW = 2, 1


def row(
    conversation_id: int = 7, old: int = OLD, new: int = NEW, changed: bool = True, task: str = "grading"
) -> PromotionRow:
    return PromotionRow(
        conversation_id, "Grade", task, "b1", "e1", old, "old", new, "new", None, None, None, "faster", True, None
    )


def change(number: int, undoes: int | None = None, bar: Bar | None = None, **values: object) -> RecordedChange:
    """A promotion, or a rollback when it undoes a change."""
    fields = {
        "kind": PlanKind.PROMOTION if undoes is None else PlanKind.ROLLBACK,
        "rows": (row(),),
        "reason": f"reason {number}",
    } | values
    return RecordedChange(
        promotion_id=number, plan_hash=str(number), terms_hash="t", undoes=undoes, bar=bar, requested_by="Ann",
        account=None, approved_by=None, dagster_run_id=None, applied_at=datetime(2026, 11, 24, tzinfo=UTC), **fields,
    )  # fmt: skip


CHAIN = [change(1), change(2, undoes=1), change(3, undoes=2), change(4, undoes=3)]


@pytest.mark.parametrize(
    ("length", "states"),
    [
        pytest.param(1, ["applied"], id="a promotion"),
        pytest.param(2, ["rolled_back", "applied"], id="undone"),
        pytest.param(3, ["reapplied", "rolled_back", "applied"], id="and that undone"),
        pytest.param(4, ["rolled_back", "reapplied", "rolled_back", "applied"], id="and that too"),
    ],
)
def test_a_change_is_in_force_unless_a_change_in_force_undoes_it(length: int, states: list[str]) -> None:
    found = linked(CHAIN[:length], {})
    assert [one.status for one in found] == states
    assert [one.in_force for one in found] == [one.status != "rolled_back" for one in found]


def test_what_undoes_a_promotion_goes_back_and_what_undoes_that_goes_forward() -> None:
    assert [one.forward for one in linked(CHAIN, {})] == [True, False, True, False]


def test_a_change_that_was_reapplied_still_knows_why_it_was_undone_first() -> None:
    first = linked(CHAIN[:3], {})[0]
    assert (first.undone_by, first.undone_because, first.first_undone_because) == (None, None, "reason 2")


@pytest.mark.parametrize(("passed", "status"), [({}, "applied"), ({1: True}, "validated"), ({1: False}, "failed")])
def test_the_last_validation_is_the_status_of_a_change_that_nothing_undid(
    passed: Mapping[int, bool], status: str
) -> None:
    assert linked([change(1)], passed)[0].status == status


def test_the_last_link_of_a_chain_is_the_one_to_undo() -> None:
    found = linked(CHAIN, {})
    assert [last_link(found, number).promotion_id for number in (1, 2, 4)] == [4, 4, 4]


def test_the_latest_change_in_force_is_no_rollback_and_is_of_the_task() -> None:
    other = change(3, rows=(row(8, task="extraction"),))
    found = linked([change(1), change(2, kind=PlanKind.FAILOVER), other, change(4, undoes=2)], {})
    latest = [latest_of(found), latest_of(found, "grading"), latest_of(found, "formatting")]
    assert [one and one.promotion_id for one in latest] == [3, 1, None]


def test_a_promotion_waits_for_its_validation_until_one_judged_it_or_another_replaced_it() -> None:
    found = linked([change(1), change(2), change(3, rows=(row(8),)), change(4, rows=(row(9),))], {4: True})
    assert [one.promotion_id for one in unvalidated(found)] == [2, 3]
    assert unvalidated(found, "extraction") == []


# Bars

PLANNED = PlanRow(
    task="grading", conversation_id=7, conversation="Grade", decision=None, reason="", old_actor_id=OLD,
    old_actor="old", new_actor_id=NEW, new_actor="new",
)  # fmt: skip
SAME = MeasuredAs("key", ModelIdentity(runtime="ollama", name="new:1b", digest="sha256:1"))
OTHER = MeasuredAs("key", ModelIdentity(runtime="ollama", name="new:1b", digest="sha256:2"))


def evidence(evidence_hash: str) -> PlanEvidence:
    return PlanEvidence(task="grading", benchmark_id="b2", evidence_hash=evidence_hash)


def barring(bar: Bar | None, *later: RecordedChange) -> list[Promotion]:
    return linked([change(1), change(2, undoes=1, bar=bar), *later], {})


@pytest.mark.parametrize(
    ("bar", "evidence_hash", "now", "barred"),
    [
        pytest.param(Bar.BENCHMARK, "e1", SAME, True, id="benchmark: the same evidence"),
        pytest.param(Bar.BENCHMARK, "e2", SAME, False, id="benchmark: the next benchmark"),
        pytest.param(Bar.EVIDENCE, "e1", OTHER, True, id="evidence: the same evidence"),
        pytest.param(Bar.EVIDENCE, "e2", SAME, True, id="evidence: measured anew under the same terms"),
        pytest.param(Bar.EVIDENCE, "e2", OTHER, False, id="evidence: another model"),
        pytest.param(None, "e1", SAME, False, id="no bar"),
    ],
)
def test_a_rollback_bars_what_it_undid(bar: Bar | None, evidence_hash: str, now: MeasuredAs, barred: bool) -> None:
    bars = Bars(barring(bar), {("b1", NEW): SAME, ("b2", NEW): now})
    found = bars.on(PLANNED, evidence(evidence_hash))
    assert (found.promotion_id if found else None) == (2 if barred else None)


def test_a_rollback_that_is_undone_bars_nobody() -> None:
    bars = Bars(barring(Bar.EVIDENCE, change(3, undoes=2)), {})
    assert bars.on(PLANNED, evidence("e1")) is None


@pytest.mark.parametrize("changes", [{"conversation_id": 8}, {"new_actor_id": 3}], ids=["conversation", "actor"])
def test_a_bar_is_on_one_actor_in_one_conversation(changes: dict[str, int]) -> None:
    bars = Bars(barring(Bar.EVIDENCE), {})
    assert bars.on(PLANNED.model_copy(update=changes), evidence("e1")) is None


def test_a_failover_bars_the_champion_that_it_replaced() -> None:
    failed = change(1, kind=PlanKind.FAILOVER, bar=Bar.EVIDENCE, rows=(row(old=NEW, new=3),))
    found = Bars(linked([failed], {}), {}).on(PLANNED, evidence("e1"))
    assert found is not None
    assert found.removal == "failover 1 replaced it (reason 1)"
