"""The readers `final_line`, `pattern` and `json`: their options, their reasons, and what holds for every reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.contracts import Contract, FinalLine, JsonVerdict, LeadingTag, Pattern
from bench_pipeline.domain.tasks.readers.text import visible
from bench_pipeline_tests.domain.tasks.judging import FAIL, PASS, judged, reason_of, verdict_of, widened

LAST = FinalLine()
JSON = JsonVerdict()
LABEL = Pattern(pattern=r"(?:(?!Verdict:).*\n)*Verdict: \[?(?P<verdict>[^.\n\[\]]+)\]?\.?")
ALL: list[Contract] = [LeadingTag(), LAST, JSON, LABEL]
every_contract = pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.reader)


# The reasons


@pytest.mark.parametrize(
    ("contract", "text", "reason"),
    [
        (LAST, "[PASS] Fine.", "the last line is not just PASS or FAIL"),
        (LAST, "```", "the last line is not just PASS or FAIL"),
        (LAST, "[FAIL] is for wrong pay.\n[PASS]", "contains different verdicts"),
        (LAST, "FAIL\nPASS", "contains different verdicts"),
        (LAST, "This is not\n[PASS]", "the line before the verdict negates it or makes it conditional"),
        (LABEL, "Fine.", "does not match the pattern"),
        (LABEL, "Verdict: BESTANDEN", "'BESTANDEN' is not a word of the contract"),
        (Pattern(pattern="(?P<verdict>PASS)?.*"), "fine", "'' is not a word of the contract"),
        (JSON, "[]", "is not a JSON object"),
        (JSON, "{}", "lacks verdict"),
        (JSON, '{"verdict": "PASS", "score": 9}', "contains 'score', which is not a field of the contract"),
        (JSON, '{"verdict": "N/A"}', "verdict is not PASS or FAIL"),
        (JSON, '{"verdict": "FAIL", "verdict": "PASS"}', "key 'verdict' occurs twice in one object"),
        (JsonVerdict(fields={"score": "number"}), '{"verdict": "PASS"}', "lacks score"),
        (
            JsonVerdict(fields={"score": "number"}),
            '{"verdict": "PASS", "score": "9"}',
            "score is not of the type number",
        ),
    ],
)
def test_the_reason_says_what_the_reply_lacks(contract: Contract, text: str, reason: str) -> None:
    assert reason_of(text, contract) == reason


# Options of `json`


@pytest.mark.parametrize(
    ("kind", "accepted", "refused"),
    [
        ("string", ["", "x"], [1, None, ["x"]]),
        ("number", [0, 1.5, -3], [True, "1", None]),
        ("integer", [0, -3], [1.5, 1.0, True, "1"]),
        ("boolean", [True, False], [0, "true", None]),
        ("strings", [[], ["a", "b"]], ["a", ["a", 1], {"a": "b"}]),
    ],
)
def test_a_declared_field_has_its_type(kind: str, accepted: list[object], refused: list[object]) -> None:
    contract = JsonVerdict.model_validate({"fields": {"more": kind}})
    assert {verdict_of(json.dumps({"verdict": "PASS", "more": value}), contract) for value in accepted} == {PASS}
    assert {verdict_of(json.dumps({"verdict": "PASS", "more": value}), contract) for value in refused} == {None}


def test_a_field_is_required_unless_it_is_optional() -> None:
    required = JsonVerdict(fields={"reason": "string"})
    optional = JsonVerdict(fields={"reason": "string"}, optional=("reason",))
    assert [verdict_of('{"verdict": "FAIL"}', contract) for contract in (required, optional)] == [None, FAIL]


def test_the_verdict_may_stand_in_a_field_of_another_name() -> None:
    contract = JsonVerdict(verdict_field="grade")
    assert verdict_of('{"grade": "FAIL"}', contract) == FAIL
    assert verdict_of('{"verdict": "FAIL"}', contract) is None


# Options of `pattern`

GERMAN = Pattern(pattern=r".*Urteil: (?P<verdict>.+)", words={PASS: ("bestanden",), FAIL: ("durchgefallen", "ÉCHEC")})


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Urteil: bestanden", PASS),
        ("Urteil: **Bestanden**", PASS),
        ("Urteil: DURCHGEFALLEN", FAIL),
        ("Urteil: ÉCHEC", FAIL),
        ("Urteil: E\u0301CHEC", FAIL),
        ("Urteil: nicht bestanden", None),
        ("Urteil: PASS", None),
    ],
)
def test_only_listed_words_are_verdicts_whatever_their_ascii_case(text: str, verdict: Gold | None) -> None:
    assert verdict_of(text, GERMAN) == verdict


@pytest.mark.parametrize(("dotall", "verdict"), [(False, None), (True, PASS)])
def test_a_dot_matches_line_breaks_only_when_the_contract_says_so(dotall: bool, verdict: Gold | None) -> None:
    contract = Pattern(pattern=".*Verdict: (?P<verdict>.+)", dotall=dotall)
    assert verdict_of("Fine.\nVerdict: PASS", contract) == verdict


# Contracts that cannot be kept


@pytest.mark.parametrize(
    ("contract", "says"),
    [
        ({"reader": "final_line", "last": 1}, "extra inputs"),
        ({"reader": "pattern"}, "field required"),
        ({"reader": "pattern", "pattern": "("}, "not a regular expression"),
        ({"reader": "pattern", "pattern": "a" * 1001}, "at most 1000"),
        ({"reader": "pattern", "pattern": "PASS|FAIL"}, "lacks the group"),
        ({"reader": "pattern", "pattern": "(?P<verdict>.)", "words": {"PASS": ["yes"]}}, "two classes"),
        ({"reader": "pattern", "pattern": "(?P<verdict>.)", "words": {"PASS": ["yes"], "FAIL": ["*"]}}, "empty"),
        (
            {"reader": "pattern", "pattern": "(?P<verdict>.)", "words": {"PASS": ["ok"], "FAIL": ["OK"]}},
            "for both pass and fail",
        ),
        ({"reader": "pattern", "pattern": "(?P<verdict>.)", "words": {"MAYBE": ["x"]}}, "two classes"),
        ({"reader": "json", "fields": {"verdict": "string"}}, "cannot be another field"),
        ({"reader": "json", "fields": {"score": "float"}}, "'number'"),
        ({"reader": "json", "optional": ["reason"]}, "not among the fields"),
    ],
)
def test_a_contract_that_could_not_be_kept_is_refused(contract: object, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Contract).validate_python(contract)
    assert says in str(refused.value).lower()


@pytest.mark.parametrize("contract", [*ALL, GERMAN], ids=str)
def test_a_stored_contract_is_read_back_as_it_was(contract: Contract) -> None:
    adapter: TypeAdapter[Contract] = TypeAdapter(Contract)
    assert adapter.validate_json(adapter.dump_json(contract)) == contract


# What holds for every reply

SNIPPETS = (
    "[PASS]", "[FAIL]", "［PASS］", "pass", "FAIL", "[", "]", "Verdict: ", '{"verdict": "PASS"}', '"', "{", "}", ",",
    "<think>", "</think>", "**", "`", "\n", "\n\n", " ", ".", "if", "not", "or", "\u200b", "İ", "ı", "А",
    "```json\n", "\n```",
)  # fmt: skip
texts = st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=4), max_size=10).map("".join)
golds = st.sampled_from(Gold)
prose = st.text(st.characters(codec="ascii", exclude_categories=["C"], exclude_characters="[]<>"), max_size=30)


@every_contract
@given(text=texts)
def test_no_text_without_the_word_of_a_verdict_yields_that_verdict(contract: Contract, text: str) -> None:
    verdict = verdict_of(text, contract)
    plain = "".join(c for c in visible(text) if c.isalpha())
    assert verdict is None or verdict.lower() in plain.lower()


@given(
    text=texts, last=st.sampled_from(["Fine.", "[N/A]", "PASSED", "PASS FAIL", "[PASS", "no PASS", "✅ PASS", "FAıL"])
)
def test_no_reply_whose_last_line_is_no_verdict_yields_one(text: str, last: str) -> None:
    assert verdict_of(f"{text}\n{last}", LAST) is None


@given(text=texts)
def test_no_text_that_is_not_one_json_object_yields_a_json_verdict(text: str) -> None:
    no_thinking = text.replace("<", "")
    assert verdict_of(f"Fine: {no_thinking}", JSON) is None
    assert verdict_of(f"{no_thinking} Fine.", JSON) is None


@given(word=st.sampled_from(["PASS", "FAIL", "Pass", "PASSED", "BYPASS", "PASS FAIL"]) | st.text("PASFILpasfil/ .!|1"))
def test_no_word_but_pass_and_fail_is_a_verdict_in_json(word: str) -> None:
    listed = word.strip().upper() in ("PASS", "FAIL")
    assert (verdict_of(json.dumps({"verdict": word}), JSON) is not None) == listed


@given(verdict=golds, reason=prose)
def test_a_final_line_decides_whatever_prose_stands_before_it(verdict: Gold, reason: str) -> None:
    assert verdict_of(f"Because: {reason}; so be it.\n\n[{verdict}]", LAST) == verdict


@pytest.mark.parametrize("contract", [LeadingTag(), LAST], ids=lambda contract: contract.reader)
@given(first=golds, before=texts, between=texts, after=texts)
def test_a_reply_that_holds_both_tags_never_yields_a_verdict(
    contract: Contract, first: Gold, before: str, between: str, after: str
) -> None:
    other = FAIL if first == PASS else PASS
    said = [part.replace("<", "").replace("＜", "") for part in (before, between, after)]
    assert verdict_of(f"{said[0]}[{first}]{said[1]}[{other}]{said[2]}", contract) is None


@every_contract
@given(text=texts, around=st.sampled_from([" ", "\n", "\n\n", "\t", " \r\n"]))
def test_white_space_around_a_reply_never_changes_a_verdict(contract: Contract, text: str, around: str) -> None:
    assert verdict_of(f"{around}{text}{around}", contract) == verdict_of(text, contract)


@pytest.mark.parametrize("contract", [LeadingTag(), LAST, LABEL], ids=lambda contract: contract.reader)
@given(text=texts, mark=st.sampled_from(["*", "**", "_", "***", "`", "> ", "# "]))
def test_emphasis_around_a_reply_never_changes_a_verdict(contract: Contract, text: str, mark: str) -> None:
    plain = text.strip().replace("<", "") if mark == "`" else text.strip()  # in backquotes, a thinking tag is quoted
    assert verdict_of(f"{mark}{plain}{mark.strip()}", contract) == verdict_of(plain, contract)


@given(text=texts, upper=st.lists(st.booleans(), min_size=50, max_size=50))
def test_upper_and_lower_case_never_change_the_verdict_of_a_final_line(text: str, upper: list[bool]) -> None:
    recased = "".join((c.upper() if upper[i % 50] else c.lower()) if c.isascii() else c for i, c in enumerate(text))
    assert verdict_of(recased, LAST) == verdict_of(text, LAST)


@pytest.mark.parametrize("contract", [LeadingTag(), LAST, LABEL], ids=lambda contract: contract.reader)
@given(text=texts)
def test_full_width_letters_never_change_a_verdict(contract: Contract, text: str) -> None:
    assert verdict_of(widened(text), contract) == verdict_of(text, contract)


@given(
    verdict=golds,
    upper=st.lists(st.booleans(), min_size=4, max_size=4),
    wide=st.booleans(),
    mark=st.sampled_from(["", "*", "**", "`", "_", " "]),
)
def test_case_width_and_emphasis_of_a_word_never_change_a_verdict(
    verdict: Gold, upper: list[bool], wide: bool, mark: str
) -> None:
    word = "".join(c.upper() if up else c.lower() for c, up in zip(verdict, upper, strict=True))
    shown = f"{mark}{widened(word) if wide else word}{mark}"
    assert verdict_of(json.dumps({"verdict": shown}), JSON) == verdict
    assert verdict_of(f"Verdict: {shown}", LABEL) == verdict
    assert verdict_of(f"Fine.\n{shown}", LAST) == verdict


@every_contract
@given(
    text=texts,
    marks=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("\u200b\u200e\u2066\ufeff\xad")), max_size=4),
)
def test_invisible_characters_never_change_a_verdict(
    contract: Contract, text: str, marks: list[tuple[int, str]]
) -> None:
    marked = text
    for position, mark in marks:
        marked = marked[:position] + mark + marked[position:]
    assert verdict_of(marked, contract) == verdict_of(text, contract)


@every_contract
@given(text=texts)
def test_a_text_and_its_normal_form_never_yield_two_different_verdicts(contract: Contract, text: str) -> None:
    found = {verdict_of(text, contract), verdict_of(visible(text), contract), verdict_of(widened(text), contract)}
    assert len(found - {None}) <= 1


@every_contract
@given(text=texts | st.text(st.characters(), max_size=40))
def test_judging_never_raises_and_a_reason_stands_with_every_outcome_but_correct(contract: Contract, text: str) -> None:
    judgement = judged(text, contract)
    assert (judgement.outcome == "invalid") == (judgement.verdict is None)
    assert (judgement.outcome == "correct") == (judgement.reason is None)


@pytest.mark.parametrize("contract", [LAST, JSON, LABEL], ids=lambda contract: contract.reader)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 90_000, id="brackets"),
        pytest.param("[ " * 45_000, id="brackets and spaces"),
        pytest.param("\n" * 90_000 + "x", id="line breaks"),
        pytest.param("not " * 24_000, id="negations"),
        pytest.param("<think>" * 7_000 + "</think>" * 5_000, id="thinking that ends again and again"),
        pytest.param('{"a":' * 15_000, id="objects in objects"),
        pytest.param("PASS\n" * 19_000 + "x", id="verdict upon verdict"),
    ],
)
def test_a_degenerate_reply_is_refused_at_once(contract: Contract, text: str) -> None:
    assert verdict_of(text, contract) is None
