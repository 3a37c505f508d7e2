"""The screening suite that ships: what a model must have read to pass it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench_pipeline.benchmark.preparation import prepare_from_files
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.domain.tasks.verdict import judge
from bench_pipeline.settings import Settings

SCREENING = prepare_from_files(Settings(testcases_dir=Path(__file__).parents[2] / "testcases"), "screening")
CASES = SCREENING.suite.test_cases
RIGHT = {Gold.PASS: '{"kind": "posting"}', Gold.FAIL: '{"kind": "other"}'}


def outcome_of(case: TestCase, reply: str) -> Outcome:
    return judge(SCREENING.task.verdict, case, Reply(reply, elapsed_ns=1)).outcome


def words_of(case: TestCase) -> set[str]:
    return set(re.findall(r"\w+", (case.posting or "").lower()))


def test_the_reply_that_the_prompt_asks_for_is_correct() -> None:
    assert {outcome_of(case, RIGHT[Gold(case.expected_verdict)]) for case in CASES} == {Outcome.CORRECT}


@pytest.mark.parametrize("reply", RIGHT.values())
def test_a_model_that_always_says_the_same_is_wrong_in_every_second_case(reply: str) -> None:
    assert [outcome_of(case, reply) for case in CASES].count(Outcome.WRONG) == 5


def test_no_single_word_tells_the_classes_apart() -> None:
    gold = [case.expected_verdict == Gold.PASS for case in CASES]
    for word in set().union(*map(words_of, CASES)):
        found = [word in words_of(case) for case in CASES]
        assert gold not in (found, [not one for one in found]), word


def test_no_text_of_a_case_stands_in_the_prompt() -> None:
    sentences = {line for case in CASES for line in re.split(r"(?<=[.!?:])\s+|\n", case.posting or "") if line}
    assert not [sentence for sentence in sentences if len(sentence) > 10 and sentence in SCREENING.template]
