"""The campaign of outages can fail: each thing that must hold is missed when it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_pipeline_tests.campaigns.outage_invariants import Story, faults
from bench_pipeline_tests.campaigns.outages import VICTIMS, Trial, report

ACTOR = 1001
PROMOTED = Story(
    measured=(("key", "b1", True),),
    decided={"3336": ["promote"]},
    promoted=((1, "promotion", "3336", True),),
    held=("1001", "1001", "1001"),
    waiting=(),
    runs=(),
    slots=0,
)
KEPT = replace(PROMOTED, decided={"3336": ["keep"]}, promoted=(), held=("1", "1", "1"))
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"measured": (*PROMOTED.measured, ("key", "b2", True))}, "it was not measured exactly once"),
    ({"measured": (("key", "b1", False),)}, "it was not measured exactly once"),
    ({"decided": {}, "promoted": ()}, "nobody decided upon it"),
    ({"promoted": (*PROMOTED.promoted, (2, "promotion", "3336", True))}, "it was promoted twice"),
    ({"promoted": (*PROMOTED.promoted, (2, "rollback", "3336", None))}, "its promotion was undone"),
    ({"promoted": ()}, "promoted in [], decided so in ['3336']"),
    ({"promoted": ((1, "promotion", "3336", None),)}, "it was to be promoted, and it is promoted"),
    ({"held": ("1001", "1", "1001")}, "it was to be promoted"),
    ({"waiting": ("new_model new1001 given_up (twice)",)}, "triggers are not settled: new_model new1001 given_up"),
    ({"runs": ("benchmark_grading STARTED",)}, "runs are in progress: benchmark_grading STARTED"),
    ({"slots": 1}, "1 slots of pools are taken"),
]


@pytest.mark.parametrize("story", [PROMOTED, KEPT], ids=["promoted", "kept"])
def test_a_story_that_ended_well_has_no_fault(story: Story) -> None:
    assert (list(faults(story, ACTOR)), story.is_over) == ([], True)


@pytest.mark.parametrize(("changed", "says"), BROKEN, ids=[says for _, says in BROKEN])
def test_each_fault_is_found(changed: dict[str, Any], says: str) -> None:
    assert any(fault.startswith(says) for fault in faults(replace(PROMOTED, **changed), ACTOR))


def test_the_table_counts_violations_by_victim_and_stage() -> None:
    trials = [Trial("daemon", 1.0, "noticed", 1, 90.4), Trial("daemon", 2.0, "noticed", 1, 95.0, ["it died"])]
    assert "| daemon | noticed | 2 | 2 | 95 | 1 |" in report(trials, 60.0, 1)


def test_the_page_says_what_is_killed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "outages.md").read_text(encoding="utf-8")
    assert [
        line for line in page.splitlines() if line in {f"| {name} | {what} |" for name, what in VICTIMS.items()}
    ] == [f"| {name} | {what} |" for name, what in VICTIMS.items()]
