"""Which suites may judge a model, and what a person is told about one that may not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.strict_json import MAX_JSON_BYTES
from bench_pipeline.domain.tasks.suite import OnlyDrafts, Suite, parse_suite

FILE = "testcases/grading/suite.json"
Change = Callable[[dict[str, Any]], object]


def case_of(number: int, verdict: str) -> dict[str, Any]:
    return {
        "id": f"{verdict}_{number}",
        "type": verdict,
        "difficulty": "easy",
        "posting_id": 5100 + number,
        "summary": f"Gardener in Derby, {number} hedges.",
        "expected_verdict": verdict,
        "expected_scores": {"accuracy": 10, "completeness": 9, "formatting": 8},
        "reasoning": "All facts agree.",
        "posting": f"Elmsway Park in Derby seeks a gardener for {number} hedges.",
    }


def document() -> dict[str, Any]:
    return {
        "task_type": "grading",
        "version": "1.0.0",
        "created": "2026-11-24",
        "test_cases": [case_of(1, "PASS"), case_of(2, "FAIL")],
    }


def changed(*changes: Change) -> dict[str, Any]:
    value = document()
    for change in changes:
        change(value)
    return value


def field(name: str, value: object, case: int = 0) -> Change:
    return lambda document: document["test_cases"][case].update({name: value})


def parsed(value: object) -> Suite:
    return parse_suite(json.dumps(value).encode(), FILE)


def faults_of(raw: bytes) -> tuple[Fault, ...]:
    with pytest.raises(FileRefused) as refused:
        parse_suite(raw, FILE)
    return refused.value.faults


def faults(*changes: Change) -> tuple[Fault, ...]:
    return faults_of(json.dumps(changed(*changes)).encode())


def test_a_sound_suite_is_read() -> None:
    suite = parsed(document())
    assert [case.id for case in suite.test_cases] == ["PASS_1", "FAIL_2"]


# One fault


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda d: d.update(test_cases=[]),
            Fault(FILE, "test_cases", "there are no cases", "add gold-labelled cases of both classes"),
            id="no cases",
        ),
        pytest.param(
            lambda d: d["test_cases"].pop(0),
            Fault(
                FILE,
                "expected_verdict",
                "every case is FAIL",
                "add cases that should PASS: a model that always says FAIL would qualify",
            ),
            id="only FAIL",
        ),
        pytest.param(
            lambda d: d["test_cases"].pop(1),
            Fault(
                FILE,
                "expected_verdict",
                "every case is PASS",
                "add cases that should FAIL: a model that always says PASS would qualify",
            ),
            id="only PASS",
        ),
        pytest.param(
            field("id", "PASS_1", case=1),
            Fault(FILE, "id", "occurs 2 times", "give every case its own id", "PASS_1"),
            id="duplicate id",
        ),
        pytest.param(
            field("type", "FAIL"),
            Fault(FILE, "expected_verdict", "PASS contradicts type FAIL", "make both the same", "PASS_1"),
            id="contradiction",
        ),
        pytest.param(
            lambda d: d["test_cases"][0].pop("summary"),
            Fault(FILE, "summary", "field required", "add 'summary'", "PASS_1"),
            id="missing field",
        ),
        pytest.param(
            field("verdict", "PASS"),
            Fault(
                FILE,
                "verdict",
                "extra inputs are not permitted",
                "remove 'verdict', or correct its spelling",
                "PASS_1",
            ),
            id="misspelt field",
        ),
        pytest.param(
            field("images", ["x.png"]),
            Fault(
                FILE,
                "images",
                "images are not supported, only text",
                "remove 'images', or correct its spelling",
                "PASS_1",
            ),
            id="images",
        ),
        pytest.param(
            lambda d: d.pop("version"),
            Fault(FILE, "version", "field required", "add 'version'"),
            id="missing field of the suite",
        ),
        pytest.param(
            lambda d: d["test_cases"][1].pop("id"),
            Fault(FILE, "id", "field required", "add 'id'", "number 2"),
            id="a case without id is named by its number",
        ),
    ],
)
def test_a_faulty_suite_is_refused_with_the_file_the_case_the_field_and_the_remedy(
    change: Change, expected: Fault
) -> None:
    assert faults(change) == (expected,)


@pytest.mark.parametrize("name", ["posting_id", "expected_output"])
def test_a_value_of_no_accepted_type_is_named_by_its_field_alone(name: str) -> None:
    assert {fault.field for fault in faults(field(name, 1.5 if name == "posting_id" else 5))} == {name}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(field("expected_verdict", "[PASS]"), "expected_verdict", id="verdict in brackets"),
        pytest.param(field("expected_verdict", "MAYBE"), "expected_verdict", id="third verdict"),
        pytest.param(field("id", "../../etc"), "id", id="id that is a path"),
        pytest.param(field("id", ""), "id", id="empty id"),
        pytest.param(field("summary", ""), "summary", id="empty summary"),
        pytest.param(field("summary", None), "summary", id="summary null"),
        pytest.param(
            field("expected_scores", {"accuracy": 11, "completeness": 1, "formatting": 1}),
            "expected_scores.accuracy",
            id="score above ten",
        ),
        pytest.param(
            field("expected_scores", {"accuracy": -1, "completeness": 1, "formatting": 1}),
            "expected_scores.accuracy",
            id="score below zero",
        ),
        pytest.param(
            field("expected_scores", {"accuracy": 1, "completeness": 1}),
            "expected_scores.formatting",
            id="score missing",
        ),
    ],
)
def test_a_value_outside_its_range_is_named(change: Change, named: str) -> None:
    assert [fault.field for fault in faults(change)] == [named]


# All faults at once


def test_every_content_fault_of_a_suite_is_listed_at_once() -> None:
    found = faults(
        field("id", "SAME"), field("id", "SAME", case=1), field("type", "FAIL"), field("reasoning", "TBD", case=1)
    )
    assert [(fault.case_id, fault.field) for fault in found] == [
        ("SAME", "id"),
        ("SAME", "expected_verdict"),
        ("SAME", "reasoning"),
    ]


def test_schema_faults_and_duplicate_ids_are_listed_at_once() -> None:
    found = faults(
        field("id", "SAME"),
        field("id", "SAME", case=1),
        field("summary", 5),
        lambda d: d["test_cases"][1].pop("reasoning"),
        lambda d: d.update(note="x"),
    )
    assert {(fault.case_id, fault.field) for fault in found} == {
        ("SAME", "summary"),
        ("SAME", "reasoning"),
        (None, "note"),
        ("SAME", "id"),
    }


def test_the_message_is_one_line_for_each_fault() -> None:
    with pytest.raises(FileRefused) as refused:
        parsed(changed(field("type", "FAIL"), field("reasoning", "...", case=1)))
    assert str(refused.value).splitlines() == [
        f"{FILE}: case PASS_1: expected_verdict: PASS contradicts type FAIL; make both the same",
        f"{FILE}: case FAIL_2: reasoning: is empty or a placeholder; write the real text",
    ]


# Placeholders

PLACEHOLDERS = ("[TBD]", "[TODO]", "[todo]", "[INSERT SUMMARY HERE]", "[placeholder 3]", "Lorem ipsum dolor")
UNBRACKETED = ("TBD", "tbd", "FIXME: ask Ann")
BLANKS = (" ", "\t\n", "...", "…", ". . .")
NO_PLACEHOLDERS = (
    "Gärtner [m/w/d]", "Gardener (m/f/d) [all genders]", "Call 030 [ext. 5]", "Wait... then apply.",
    "Todo lists are your strength", "A TBDX licence",
)  # fmt: skip


@pytest.mark.parametrize("text", PLACEHOLDERS + BLANKS)
@pytest.mark.parametrize("name", ["summary", "reasoning", "difficulty", "posting", "input", "expected_output"])
def test_a_placeholder_in_a_gold_text_is_refused(name: str, text: str) -> None:
    assert [(fault.case_id, fault.field) for fault in faults(field(name, text))] == [("PASS_1", name)]


@pytest.mark.parametrize("text", UNBRACKETED)
@pytest.mark.parametrize("name", ["summary", "reasoning", "difficulty", "expected_output"])
def test_a_bare_placeholder_in_a_label_is_refused(name: str, text: str) -> None:
    assert [(fault.case_id, fault.field) for fault in faults(field(name, text))] == [("PASS_1", name)]


@pytest.mark.parametrize("name", ["posting", "input"])
def test_a_source_may_say_that_its_salary_is_to_be_told(name: str) -> None:
    assert getattr(parsed(changed(field(name, "Salary TBD, start in May."))).test_cases[0], name)


@pytest.mark.parametrize("text", NO_PLACEHOLDERS)
@pytest.mark.parametrize("name", ["summary", "posting", "reasoning"])
def test_brackets_and_dots_that_people_write_in_earnest_are_accepted(name: str, text: str) -> None:
    assert getattr(parsed(changed(field(name, text))).test_cases[0], name) == text


def test_a_placeholder_deep_in_the_expected_output_is_named_with_its_path() -> None:
    output = {"employer": ["Elmsway Park", "[TBD]"], "place": {"town": "..."}}
    assert [fault.field for fault in faults(field("expected_output", output))] == [
        "expected_output.employer[1]",
        "expected_output.place.town",
    ]


@pytest.mark.parametrize("leftover", ["Title: [INSERT TITLE]\nEmployer: [TBD]", "Lorem ipsum"])
def test_the_summary_of_a_fail_case_may_hold_the_leftovers_of_a_template(leftover: str) -> None:
    assert parsed(changed(field("summary", leftover, case=1))).test_cases[1].summary == leftover


@pytest.mark.parametrize("blank", BLANKS)
def test_the_summary_of_a_fail_case_may_not_be_blank(blank: str) -> None:
    assert [(fault.case_id, fault.field) for fault in faults(field("summary", blank, case=1))] == [
        ("FAIL_2", "summary")
    ]


# Twins


def twin(**fields: object) -> Change:
    """Append a twin of PASS_1 with these fields changed."""
    return lambda d: d["test_cases"].append(case_of(1, "PASS") | {"id": "TWIN", "twin_of": "PASS_1"} | fields)


def test_a_twin_names_its_clean_case() -> None:
    assert [case.twin_of for case in parsed(changed(twin())).test_cases] == [None, None, "PASS_1"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            twin(twin_of="PASS_7"),
            Fault(FILE, "twin_of", "there is no case 'PASS_7'", "give the clean case's id", "TWIN"),
            id="of no case",
        ),
        pytest.param(
            twin(twin_of="TWIN"),
            Fault(FILE, "twin_of", "TWIN is a twin itself", "give the clean case's id", "TWIN"),
            id="of itself",
        ),
        pytest.param(
            lambda d: (twin()(d), twin(id="TWIN_2", twin_of="TWIN")(d)),
            Fault(FILE, "twin_of", "TWIN is a twin itself", "give the clean case's id", "TWIN_2"),
            id="of a twin",
        ),
        pytest.param(
            twin(type="FAIL", expected_verdict="FAIL"),
            Fault(
                FILE,
                "expected_verdict",
                "FAIL contradicts PASS of PASS_1",
                "give the twin the gold of its clean case",
                "TWIN",
            ),
            id="of another gold",
        ),
    ],
)
def test_a_twin_that_cannot_be_compared_is_refused(change: Change, expected: Fault) -> None:
    assert faults(change) == (expected,)


# What is no document at all


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"{", "not JSON", id="cut off"),
        pytest.param(b"\xff\xfe\x00", "not JSON", id="no UTF-8"),
        pytest.param(b"[]", "is not an object", id="list"),
        pytest.param(b"null", "is not an object", id="null"),
        pytest.param(b'{"version": NaN}', "NaN is not a JSON number", id="NaN"),
        pytest.param(b'{"version": -Infinity}', "-Infinity is not a JSON number", id="infinity"),
        pytest.param(b'{"version": 1e999}', "1e999 is out of range", id="number out of range"),
        pytest.param(b'{"test_cases": [], "test_cases": []}', "key 'test_cases' occurs twice", id="duplicate key"),
        pytest.param(b'{"test_cases": [{"id": "a", "id": "b"}]}', "key 'id' occurs twice", id="duplicate key inside"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="depth bomb"),
        pytest.param(b'{"a":' * 300 + b"1" + b"}" * 300, "nested too deeply", id="deeper than can be written back"),
        pytest.param(b" " * (MAX_JSON_BYTES + 1), "larger than 8388608 bytes", id="too large"),
    ],
)
def test_a_file_that_is_no_acceptable_json_is_refused_in_one_line(raw: bytes, problem: str) -> None:
    (fault,) = faults_of(raw)
    assert fault.field == "document"
    assert problem in fault.problem
    assert "\n" not in str(fault)


def test_a_repeated_label_inside_a_case_is_refused_and_not_overwritten() -> None:
    raw = json.dumps(document()).replace('"type": "PASS"', '"type": "FAIL", "type": "PASS"', 1)
    assert "key 'type' occurs twice" in faults_of(raw.encode())[0].problem


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(case_of(1, "PASS"))), value=json_values)
def test_whatever_a_field_holds_the_suite_is_read_or_refused_with_its_faults(name: str, value: object) -> None:
    try:
        hashes = {parsed(changed(field(name, value))).hash}
    except FileRefused as refused:
        hashes = set()
        found = [fault.field.partition(".")[0].partition("[")[0] for fault in refused.faults]
    else:
        found = []
    assert bool(hashes) != bool(found)
    assert set(found) <= {name, "expected_verdict", "id"}


@given(st.binary(max_size=60))
def test_whatever_the_bytes_the_file_is_refused_with_its_faults(raw: bytes) -> None:
    assert faults_of(raw)


# The hash


@given(indent=st.none() | st.integers(0, 6), order=st.randoms(use_true_random=False))
def test_white_space_and_the_order_of_keys_do_not_change_the_hash(indent: int | None, order: Random) -> None:
    def shuffled(value: object) -> object:
        if isinstance(value, dict):
            keys = list(value)
            order.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    raw = json.dumps(shuffled(document()), indent=indent).encode()
    assert parse_suite(raw, "elsewhere.json").hash == parsed(document()).hash


@pytest.mark.parametrize("changes", [(), (field("twin_of", None),)], ids=["absent", "null"])
def test_a_suite_without_twins_has_the_hash_of_its_fields_without_the_one_for_twins(
    changes: tuple[Change, ...],
) -> None:
    fields = parsed(document()).model_dump(mode="json", exclude={"created"})
    for case in fields["test_cases"]:
        assert case.pop("twin_of") is None
    assert parsed(changed(*changes)).hash == content_hash(fields)


def test_the_date_of_writing_does_not_change_the_hash() -> None:
    assert parsed(changed(lambda d: d.update(created="1999-01-01"))).hash == parsed(document()).hash


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d.update(version="1.0.1"), id="version"),
        pytest.param(lambda d: d.update(task_type="formatting"), id="task"),
        pytest.param(lambda d: d["test_cases"].reverse(), id="order of the cases"),
        pytest.param(lambda d: d["test_cases"].append(case_of(3, "PASS")), id="one case more"),
        pytest.param(lambda d: d["test_cases"][0].update(type="FAIL", expected_verdict="FAIL"), id="verdict"),
        pytest.param(field("id", "OTHER"), id="id"),
        pytest.param(field("difficulty", "hard"), id="difficulty"),
        pytest.param(field("posting_id", 7), id="posting id"),
        pytest.param(field("posting_id", "5101"), id="posting id as text"),
        pytest.param(field("summary", "Gardener in Derby, 1 hedge."), id="summary"),
        pytest.param(field("reasoning", "Most facts agree."), id="reasoning"),
        pytest.param(field("posting", "Another."), id="posting"),
        pytest.param(field("input", "An input."), id="input"),
        pytest.param(field("expected_output", {"title": None}), id="expected output"),
        pytest.param(field("expected_scores", {"accuracy": 9, "completeness": 9, "formatting": 8}), id="score"),
        pytest.param(field("provenance", {"source": "run 7", "checked_by": "Ann"}), id="provenance"),
        pytest.param(field("twin_of", "FAIL_2"), id="twin"),
    ],
)
def test_the_hash_changes_with_every_label(change: Change) -> None:
    assert Suite.model_validate(changed(change)).hash != Suite.model_validate(document()).hash


# Postings from the database


def without_postings() -> Suite:
    return parsed(changed(lambda d: [case.pop("posting") for case in d["test_cases"]]))


def test_missing_postings_are_taken_from_the_database_by_their_id_as_text() -> None:
    suite = without_postings().with_postings({"5101": "the posting", "9": "of nobody"})
    assert [case.posting for case in suite.test_cases] == ["the posting", None]


def test_a_posting_of_the_suite_is_never_replaced() -> None:
    suite = parsed(document())
    assert suite.with_postings({"5101": "another"}) == suite


def test_postings_from_the_database_change_the_hash_even_when_it_was_asked_before() -> None:
    suite = without_postings()
    before = suite.hash
    assert suite.with_postings({"5101": "the posting"}).hash != before


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
