"""The edition suite that ships: what a model must have read to pass it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench_pipeline.benchmark.preparation import prepare_from_files
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import FinalLine
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.domain.tasks.verdict import judge
from bench_pipeline.settings import Settings

EDITION = prepare_from_files(Settings(testcases_dir=Path(__file__).parents[2] / "testcases"), "edition")
CASES = EDITION.suite.test_cases
CONTRACT = EDITION.task.verdict
assert isinstance(CONTRACT, FinalLine)
TOWNS = {town: edition for edition, towns in CONTRACT.labels.items() for town in towns}


def outcomes_of(reply: str) -> list[Outcome]:
    return [judge(CONTRACT, case, Reply(reply, elapsed_ns=1)).outcome for case in CASES]


def words_of(case: TestCase) -> set[str]:
    return set(re.findall(r"\w+", (case.posting or "").lower()))


@pytest.mark.parametrize("town", TOWNS)
def test_a_model_that_always_names_the_same_town_is_wrong_in_every_second_case(town: str) -> None:
    outcomes = outcomes_of(town)
    assert (outcomes.count(Outcome.CORRECT), outcomes.count(Outcome.WRONG)) == (5, 5)


@pytest.mark.parametrize("reply", ["north", "The person will work in Leeds.", "Leeds or Bristol"])
def test_a_reply_that_is_not_the_name_of_a_town_has_no_verdict(reply: str) -> None:
    assert set(outcomes_of(reply)) == {Outcome.INVALID}


def test_every_posting_names_a_town_of_its_edition() -> None:
    for case in CASES:
        assert case.expected_verdict in {TOWNS[town] for town in TOWNS if town.lower() in words_of(case)}, case.id


def test_both_editions_have_a_posting_that_also_names_a_town_of_the_other() -> None:
    both = {case.type for case in CASES if len({TOWNS[town] for town in TOWNS if town.lower() in words_of(case)}) == 2}
    assert both == {"north", "south"}


def test_no_single_word_tells_the_editions_apart() -> None:
    gold = [case.expected_verdict == "north" for case in CASES]
    for word in set().union(*map(words_of, CASES)):
        found = [word in words_of(case) for case in CASES]
        assert gold not in (found, [not one for one in found]), word


def test_the_prompt_names_no_town() -> None:
    assert not [town for town in TOWNS if town in EDITION.template]
