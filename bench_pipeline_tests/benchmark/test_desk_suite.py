"""The desk suite that ships: what a model must have read to pass it."""

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

DESK = prepare_from_files(Settings(testcases_dir=Path(__file__).parents[2] / "testcases"), "desk")
CASES = DESK.suite.test_cases
CONTRACT = DESK.task.verdict
assert isinstance(CONTRACT, FinalLine)
JOBS = {job: desk for desk, jobs in CONTRACT.labels.items() for job in jobs}


def outcomes_of(reply: str) -> list[Outcome]:
    return [judge(CONTRACT, case, Reply(reply, elapsed_ns=1)).outcome for case in CASES]


def words_of(case: TestCase) -> set[str]:
    return set(re.findall(r"\w+", (case.posting or "").lower()))


@pytest.mark.parametrize("job", JOBS)
def test_a_model_that_always_names_the_same_job_is_wrong_in_every_second_case(job: str) -> None:
    outcomes = outcomes_of(job)
    assert (outcomes.count(Outcome.CORRECT), outcomes.count(Outcome.WRONG)) == (5, 5)


@pytest.mark.parametrize("reply", ["health", "The job title is Joiner.", "Joiner or Plumber", "Shopkeeper"])
def test_a_reply_that_is_not_the_name_of_a_job_has_no_verdict(reply: str) -> None:
    assert set(outcomes_of(reply)) == {Outcome.INVALID}


def test_every_posting_names_one_job_of_the_list_and_it_is_of_the_right_desk() -> None:
    for case in CASES:
        named = [desk for job, desk in JOBS.items() if re.search(rf"\b{job}\b", case.posting or "")]
        assert named == [case.expected_verdict], case.id


def test_no_single_word_tells_the_desks_apart() -> None:
    gold = [case.expected_verdict == "health" for case in CASES]
    for word in set().union(*map(words_of, CASES)):
        found = [word in words_of(case) for case in CASES]
        assert gold not in (found, [not one for one in found]), word


def test_the_prompt_names_no_job() -> None:
    assert not [job for job in JOBS if job.lower() in (DESK.prompt.text or "").lower()]
