"""The words and classes of a task: the same concept under every reader, and nothing new where none are stated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.tasks.readers.contracts import Contract, JsonFields, classes_of
from bench_pipeline.domain.tasks.suite import Suite
from bench_pipeline.domain.tasks.task import parse_task
from bench_pipeline.domain.tasks.verdict import contract_faults
from bench_pipeline_tests.domain.tasks.judging import FAIL, PASS, case_of, reason_of, verdict_of

READERS: Mapping[str, Mapping[str, Any]] = {
    "leading_tag": {},
    "final_line": {},
    "json": {},
    "pattern": {"pattern": r"Verdict: (?P<verdict>.+)"},
}
WRITTEN = {
    "leading_tag": "[{}] The reason.",
    "final_line": "The reason.\n{}",
    "json": '{{"verdict": "{}"}}',
    "pattern": "Verdict: {}",
}
KINDS = {"invoice": ["invoice", "bill of sale"], "receipt": ["receipt"], "other": ["other", "N/A"]}
every_reader = pytest.mark.parametrize("reader", READERS)


def contract_of(reader: str, labels: object = None) -> Contract:
    stated = {} if labels is None else {"labels": labels}
    adapter: TypeAdapter[Contract] = TypeAdapter(Contract)
    return adapter.validate_python({"reader": reader, **READERS[reader], **stated})


def said(reader: str, word: str, labels: object) -> str | None:
    return verdict_of(WRITTEN[reader].format(word), contract_of(reader, labels))


@every_reader
@pytest.mark.parametrize(
    ("labels", "passing", "failing"),
    [
        ({"pass": ["OK", "ACCEPT"], "fail": ["REJECT"]}, ["OK", "ok", "Accept", "[OK]"], ["REJECT", "reject"]),
        ({"PASS": ["JA"], "FAIL": ["NEIN"]}, ["JA", "Ja"], ["NEIN", "nein"]),
        ({"pass": [1], "fail": [0]}, ["1"], ["0"]),
        ({"pass": ["gut genug"], "fail": ["nicht gut genug"]}, ["gut genug", "Gut  genug"], ["NICHT GUT GENUG"]),
        ({"pass": ["通过"], "fail": ["不通过"]}, ["通过"], ["不通过"]),
        ({"fail": ["ÉCHEC"], "pass": ["RÉUSSI"]}, ["RÉUSSI"], ["ÉCHEC", "E\u0301CHEC"]),
    ],
)
def test_the_listed_words_are_the_verdicts_under_every_reader(
    reader: str, labels: object, passing: list[str], failing: list[str]
) -> None:
    bracketed = [word for word in passing if not (reader == "leading_tag" and word.startswith("["))]
    assert {said(reader, word, labels) for word in bracketed} == {PASS}
    assert {said(reader, word, labels) for word in failing} == {FAIL}
    assert {said(reader, word, labels) for word in ("PASS", "FAIL", "maybe")} == {None}


@every_reader
def test_a_task_may_have_more_than_two_classes(reader: str) -> None:
    words = {"invoice": "invoice", "Bill of Sale": "invoice", "RECEIPT": "receipt", "n/a": "other", "letter": None}
    assert {word: said(reader, word, KINDS) for word in words} == words


@pytest.mark.parametrize(
    "text",
    [
        "[invoice]/receipt",
        "[invoice] or [receipt]",
        "[invoice] is not the right class",
        "[invoice] It has a total. So the verdict is receipt.",
        "[invoice] Wait, it is paid already.",
        "[invoice] It is a receipt.",
        "[invoice]? No.",
        "✅ [invoice] ❌ [receipt]",
    ],
)
def test_a_tag_of_any_class_can_be_taken_back(text: str) -> None:
    assert verdict_of(text, contract_of("leading_tag", KINDS)) is None


@pytest.mark.parametrize(
    "text",
    [
        "[invoice] It asks for payment and has a number.",
        "[invoice] It is an invoice, not a receipt.",
        "[invoice] There is no receipt number.",
        "✅ [invoice]",
        "[bill of sale] Goods are listed; other papers are attached.",
    ],
)
def test_words_of_other_classes_may_occur_in_a_reason(text: str) -> None:
    assert verdict_of(text, contract_of("leading_tag", KINDS)) == "invoice"


@pytest.mark.parametrize(
    ("labels", "text", "verdict"),
    [
        ({"pass": ["YES"], "fail": ["NO"]}, "[YES] There are no errors.", PASS),
        ({"pass": ["YES"], "fail": ["NO"]}, "[YES] no errors", PASS),
        ({"pass": ["YES"], "fail": ["NO"]}, "[YES] No errors found.", PASS),
        ({"pass": ["YES"], "fail": ["NO"]}, "[YES] So the answer is no.", None),
        ({"pass": ["YES"], "fail": ["NO"]}, "[YES]/no", None),
        ({"pass": ["YES"], "fail": ["NO"]}, "[YES] … NO", None),
        ({"pass": [1], "fail": [0]}, "[1] 0 errors found.", PASS),
        ({"pass": [1], "fail": [0]}, "[1] Final verdict: 0", None),
        ({"pass": [1], "fail": [0]}, "[1] / 0", None),
        ({"pass": ["OK"], "fail": ["REJECT"]}, "[OK] The employer is wrong, so it fails.", None),
        ({"pass": ["OK"], "fail": ["REJECT"]}, "[OK] The employer is wrong, so it is rejected.", None),
        ({"pass": ["OK"], "fail": ["REJECT"]}, "[REJECT] The pay is not OK.", FAIL),
    ],
)
def test_ordinary_words_are_verdicts_where_they_say_one(labels: object, text: str, verdict: str | None) -> None:
    assert verdict_of(text, contract_of("leading_tag", labels)) == verdict


def test_the_reason_names_the_words_of_the_task() -> None:
    labels = {"pass": ["OK"], "fail": ["REJECT", "NO GOOD"]}
    assert reason_of("hm", contract_of("leading_tag", labels)) == "does not start with [OK], [REJECT] or [NO GOOD]"
    assert reason_of("hm", contract_of("final_line", labels)) == "the last line is not just OK, REJECT or NO GOOD"
    assert reason_of('{"verdict": "hm"}', contract_of("json", labels)) == "verdict is not OK, REJECT or NO GOOD"


def test_a_json_number_or_boolean_is_a_word_if_it_is_listed() -> None:
    numbers = contract_of("json", {"pass": [1], "fail": [0]})
    truths = contract_of("json", {"pass": ["true"], "fail": ["false"]})
    replies = [f'{{"verdict": {value}}}' for value in ("1", "0", "true", "false", "1.0", "null")]
    assert [verdict_of(reply, numbers) for reply in replies] == [PASS, FAIL, None, None, None, None]
    assert [verdict_of(reply, truths) for reply in replies] == [None, None, PASS, FAIL, None, None]


# What is refused


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({}, "at least two classes"),
        ({"pass": ["OK"]}, "at least two classes"),
        ({"pass": ["OK"], "fail": []}, "at least one word for fail"),
        ({"pass": ["OK"], "fail": ["**"]}, "no empty one"),
        ({"pass": ["OK"], "fail": ["[ok]"]}, "'ok' is listed for both pass and fail"),
        ({"pass": ["OK"], "PASS": ["yes"], "fail": ["x"]}, "a class is listed twice"),
        ({"pass": [True], "fail": [False]}, "in quotation marks"),
        ({"pass": [1.5], "fail": ["x"]}, "valid string"),
        ({"pass": "OK", "fail": ["x"]}, "valid tuple"),
        ({"<b>": ["OK"], "fail": ["x"]}, "pattern"),
        ({"x" * 61: ["OK"], "fail": ["x"]}, "at most 60"),
        (["OK", "x"], "valid dictionary"),
    ],
)
def test_labels_that_could_be_misread_are_refused_with_the_reason(labels: object, says: str) -> None:
    task = {
        "task": "kinds",
        "description": "x",
        "prompt": {"template": "{posting}"},
        "verdict": {"reader": "final_line", "labels": labels},
    }
    with pytest.raises(FileRefused) as refused:
        parse_task(json.dumps(task).encode(), "task.yaml")
    assert says in str(refused.value).lower()
    assert "verdict.final_line.labels" in str(refused.value)


def test_labels_are_not_for_readers_of_values() -> None:
    with pytest.raises(ValueError, match="labels"):
        JsonFields.model_validate({"fields": ["title"], "labels": KINDS})


# What stays as it was


@pytest.mark.parametrize(
    ("reader", "dumped"),
    [
        ("leading_tag", {"reader": "leading_tag"}),
        ("final_line", {"reader": "final_line"}),
        ("json", {"reader": "json", "verdict_field": "verdict", "fields": {}, "optional": []}),
        (
            "pattern",
            {
                "reader": "pattern",
                "pattern": r"Verdict: (?P<verdict>.+)",
                "dotall": False,
                "words": {"PASS": ["PASS"], "FAIL": ["FAIL"]},
            },
        ),
    ],
)
def test_a_contract_without_labels_is_stored_as_before_labels_existed(reader: str, dumped: dict[str, Any]) -> None:
    assert contract_of(reader).model_dump(mode="json") == dumped
    stated_defaults = contract_of(reader, {"pass": ["PASS"], "fail": ["FAIL"]})
    assert content_hash(stated_defaults.model_dump(mode="json")) == content_hash(dumped)


@every_reader
def test_stored_labels_are_read_back(reader: str) -> None:
    contract = contract_of(reader, KINDS)
    adapter: TypeAdapter[Contract] = TypeAdapter(Contract)
    assert adapter.validate_python(contract.model_dump(mode="json")) == contract
    assert set(classes_of(contract)) == set(KINDS)


def test_the_former_name_of_the_labels_of_a_pattern_is_accepted() -> None:
    value = {"reader": "pattern", "pattern": "(?P<verdict>.+)"}
    words = {"PASS": ["bestanden"], "FAIL": ["durchgefallen"]}
    adapter: TypeAdapter[Contract] = TypeAdapter(Contract)
    assert adapter.validate_python(value | {"words": words}) == adapter.validate_python(value | {"labels": words})


# The suite of a task with its own classes


def suite_of(*classes: str) -> Suite:
    cases = tuple(case_of(name).model_copy(update={"id": f"C{number}"}) for number, name in enumerate(classes))
    return Suite(task_type="kinds", version="1", created="2026", test_cases=cases)


def test_every_class_needs_two_cases() -> None:
    contract = contract_of("json", KINDS)
    assert contract_faults(contract, suite_of(*["invoice", "receipt", "other"] * 2), "suite.json") == []
    found = contract_faults(contract, suite_of("invoice", "invoice", "receipt"), "suite.json")
    assert [(fault.problem, fault.remedy) for fault in found] == [
        ("there is 1 case of receipt", "add cases of receipt until there are 2, or remove it from labels"),
        ("there are 0 cases of other", "add cases of other until there are 2, or remove it from labels"),
    ]


@pytest.mark.parametrize("reader", [*READERS, "json_fields"])
def test_a_case_of_a_class_that_the_task_does_not_have_is_named(reader: str) -> None:
    contract = JsonFields(fields=("title",)) if reader == "json_fields" else contract_of(reader)
    suite = suite_of("PASS", "FAIL", "MAYBE")
    (fault,) = [fault for fault in contract_faults(contract, suite, "s") if fault.field == "expected_verdict"]
    assert fault == Fault("s", "expected_verdict", "'MAYBE' is not a class of the task", "write PASS or FAIL", "C2")


def test_a_suite_of_two_classes_needs_one_case_of_each_as_before() -> None:
    assert contract_faults(contract_of("leading_tag"), suite_of("PASS", "FAIL"), "s") == []


def test_of_many_words_only_some_are_listed_in_a_reason() -> None:
    jobs = [f"Job {number}" for number in range(20)]
    contract = contract_of("final_line", {"first": jobs[:10], "second": jobs[10:]})
    assert (
        reason_of("I do not know.", contract) == "the last line is not just Job 0, Job 1, Job 2, … or Job 19 (20 words)"
    )


# What holds for all labels

words = st.text("abcdeXYZ01 é-", min_size=1, max_size=8).filter(lambda word: word.strip(" -") == word)


@every_reader
@given(labels=st.dictionaries(words, st.lists(words, min_size=1, max_size=3), min_size=2, max_size=4))
def test_a_word_says_its_class_and_no_other(reader: str, labels: dict[str, list[str]]) -> None:
    try:
        contract = contract_of(reader, labels)
    except ValueError:
        return  # ambiguous labels
    for name, spoken in labels.items():
        for word in spoken:
            assert verdict_of(WRITTEN[reader].format(word), contract) == name
