"""Whether a benchmark decides about production by default, and whether a newer one outdates a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.promoting.decision import DecisionKind, Incumbent
from bench_pipeline.domain.promoting.fitness import MeasuredTerms, foreign_terms, outdated_row, unmeasured_incumbent
from bench_pipeline.domain.promoting.plan import PlanRow
from bench_pipeline.domain.tasks.readers.contracts import FinalLine, LeadingTag

PRESENT = MeasuredTerms("suite", "prompt", {"repeats": 1, "retries": 2}, LeadingTag())
PROMOTE, KEEP, INCONCLUSIVE = DecisionKind.PROMOTE, DecisionKind.KEEP, DecisionKind.INCONCLUSIVE


def result(standing: Standing) -> ModelResult:
    return ModelResult("slow", standing, 4, 4, 100.0, actor_id=2, reason="its server went away")


def row(decision: DecisionKind, new_actor_id: int | None = 1, conversation_id: int = 7) -> PlanRow:
    return PlanRow(
        task="grading",
        conversation_id=conversation_id,
        conversation="Grade",
        decision=decision,
        reason="",
        old_actor_id=2,
        old_actor="slow",
        new_actor_id=new_actor_id,
    )


@pytest.mark.parametrize(
    ("then", "now", "foreign"), [("gpu", "auto", False), ("auto", "gpu", True), ("any", "auto", True)]
)
def test_a_term_that_was_measured_more_strictly_is_not_foreign(then: str, now: str, foreign: bool) -> None:
    measured, present = ({"placement": placement} for placement in (then, now))
    found = foreign_terms(replace(PRESENT, protocol=measured), replace(PRESENT, protocol=present))
    assert bool(found) is foreign


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (PRESENT, ""),
        (replace(PRESENT, suite_hash="other"), "its suite is not the task's own of now"),
        (replace(PRESENT, prompt_hash="other"), "its prompt is not the present one"),
        (replace(PRESENT, verdict=FinalLine()), "its verdicts were not read as task.yaml says now"),
        (replace(PRESENT, verdict=None), "its verdicts were not read as task.yaml says now"),
        (
            replace(PRESENT, protocol={"repeats": 3, "retries": 2}),
            "its protocol is not the task's own: repeats 3 instead of 1",
        ),
        (
            replace(PRESENT, protocol={"repeats": 1}),
            "its protocol is not the task's own: retries None instead of 2",
        ),
    ],
    ids=["the same", "suite", "prompt", "reader", "a reader of the past", "protocol", "an older protocol"],
)
def test_a_benchmark_under_other_terms_is_foreign_and_says_which(measured: MeasuredTerms, why: str) -> None:
    assert foreign_terms(measured, PRESENT) == why


@pytest.mark.parametrize("standing", [Standing.QUALIFIED, Standing.DISQUALIFIED])
def test_an_incumbent_that_was_measured_to_the_end_is_measured(standing: Standing) -> None:
    assert unmeasured_incumbent([Incumbent(2, "slow", "ai_model", result(standing))]) == ""


@pytest.mark.parametrize("exclusion", [one for one in Exclusion if one.lasting])
def test_an_incumbent_that_is_excluded_for_a_lasting_reason_need_not_be_measured(exclusion: Exclusion) -> None:
    assert unmeasured_incumbent([Incumbent(2, "slow", "ai_model", exclusion=exclusion)]) == ""


@pytest.mark.parametrize(
    ("incumbent", "why"),
    [
        (
            Incumbent(2, "slow", "ai_model", result(Standing.INCONCLUSIVE)),
            "the incumbent slow could not be measured to the end: its server went away",
        ),
        (Incumbent(2, "slow", "ai_model"), "the incumbent slow was not measured: it was not part of this benchmark"),
        (
            Incumbent(2, "slow", "ai_model", exclusion=Exclusion.RUNTIME_UNAVAILABLE),
            "the incumbent slow was not measured: its runtime did not answer",
        ),
        (
            Incumbent(2, "slow", "ai_model", exclusion=Exclusion.PROTOCOL),
            "the incumbent slow was not measured: its runtime cannot keep the protocol",
        ),
    ],
)
def test_an_incumbent_that_may_be_measured_tomorrow_makes_a_benchmark_unfit(incumbent: Incumbent, why: str) -> None:
    assert unmeasured_incumbent([Incumbent(2, "slow", "ai_model", result(Standing.QUALIFIED)), incumbent]) == why


@pytest.mark.parametrize("incumbent", [Incumbent(None), Incumbent(6, "ticket.py", "script", is_model=False)])
def test_a_conversation_without_a_model_needs_no_measurement(incumbent: Incumbent) -> None:
    assert unmeasured_incumbent([incumbent]) == ""


@pytest.mark.parametrize(
    ("planned", "newer", "outdated"),
    [
        (row(PROMOTE, 1), row(PROMOTE, 1), False),
        (row(PROMOTE, 1), row(PROMOTE, 3), True),
        (row(PROMOTE, 1), row(KEEP, 2), True),
        (row(PROMOTE, 1), row(INCONCLUSIVE, None), True),
        (row(KEEP, 2), row(KEEP, 2), False),
        (row(KEEP, 2), row(INCONCLUSIVE, None), False),
        (row(KEEP, 2), row(PROMOTE, 1), True),
        (row(PROMOTE, 9), row(KEEP, 2), False),
        (row(PROMOTE, 1), row(KEEP, 2, conversation_id=8), False),
    ],
    ids=[
        "the same change",
        "another change",
        "no change",
        "no decision",
        "nothing changes in both",
        "a row that stays needs no decision",
        "a change where none was planned",
        "it did not look at the planned actor",
        "it is about another conversation",
    ],
)
def test_a_plan_is_outdated_only_by_another_decision_about_one_of_its_rows(
    planned: PlanRow, newer: PlanRow, outdated: bool
) -> None:
    found = outdated_row([row(KEEP, 2, conversation_id=1), planned], [newer], known={1, 2, 3})
    assert found == (planned if outdated else None)
