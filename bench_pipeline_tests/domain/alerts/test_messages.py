"""Every alert says what happened, what it means and what to do, in a bounded text with commands that exist."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from bench_pipeline.cli.main import COMMANDS
from bench_pipeline.domain.alerts.alert import Alert, AlertCause
from bench_pipeline.domain.alerts.messages import CallingTrigger, FailedCheck, Messages
from bench_pipeline.domain.promoting.changes import PromotionRow, RecordedChange
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import ApprovalMode, PlanKind, PlanRow, PlanTerms, PromotionPlan

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
WITHOUT_COMMAND = ("run_failed", "tick_failed", "check_failed", "test")
HOSTILE = "*a*\n[b](https://evil.example) <!channel> @all \x1b[2J" + "ü" * 5000


def row_of(name: str) -> dict[str, Any]:
    return dict.fromkeys(PromotionRow.__slots__) | {
        "conversation": name, "task": "grading", "old_actor": name, "new_actor": name, "reason": name, "changed": True,
    }  # fmt: skip


def change_of(name: str, kind: PlanKind, rows: int) -> RecordedChange:
    fields = dict.fromkeys(RecordedChange.__slots__) | {
        "promotion_id": 12, "kind": kind, "undoes": 11, "reason": name, "applied_at": NOW,
        "rows": tuple(PromotionRow(**row_of(name)) for _ in range(rows)),
    }  # fmt: skip
    return RecordedChange(**fields)  # type: ignore[arg-type]


def plan_of(name: str, rows: int) -> StoredPlan:
    terms = PlanTerms(min_gain=0.05, max_rows=20, evidence_days=35, plan_hours=168, approval=ApprovalMode.REQUIRED,
                      approval_hours=72, second_person=False, schema_hash="0")  # fmt: skip
    row = PlanRow(task="grading", conversation_id=1, conversation=name, decision=None, reason=name, old_actor_id=1,
                  old_actor=name, new_actor_id=2, new_actor=name)  # fmt: skip
    plan = PromotionPlan(evidence=(), terms=terms, rows=(row,) * rows)
    return StoredPlan(plan.hash, plan.document, "Ann", "Ann", NOW)


def all_alerts(name: str, many: int = 1) -> list[Alert]:
    """One alert of each cause, with this name wherever foreign text can stand."""
    messages = Messages()
    trigger = CallingTrigger("grading", "new_model", name, name, name, 4)
    return [
        messages.promoted(change_of(name, PlanKind.PROMOTION, many)),
        messages.undone(change_of(name, PlanKind.ROLLBACK, many)),
        messages.awaits_approval(plan_of(name, many), name, NOW),
        messages.inconclusive("grading", name, [f"{n} {name}" for n in range(many)], NOW),
        messages.nothing_qualifies("grading", name, {f"{n} {name}": name for n in range(many)}, NOW),
        messages.trigger_given_up(trigger, NOW),
        messages.champion_gone(trigger, NOW),
        messages.champion_slow(trigger, NOW),
        messages.run_failed(name, "0123", name, NOW),
        messages.tick_failed(name, "/locations/here/sensors/this", name, NOW),
        messages.check_failed(FailedCheck(("grading", name), name, name), NOW),
        messages.daemon_silent(name, NOW),
        messages.test(NOW),
    ]


def test_every_cause_has_its_message() -> None:
    assert [one.cause for one in all_alerts("fair")] == list(AlertCause)


@pytest.mark.parametrize("alert", all_alerts("fair"), ids=lambda one: one.cause.value)
def test_the_commands_of_a_message_exist(alert: Alert) -> None:
    named = re.findall(r"\bbench ([a-z]+)", alert.todo)

    assert set(named) <= COMMANDS.keys()
    assert named or alert.cause in WITHOUT_COMMAND


@pytest.mark.parametrize("alert", all_alerts(HOSTILE, many=500), ids=lambda one: one.cause.value)
def test_hostile_text_is_cut_and_has_no_effect(alert: Alert) -> None:
    body = alert.body("https://dagster.example.org")

    assert len(alert.title) < 200
    assert len(alert.subject) < 200
    assert len(body) < 2500
    assert len(body.splitlines()) == 4 - (alert.path == "")
    text = f"{alert.title}{alert.subject}{alert.happened}{alert.means}{alert.todo}"
    assert not set(text) & set("*[]<>@`\n\x1b")
    assert "://" not in text
    assert re.fullmatch(r"(/[\w./?=&%-]*)?", alert.path)


def test_many_warnings_are_one_short_message() -> None:
    checks = [FailedCheck((HOSTILE, "scoreboard"), f"{n}{HOSTILE}", HOSTILE) for n in range(50)]

    alert = Messages().checks_warn(checks, "0123", NOW)

    assert alert.title.startswith("50 warnings about")
    assert len(alert.subject) < 200
    assert len(alert.body(None)) < 2500


def test_two_long_subjects_stay_two() -> None:
    first, second = (Messages().run_failed("x" * 400 + end, "1", "no", NOW) for end in "ab")

    assert first.subject != second.subject


def test_a_change_of_many_rows_tells_how_many_more_there_are() -> None:
    alert = Messages().promoted(change_of("fair", PlanKind.PROMOTION, 9))

    assert alert.happened.startswith("fair: fair → fair; ")
    assert "and 4 more" in alert.happened
