"""Drafts are kept apart from the cases that are measured, and the keys of an input are fields of the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench_pipeline.domain.tasks.suite import OnlyDrafts, parse_suite
from bench_pipeline_tests.domain.tasks.suites import (
    BLANKS,
    FILE,
    PLACEHOLDERS,
    Change,
    case_of,
    changed,
    document,
    faults,
    field,
    parsed,
)

# Drafts


def draft(**fields: object) -> Change:
    """Append a draft with these fields."""
    return lambda d: d["test_cases"].append({"id": "DRAFT_001", "draft": True} | fields)


def test_a_draft_is_kept_apart_from_the_cases_that_are_measured() -> None:
    suite = parsed(changed(draft(summary="A gardener.", observed_output="[PASS] All agree.")))
    assert [case.id for case in suite.test_cases] == ["PASS_1", "FAIL_2"]
    assert [(case.id, case.observed_output) for case in suite.drafts] == [("DRAFT_001", "[PASS] All agree.")]


def test_the_hash_and_the_stored_form_of_a_suite_do_not_depend_on_its_drafts() -> None:
    mixed, checked = parsed(changed(draft())), parsed(document())
    assert mixed.hash == checked.hash
    assert mixed.model_dump(mode="json") == checked.model_dump(mode="json")


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        (
            {},
            ("type", "difficulty", "posting_id", "summary", "expected_verdict", "expected_scores", "reasoning"),
        ),
        ({"type": None, "summary": "", "expected_scores": {}}, None),
        (
            {"type": "PASS", "expected_verdict": "PASS", "posting_id": 0, "summary": "A gardener."},
            ("difficulty", "expected_scores", "reasoning"),
        ),
        ({key: value for key, value in case_of(3, "PASS").items() if key != "id"}, ()),
    ],
    ids=["nothing", "null or empty", "a part", "everything"],
)
def test_a_draft_tells_which_fields_it_still_needs(fields: dict[str, Any], needed: tuple[str, ...] | None) -> None:
    all_of_them = parsed(changed(draft())).drafts[0].needs
    assert parsed(changed(draft(**fields))).drafts[0].needs == (all_of_them if needed is None else needed)


@pytest.mark.parametrize(
    ("count", "found"), [(1, "the only case is a draft"), (12, "all 12 cases are drafts")], ids=["one", "twelve"]
)
def test_a_suite_of_drafts_alone_is_refused_in_one_line_that_says_what_to_do(count: int, found: str) -> None:
    cases = [{"id": f"DRAFT_{number:03}", "draft": True} for number in range(count)]
    with pytest.raises(OnlyDrafts) as refused:
        parsed(document() | {"test_cases": cases})
    assert str(refused.value) == (
        f"{FILE}: test_cases: {found}; "
        'set expected_verdict and the other fields of each, then remove "draft" and "observed_output"'
    )
    assert [case.id for case in refused.value.drafts] == [case["id"] for case in cases]


def test_draft_false_equals_leaving_it_out() -> None:
    suite = parsed(changed(field("draft", False)))
    assert suite.test_cases == parsed(document()).test_cases
    assert suite.hash == parsed(document()).hash


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(field("draft", "yes"), ("PASS_1", "draft"), id="draft is not a boolean"),
        pytest.param(field("draft", None), ("PASS_1", "draft"), id="draft is null"),
        pytest.param(
            field("observed_output", "[PASS]"), ("PASS_1", "observed_output"), id="a checked case with an observation"
        ),
        pytest.param(draft(summery="x"), ("DRAFT_001", "summery"), id="a misspelt field of a draft"),
        pytest.param(draft(summary=5), ("DRAFT_001", "summary"), id="a field of a draft of the wrong type"),
        pytest.param(draft(id="PASS_1"), ("PASS_1", "id"), id="the id of a checked case"),
        pytest.param(lambda d: d.update(drafts=[]), (None, "drafts"), id="drafts outside the cases"),
    ],
)
def test_a_fault_of_a_draft_is_named_as_that_of_a_case(change: Change, named: tuple[str | None, str]) -> None:
    assert [(fault.case_id, fault.field) for fault in faults(change)] == [named]


def test_a_draft_alone_does_not_supply_the_missing_class() -> None:
    found = faults(lambda d: d["test_cases"].pop(1), draft(expected_verdict="FAIL", type="FAIL"))
    assert [fault.problem for fault in found] == ["every case is PASS"]


# Fields of the input


def test_an_input_of_named_texts_gives_the_prompt_a_field_for_each() -> None:
    (case, _) = parsed(changed(field("input", {"objection": "No pay.", "tone": "calm"}))).test_cases
    assert case.prompt_fields == {
        "posting": case.posting,
        "summary": case.summary,
        "posting_id": "5101",
        "objection": "No pay.",
        "tone": "calm",
    }


def test_an_input_of_one_text_is_the_field_input() -> None:
    assert parsed(changed(field("input", "No pay."))).test_cases[0].prompt_fields["input"] == "No pay."


@pytest.mark.parametrize("name", ["posting", "summary", "posting_id", "input"])
def test_a_field_of_the_input_may_not_hide_one_that_every_case_has(name: str) -> None:
    (fault,) = faults(field("input", {name: "text"}))
    assert fault.field == "input"
    assert f"the name {name!r} is taken" in fault.problem


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "a.b", "{x}", "é", "a\n"])
def test_the_name_of_a_field_of_the_input_is_a_plain_word(name: str) -> None:
    (fault,) = faults(field("input", {name: "text"}))
    assert fault.field == "input"
    assert "must consist of letters" in fault.problem


@pytest.mark.parametrize("value", [None, 5, ["a"], {"deep": "er"}], ids=str)
def test_a_field_of_the_input_is_a_text(value: object) -> None:
    (fault,) = faults(field("input", {"objection": value}))
    assert fault.problem == "value error, the value of 'objection' must be a text"


@pytest.mark.parametrize("text", PLACEHOLDERS + BLANKS)
def test_a_placeholder_in_a_field_of_the_input_is_named_with_its_path(text: str) -> None:
    found = faults(field("input", {"tone": "calm", "objection": text}))
    assert [(fault.case_id, fault.field) for fault in found] == [("PASS_1", "input.objection")]


def test_a_field_of_the_input_may_say_that_a_salary_is_to_be_told() -> None:
    assert parsed(changed(field("input", {"objection": "Salary TBD."}))).test_cases[0].input_fields


def test_the_fields_of_the_input_count_for_the_hash() -> None:
    hashes = {
        parsed(changed(field("input", value))).hash
        for value in (None, "calm", {"tone": "calm"}, {"tone": "hot"}, {"mood": "calm"})
    }
    assert len(hashes) == 5


SHIPPED = {
    "extraction": "6bee3f4e7d75c66feea73c2740eed698f48c4fab185c98bc01a8871a3b7ef1ee",
    "formatting": "ebd781817d732ce91d31716fc1f0cf7b9423188484def28fb976d74d27ac714d",
    "grading": "04ae14380ea27c74d8dcf9367b3440f6c92d3d5dda6f9179b7e60ca9c6fc709c",
    "grading_injection": "54213e8a92762f2a4257a4990afa79945fa2def1476043db0370c733cc8685f5",
}
"""The hashes under which results of the shipped suites have been stored."""


@pytest.mark.parametrize("task", SHIPPED)
def test_the_hashes_of_the_shipped_suites_are_those_of_stored_results(task: str) -> None:
    file = Path(__file__).parents[3] / "testcases" / task / "suite.json"
    assert parse_suite(file.read_bytes(), str(file)).hash == SHIPPED[task]
