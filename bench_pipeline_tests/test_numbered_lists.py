"""The lists of guarantees and of failure cases name their tests, and the tests name them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench_pipeline_tests.test_documents import DOCS, table_rows, text_of

TESTS = Path(__file__).parent
_LINK = re.compile(r"\]\(([^)#]+)\)")
_ROW_IN_DOCSTRING = re.compile(r"\bRows? (\d+)(?: (and|to) (\d+))?")
_ROW_IN_ID = re.compile(r'"(?:ollama-|openai-)?(\d{1,2}) [a-z]')


def listed(document: str) -> list[list[str]]:
    return table_rows(text_of(f"reference/{document}.md"))


def linked(cell: str) -> Path:
    """The file that a cell of a document in the reference links to."""
    (target,) = _LINK.findall(cell)
    return (DOCS / "reference" / target).resolve()


def rows_named_in(text: str) -> set[int]:
    """The failure cases that a test module names, in docstrings and in ids."""
    named = {int(row) for row in _ROW_IN_ID.findall(text)}
    for first, kind, last in _ROW_IN_DOCSTRING.findall(text):
        named |= set(range(int(first), int(last) + 1)) if kind == "to" else {int(row) for row in (first, last) if row}
    return named


def modules_of_failure_cases() -> list[Path]:
    return sorted({linked(test) for *_, test in listed("failure-cases")} - {DOCS / "reference" / "guarantees.md"})


def test_each_guarantee_is_listed_with_the_module_whose_tests_bear_its_number() -> None:
    modules = sorted((TESTS / "promotion" / "guarantees").glob("test_*.py"))
    tested = {
        (int(number), module)
        for module in modules
        for number in re.findall(r"^def test_g(\d+)_", module.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert [(int(number.removeprefix("G")), linked(test)) for number, _, test in listed("guarantees")] == sorted(tested)


def test_there_are_twenty_guarantees_and_thirty_failure_cases() -> None:
    assert [number for number, *_ in listed("guarantees")] == [f"G{number}" for number in range(1, 21)]
    assert [number for number, *_ in listed("failure-cases")] == [str(number) for number in range(1, 31)]


@pytest.mark.parametrize("module", modules_of_failure_cases(), ids=lambda path: path.stem)
def test_a_module_names_exactly_the_failure_cases_that_are_listed_with_it(module: Path) -> None:
    with_it = {int(number) for number, *_, test in listed("failure-cases") if linked(test) == module}
    assert rows_named_in(module.read_text(encoding="utf-8")) == with_it


def test_a_failure_case_without_a_module_of_its_own_is_covered_by_a_guarantee() -> None:
    guarantees = {number for number, *_ in listed("guarantees")}
    by_guarantee = {test for *_, test in listed("failure-cases") if "(guarantees.md)" in test}
    assert {test.partition("]")[0].strip("[") for test in by_guarantee} < guarantees
