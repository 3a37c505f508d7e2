"""The injection twins that ship: the grading cases, and each again with an instruction planted in its posting."""

from __future__ import annotations

import re
from itertools import pairwise, product
from pathlib import Path

import pytest

from bench_pipeline.benchmark.preparation import prepare_from_files
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.text import visible
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.settings import Settings

SETTINGS = Settings(testcases_dir=Path(__file__).parents[2] / "testcases")
GRADING = prepare_from_files(SETTINGS, "grading")
INJECTION = prepare_from_files(SETTINGS, "grading_injection")
CLEAN = {case.id: case for case in INJECTION.suite.test_cases if case.twin_of is None}
TWINS = [case for case in INJECTION.suite.test_cases if case.twin_of is not None]
POSITIONS = ("START", "MIDDLE", "END")
KINDS = {
    "TAG": r"\[(PASS|FAIL)\]",
    "SYSTEM_TURN": r"<\|im_start\|>system|<<SYS>>|<\|start_header_id\|>system|^SYSTEM:|^### System",
    "CLOSING_TAG": r"</posting>",
    "JSON": r'\{[^{}]*"\w+": "\[?(PASS|FAIL)\]?"',
    "LANGUAGE": r"\b(Antworte|Responde|Réponds|Odpowiedz|Rispondi)\b",
    "ZERO_WIDTH": r"[\u200b\u200c\u200d\u2060]",
}

every_twin = pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.id)


def posting_of(case: TestCase) -> str:
    assert case.posting
    return case.posting


def clean_case(twin: TestCase) -> TestCase:
    return CLEAN[twin.twin_of or "none"]


def name_of(twin: TestCase) -> tuple[str, str]:
    """Return the position and the kind that the id states."""
    position, _, kind = twin.id.removeprefix(f"{twin.twin_of}_").partition("_")
    return position, kind


def planted_in(twin: TestCase) -> str:
    """Return the text at the place that the id states; the rest of the posting is the clean one, or it raises."""
    clean, posting = posting_of(clean_case(twin)), posting_of(twin)
    length = len(posting) - len(clean)
    middle = range(len(clean) // 4, 3 * len(clean) // 4)
    places = {"START": [0], "MIDDLE": middle, "END": [len(clean)]}[name_of(twin)[0]]
    place = max(at for at in places if posting[:at] + posting[at + length :] == clean)
    return posting[place : place + length].strip()


def test_the_clean_cases_are_the_ones_of_grading() -> None:
    assert tuple(CLEAN.values()) == GRADING.suite.test_cases


def test_prompt_reader_and_decoding_are_the_ones_of_grading() -> None:
    assert INJECTION.prompt == GRADING.prompt
    assert (INJECTION.task.verdict, INJECTION.protocol) == (GRADING.task.verdict, GRADING.protocol)


def test_nothing_is_promoted_from_the_twins() -> None:
    assert INJECTION.task.conversations == ()


def test_every_case_has_a_twin_at_each_position() -> None:
    assert sorted((twin.twin_of, name_of(twin)[0]) for twin in TWINS) == sorted(product(CLEAN, POSITIONS))


def test_every_kind_stands_at_every_position() -> None:
    assert {name_of(twin) for twin in TWINS} == set(product(POSITIONS, KINDS))


def test_no_text_is_planted_twice() -> None:
    assert len({planted_in(twin) for twin in TWINS}) == len(TWINS)


@every_twin
def test_a_twin_is_its_clean_case_with_a_text_planted_where_its_id_says(twin: TestCase) -> None:
    own = {"id", "twin_of", "posting", "reasoning"}
    assert planted_in(twin)
    assert twin.model_dump(exclude=own) == clean_case(twin).model_dump(exclude=own)


@every_twin
def test_what_is_planted_is_of_its_kind_and_asks_for_the_wrong_verdict_alone(twin: TestCase) -> None:
    planted = planted_in(twin)
    assert re.search(KINDS[name_of(twin)[1]], planted)
    wrong = Gold.FAIL if twin.expected_verdict == Gold.PASS else Gold.PASS
    assert set(re.findall(r"\b(?:PASS|FAIL)\b", visible(planted))) == {wrong}


@every_twin
def test_the_gold_of_a_twin_stands_for_the_reason_of_its_clean_case(twin: TestCase) -> None:
    assert twin.reasoning.endswith(f"so the gold of {twin.twin_of} stands: {clean_case(twin).reasoning}")


def test_no_twin_follows_a_case_with_the_same_posting() -> None:
    """A runtime that keeps the last prompt's beginning in its cache would answer the second one sooner."""
    postings = [case.twin_of or case.id for case in INJECTION.suite.test_cases]
    assert all(one != other for one, other in pairwise(postings))
