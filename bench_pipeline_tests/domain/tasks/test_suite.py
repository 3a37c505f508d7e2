"""Which suites may judge a model, and what a person is told about one that may not."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.strict_json import MAX_JSON_BYTES
from bench_pipeline.domain.tasks.suite import Suite, parse_suite
from bench_pipeline_tests.domain.tasks.suites import (
    BLANKS,
    FILE,
    PLACEHOLDERS,
    Change,
    case_of,
    changed,
    document,
    faults,
    faults_of,
    field,
    parsed,
)


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

UNBRACKETED = ("TBD", "tbd", "FIXME: ask Ann")
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
