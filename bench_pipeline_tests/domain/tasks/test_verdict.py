"""How a reply becomes a verdict: the hazards of reading one, and what each reader makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import Contract, JsonFields, LineRule, Template
from bench_pipeline.domain.tasks.readers.text import MAX_REPLY_CHARS, comparable
from bench_pipeline.domain.tasks.suite import Suite
from bench_pipeline.domain.tasks.verdict import Judgement, contract_faults
from bench_pipeline_tests.domain.tasks.judging import FAIL, PASS, TAG, case_of, judged, verdict_of, widened

FIELDS = JsonFields(fields=("title", "employer"))
LETTER = Template(
    lines=(
        LineRule(pattern="Title: (?P<title>.+)"),
        LineRule(pattern="Pay: (?P<pay>.+)", min=0),
        LineRule(pattern="- .+", min=2, max=3),
    ),
    max_words=20,
)


# The comparison


@pytest.mark.parametrize(
    ("gold", "text", "outcome", "verdict"),
    [
        (PASS, "[PASS] Fine.", Outcome.CORRECT, PASS),
        (FAIL, "[FAIL] Pay is wrong.", Outcome.CORRECT, FAIL),
        (PASS, "[FAIL] Pay is wrong.", Outcome.WRONG, FAIL),
        (FAIL, "[PASS] Fine.", Outcome.WRONG, PASS),
        (PASS, "Fine.", Outcome.INVALID, None),
        (FAIL, "Fine.", Outcome.INVALID, None),
    ],
)
def test_a_verdict_is_correct_when_it_is_the_gold_wrong_when_not_and_invalid_when_none_is_read(
    gold: Gold, text: str, outcome: Outcome, verdict: Gold | None
) -> None:
    judgement = judged(text, case=case_of(gold))
    assert (judgement.outcome, judgement.verdict) == (outcome, verdict)


def test_a_wrong_verdict_says_what_was_said_and_what_is_gold() -> None:
    assert judged("[FAIL] no").reason == "said FAIL, gold is PASS"


# The tag at the beginning


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        pytest.param("[PASS]", PASS, id="tag alone"),
        pytest.param("[FAIL]", FAIL, id="other tag alone"),
        pytest.param("  \n[PASS] Fine.", PASS, id="white space before it"),
        pytest.param("**[PASS]** Fine.", PASS, id="bold"),
        pytest.param("[**PASS**] Fine.", PASS, id="bold inside the brackets"),
        pytest.param("_[FAIL]_ no", FAIL, id="italic"),
        pytest.param("`[FAIL]` no", FAIL, id="code"),
        pytest.param("```\n[FAIL]\n```", FAIL, id="code block"),
        pytest.param("# [PASS]\n\nFine.", PASS, id="heading"),
        pytest.param("> [PASS] Fine.", PASS, id="quotation"),
        pytest.param("[pass] fine", PASS, id="small letters"),
        pytest.param("[Fail] no", FAIL, id="mixed case"),
        pytest.param("[ PASS ] fine", PASS, id="spaces inside"),
        pytest.param("［PASS］ fine", PASS, id="full width"),
        pytest.param("［ＦＡＩＬ］", FAIL, id="full width letters"),
        pytest.param("\u200b[PA\u200bSS] fine", PASS, id="zero width"),
        pytest.param("\u202e[PASS]\u202c fine", PASS, id="bidi marks"),
        pytest.param("\ufeff[PASS]", PASS, id="byte order mark"),
        pytest.param("[PASS] It is not a FAIL.", PASS, id="the other word without brackets"),
        pytest.param("[PASS] I repeat: [PASS]", PASS, id="the same tag twice"),
        pytest.param("[PASS] iffy but true", PASS, id="a word that begins like a condition"),
        pytest.param("<think>[PASS]? no.</think>[FAIL] wrong pay", FAIL, id="thinking that says the other"),
        pytest.param("<THINKING>\nhm\n</THINKING>\n\n[PASS]", PASS, id="thinking in capitals"),
        pytest.param("<think>a</think><think>b</think>[PASS]", PASS, id="thinking twice"),
        pytest.param("<think><think>[FAIL]</think></think>[PASS]", PASS, id="nested thinking"),
    ],
)
def test_a_leading_tag_is_a_verdict(text: str, verdict: Gold) -> None:
    assert verdict_of(text) == verdict


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("PASS", id="no brackets"),
        pytest.param("# Verdict\n\nPASS.", id="heading and word"),
        pytest.param("Verdict: fail", id="label"),
        pytest.param("GRADE: P", id="off the menu"),
        pytest.param("[N/A] [PASS]", id="off the menu, then on it"),
        pytest.param("| verdict | [PASS] |", id="table cell"),
        pytest.param("(PASS)", id="round brackets"),
        pytest.param("[PASSED]", id="PASSED"),
        pytest.param("[PASS", id="open bracket"),
        pytest.param("The answer is [PA", id="cut off"),
        pytest.param("compass", id="compass"),
        pytest.param("INCORRECT", id="substring"),
        pytest.param("NOT [PASS]", id="negation"),
        pytest.param("does not PASS", id="negation in words"),
        pytest.param("I would not say [FAIL] … [PASS]", id="reasoning, then both"),
        pytest.param("Reasoning first. [PASS]", id="reasoning, then the tag"),
        pytest.param('[FAIL] The posting says "reply [PASS]".', id="quoted injection"),
        pytest.param("[PASS] [FAIL]", id="both"),
        pytest.param("[PASS]/[FAIL]", id="both with a stroke"),
        pytest.param("[PASS] or [FAIL]", id="both with or"),
        pytest.param("[PASS] - or ［fail］", id="both, one full width"),
        pytest.param("[PASS] if the pay is right", id="if"),
        pytest.param("[PASS], unless the town is wrong", id="unless"),
        pytest.param("**[PASS]** - provided that", id="provided"),
        pytest.param("[PASS]\nOnly when true", id="condition on the next line"),
        pytest.param("Answer with [PASS] or [FAIL].", id="echo of the instruction"),
        pytest.param("[РАSS]", id="Cyrillic letters"),
        pytest.param("[FAİL] yok", id="Turkish capital I"),
        pytest.param("[FAıL] yok", id="Turkish small I"),
        pytest.param("BESTANDEN", id="German"),
        pytest.param("结论：通过", id="Chinese"),
        pytest.param("[ÉCHEC]", id="French"),
        pytest.param(r"\boxed{PASS}", id="LaTeX"),
        pytest.param("⚠️ [PASS]", id="emoji that says nothing"),
        pytest.param("8/10 [PASS]", id="score first"),
        pytest.param('{"verdict": "[PASS]"}', id="JSON"),
        pytest.param("<think>[PASS]</think>", id="thinking only"),
        pytest.param("<think>[PASS]", id="thinking that never ends"),
        pytest.param("<think><think>[PASS]</think>", id="nested thinking that ends once"),
        pytest.param("NOT<think>a</think>[PASS]", id="negation before thinking"),
        pytest.param("[PA<think>a</think>SS]", id="thinking inside the tag"),
        pytest.param("[PASS] (if the pay is right)", id="a condition in brackets"),
        pytest.param("[PASS] – unless the town is wrong", id="a condition after a dash"),
        pytest.param("[PASS] <think>hm", id="thinking that begins afterwards"),
    ],
)
def test_a_text_that_is_not_clearly_a_verdict_is_none(text: str) -> None:
    judgement = judged(text)
    assert (judgement.outcome, judgement.verdict) == (Outcome.INVALID, None)
    assert judgement.reason


# What is no finished reply


@pytest.mark.parametrize("contract", [TAG, FIELDS, LETTER], ids=lambda contract: contract.reader)
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param({"complete": False}, "incomplete", id="never said to be finished"),
        pytest.param({"done_reason": "length"}, "cut off", id="cut off"),
        pytest.param({"done_reason": "load"}, "ended the reply with 'load'", id="ended for another reason"),
        pytest.param({"done_reason": ""}, "ended the reply with ''", id="ended for no reason"),
        pytest.param({"text": ""}, "empty reply", id="empty"),
        pytest.param({"text": " \n\u200b"}, "empty reply", id="blank"),
        pytest.param({"text": "", "thinking": "[PASS]"}, "only thinking", id="only thinking"),
        pytest.param({"text": "<think>[PASS]</think>"}, "only thinking", id="only thinking in the text"),
        pytest.param({"text": "[PASS] " + "x" * MAX_REPLY_CHARS}, "longer than", id="endless"),
    ],
)
def test_a_reply_that_is_not_finished_is_invalid_whatever_it_says(
    contract: Contract, reply: dict[str, Any], reason: str
) -> None:
    judgement = judged(**({"text": "[PASS] Fine."} | reply), contract=contract)
    assert (judgement.outcome, judgement.verdict) == (Outcome.INVALID, None)
    assert judgement.reason is not None
    assert reason in judgement.reason


@pytest.mark.parametrize(
    ("reply", "thought"),
    [
        pytest.param({"text": "", "thinking": "hm"}, True, id="in a field of its own"),
        pytest.param({"text": " \n", "thinking": "hm"}, True, id="beside blanks"),
        pytest.param({"text": "<think>hm, the employer"}, True, id="in the text, not closed"),
        pytest.param({"text": "<think>hm</think>\n"}, True, id="in the text, closed with the last token"),
        pytest.param({"text": "<|channel|>analysis<|message|>hm"}, True, id="in another form"),
        pytest.param({"text": "<think>hm</think>[PA"}, False, id="the answer has begun"),
        pytest.param({"text": "[PASS] fi", "thinking": "hm"}, False, id="the answer has begun, beside thinking"),
        pytest.param({"text": ""}, False, id="nothing at all"),
    ],
)
def test_a_reply_that_is_cut_off_says_whether_thinking_took_its_tokens(reply: dict[str, Any], thought: bool) -> None:
    """ollama/ollama #16184, promptfoo/promptfoo #10954, lmstudio-ai/lmstudio-bug-tracker #1990."""
    reason = judged(**reply, done_reason="length").reason
    assert reason == (
        "cut off while thinking: no token was left for the answer; raise decoding.num_predict, or set decoding.think "
        "to off"
        if thought
        else "cut off: the reply reached num_predict or the end of the context"
    )


# Properties of the leading tag

SNIPPETS = (
    "[PASS]", "[FAIL]", "［PASS］", "[pass]", "PASS", "[", "]", "<think>", "</think>", "**", "`", "\n", " ", "if", "or",
    "\u200b", "İ",
)  # fmt: skip
texts = st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=4), max_size=10).map("".join)
explanations = st.text(st.characters(exclude_characters="[］［]<>＜＞", exclude_categories=["M", "C"]), max_size=30)
golds = st.sampled_from(Gold)


@given(first=st.sampled_from('xPA1.(:"ß⚠'), rest=texts)
def test_no_text_without_a_leading_tag_yields_a_verdict(first: str, rest: str) -> None:
    assert verdict_of(first + explained(rest)) is None


@given(verdict=golds, explanation=explanations)
def test_a_leading_tag_decides_whatever_explanation_follows(verdict: Gold, explanation: str) -> None:
    assert verdict_of(f"[{verdict}] Because: {explanation}") == verdict


@given(verdict=golds, before=texts, after=texts)
def test_two_different_tags_never_yield_a_verdict(verdict: Gold, before: str, after: str) -> None:
    other = FAIL if verdict == PASS else PASS
    assert verdict_of(f"[{verdict}] {explained(before)} [{other}] {explained(after)}") is None


def explained(text: str) -> str:
    return text.replace("<", "").replace("＜", "")


@given(text=texts, mark=st.sampled_from(["*", "**", "_", "***", "`", "> ", "# "]))
def test_wrapping_in_emphasis_never_changes_a_verdict(text: str, mark: str) -> None:
    plain = explained(text.strip()) if mark == "`" else text.strip()  # in backquotes, a thinking tag is quoted
    assert verdict_of(f"{mark}{plain}{mark.strip()}") == verdict_of(plain)


@given(text=texts)
def test_full_width_letters_never_change_a_verdict(text: str) -> None:
    assert verdict_of(widened(text)) == verdict_of(text)


@given(verdict=golds, text=texts, upper=st.lists(st.booleans(), min_size=4, max_size=4))
def test_upper_and_lower_case_of_a_tag_never_change_a_verdict(verdict: Gold, text: str, upper: list[bool]) -> None:
    recased = "".join(c.upper() if up else c.lower() for c, up in zip(verdict, upper, strict=True))
    assert verdict_of(f"[{recased}] {text}") == verdict_of(f"[{verdict}] {text}")


@given(
    text=texts,
    marks=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("\u200b\u200e\u2066\ufeff\xad")), max_size=4),
)
def test_invisible_characters_never_change_a_verdict(text: str, marks: list[tuple[int, str]]) -> None:
    marked = text
    for position, mark in marks:
        marked = marked[:position] + mark + marked[position:]
    assert verdict_of(marked) == verdict_of(text)


# No text is too much for a reader


@pytest.mark.parametrize("contract", [TAG, FIELDS, LETTER], ids=lambda contract: contract.reader)
@given(text=texts | st.text(st.characters(), max_size=40))
def test_judging_never_raises_and_always_gives_one_of_three_outcomes(contract: Contract, text: str) -> None:
    judgement = judged(text, contract, case_of(PASS, {"title": "Gardener", "employer": None, "pay": "5"}))
    assert judgement.outcome is not Outcome.ERROR
    assert (judgement.outcome is Outcome.INVALID) == (judgement.verdict is None)
    assert (judgement.outcome is Outcome.CORRECT) == (judgement.reason is None)


@pytest.mark.parametrize("contract", [TAG, FIELDS, LETTER], ids=lambda contract: contract.reader)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("```json" + "\n" * 50_000 + "x", id="a fence that never ends"),
        pytest.param("<think>" * 14_000, id="thinking that begins again and again"),
        pytest.param("<think>" * 7_000 + "</think>" * 5_000, id="thinking that ends again and again"),
        pytest.param("[" * 90_000, id="brackets"),
        pytest.param("[ " * 45_000, id="brackets and spaces"),
        pytest.param("*" * 90_000, id="asterisks"),
        pytest.param("\ud800" * 1000, id="lone surrogates"),
        pytest.param("\x00" * 1000, id="NUL"),
        pytest.param("ﷺ" * 50_000, id="letters that grow when normalised"),
        pytest.param("{" + ",".join(f'"{i}":1' for i in range(9000)) + ',"8999":1}', id="nine thousand keys"),
        pytest.param("1" * 90_000, id="a number of many digits"),
    ],
)
def test_a_degenerate_reply_is_invalid(contract: Contract, text: str) -> None:
    assert judged(text, contract).outcome is Outcome.INVALID


# One JSON object with stated fields

GOLD = {"title": ["Gardener", "Landscape Gardener"], "employer": "Elmsway Park"}


def json_judged(text: str, gold: object = GOLD, verdict: Gold = PASS) -> Judgement:
    return judged(text, FIELDS, case_of(verdict, gold))


def reply_of(**values: object) -> str:
    return json.dumps({"title": "Gardener", "employer": "Elmsway Park"} | values)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(reply_of(), id="as written"),
        pytest.param(reply_of(title="Landscape Gardener"), id="another accepted value"),
        pytest.param(reply_of(title="  GARDENER. "), id="case, white space, full stop"),
        pytest.param(reply_of(employer='"Elmsway  Park"'), id="quotes and a double space"),
        pytest.param(reply_of(employer="Ｅｌｍｓｗａｙ Park"), id="full width"),
        pytest.param(reply_of(employer="Elmsway\u200b Park"), id="zero width"),
        pytest.param(f"```json\n{reply_of()}\n```", id="fenced"),
        pytest.param(f"```JSON\n\n{reply_of()}\n\n```", id="fenced with empty lines"),
        pytest.param(f"```\n{reply_of()}```", id="fence without a language"),
        pytest.param(f"<think>hm</think>{reply_of()}", id="thinking before it"),
        pytest.param('{"employer": "Elmsway Park", "title": "Gardener"}', id="another order"),
    ],
)
def test_an_object_that_equals_the_gold_is_correct(text: str) -> None:
    assert json_judged(text) == Judgement(Outcome.CORRECT, PASS)


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        (reply_of(title="Driver"), PASS, "title differs from the gold"),
        (reply_of(title="Driver", employer="X"), PASS, "title differs from the gold; employer differs from the gold"),
        (reply_of(title="Gardener (m/f)"), PASS, "title differs from the gold"),
        (reply_of(title=""), PASS, "title differs from the gold"),
        (reply_of(title="null"), PASS, "title differs from the gold"),
        (reply_of(title=None), FAIL, "said FAIL, gold is PASS; title differs from the gold"),
    ],
)
def test_an_object_that_differs_from_the_gold_is_wrong(text: str, verdict: Gold, reason: str) -> None:
    assert json_judged(text) == Judgement(Outcome.WRONG, verdict, reason)


def test_null_is_correct_only_where_the_gold_is_null() -> None:
    gold = {"title": ["Gardener"], "employer": None}
    assert json_judged(reply_of(employer=None), gold, FAIL) == Judgement(Outcome.CORRECT, FAIL)
    assert json_judged(reply_of(title=None), gold, FAIL).outcome is Outcome.WRONG


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Sure! " + reply_of(), id="words before it"),
        pytest.param(reply_of() + " Done.", id="words after it"),
        pytest.param(reply_of()[:-1], id="cut off"),
        pytest.param(reply_of() + reply_of(), id="two objects"),
        pytest.param(f"[{reply_of()}]", id="list"),
        pytest.param(reply_of(extra="x"), id="one field more"),
        pytest.param('{"title": "Gardener"}', id="one field less"),
        pytest.param('{"Title": "Gardener", "employer": "Elmsway Park"}', id="key in capitals"),
        pytest.param(reply_of(title=["Gardener"]), id="list as a value"),
        pytest.param(reply_of(title=5), id="number as a value"),
        pytest.param(reply_of(title={"a": "Gardener"}), id="object as a value"),
        pytest.param('{"title": "X", "title": "Gardener", "employer": "Elmsway Park"}', id="a field twice"),
        pytest.param('{"title": NaN, "employer": "Elmsway Park"}', id="NaN"),
        pytest.param(f"```yaml\n{reply_of()}\n```", id="fence of another language"),
        pytest.param(f"```json\n{reply_of()}", id="fence that never ends"),
        pytest.param('{"title": "Gardener＂,＂employer＂:＂Elmsway Park"}', id="full-width quotation marks in a value"),
        pytest.param("null", id="null"),
        pytest.param("[PASS]", id="tag"),
    ],
)
def test_what_is_not_exactly_one_object_with_the_fields_is_invalid(text: str) -> None:
    assert json_judged(text).outcome is Outcome.INVALID


# A template of lines

LETTER_GOLD = {"title": ["Gardener"], "pay": ["£5 an hour", "£5/hour"]}
DUTIES = "\n- cut hedges\n- mow lawns"


def letter_judged(text: str, gold: object = LETTER_GOLD, verdict: Gold = PASS) -> Judgement:
    return judged(text, LETTER, case_of(verdict, gold))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"Title: Gardener\nPay: £5 an hour{DUTIES}", id="as written"),
        pytest.param(f"Title: gardener.\nPay: £5/hour{DUTIES}\n- water roses", id="accepted variants, three duties"),
        pytest.param(f"\n  Title: Gardener  \n\n\nPay: £5 an hour\n{DUTIES}\n", id="empty lines and margins"),
        pytest.param(f"Title: Gardener\r\nPay: £5 an hour{DUTIES}".replace("\n-", "\r\n-"), id="Windows line breaks"),
    ],
)
def test_lines_that_follow_the_template_and_equal_the_gold_are_correct(text: str) -> None:
    assert letter_judged(text) == Judgement(Outcome.CORRECT, PASS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(f"Pay: £5 an hour\nTitle: Gardener{DUTIES}", "line 1 does not follow", id="another order"),
        pytest.param("Title: Gardener\nPay: £5 an hour\n- cut hedges", "line 4 does not follow", id="one duty"),
        pytest.param(f"Title: Gardener{DUTIES}\n- a\n- b", "line 5 is not part of the template", id="four duties"),
        pytest.param(f"Here it is:\nTitle: Gardener{DUTIES}", "line 1 does not follow", id="a remark before"),
        pytest.param(f"Title: Gardener{DUTIES}\nDone.", "line 4 is not part", id="a remark after"),
        pytest.param(f"title: Gardener{DUTIES}", "line 1 does not follow", id="label in small letters"),
        pytest.param(f"**Title: Gardener**{DUTIES}", "line 1 does not follow", id="bold"),
        pytest.param(f"Title: Gardener{DUTIES} " + "and " * 20, "more than 20", id="too many words"),
    ],
)
def test_lines_that_do_not_follow_the_template_are_invalid(text: str, reason: str) -> None:
    judgement = letter_judged(text)
    assert judgement.outcome is Outcome.INVALID
    assert judgement.reason is not None
    assert reason in judgement.reason


def test_a_value_that_differs_from_the_gold_is_wrong() -> None:
    judgement = letter_judged(f"Title: Driver\nPay: £5 an hour{DUTIES}")
    assert judgement == Judgement(Outcome.WRONG, PASS, "title differs from the gold")


@pytest.mark.parametrize("gold", ["not stated", "Not stated.", ["not stated"], None], ids=str)
def test_the_words_for_missing_are_correct_where_the_gold_says_so(gold: object) -> None:
    text = f"Title: Gardener\nPay: NOT STATED{DUTIES}"
    assert letter_judged(text, {"title": "Gardener", "pay": gold}, FAIL) == Judgement(Outcome.CORRECT, FAIL)


def test_a_stated_value_where_the_gold_is_missing_is_wrong() -> None:
    text = f"Title: Gardener\nPay: £5 an hour{DUTIES}"
    judgement = letter_judged(text, {"title": "Gardener", "pay": "not stated"}, FAIL)
    assert judgement.outcome is Outcome.WRONG


def test_an_optional_line_that_is_absent_states_no_value() -> None:
    text = f"Title: Gardener{DUTIES}"
    assert letter_judged(text).outcome is Outcome.WRONG
    assert letter_judged(text, {"title": "Gardener", "pay": None}, FAIL) == Judgement(Outcome.CORRECT, FAIL)


# Gold that a contract can compare


def test_gold_that_lacks_a_field_is_named_for_every_case() -> None:
    suite = Suite(
        task_type="extraction",
        version="1",
        created="2026",
        test_cases=(case_of(PASS, GOLD), case_of(PASS, {"title": "x"}), case_of(FAIL, "text"), case_of(FAIL)),
    )
    faults = contract_faults(FIELDS, suite, "suite.json")
    assert [fault.problem for fault in faults] == ["lacks employer", "lacks title, employer", "lacks title, employer"]
    assert {(fault.file, fault.field, fault.case_id) for fault in faults} == {
        ("suite.json", "expected_output", "CASE_1")
    }


def test_gold_that_is_null_is_given() -> None:
    suite = Suite(
        task_type="x", version="1", created="2026", test_cases=(case_of(PASS, {"title": None, "employer": None}),)
    )
    assert contract_faults(FIELDS, suite, "suite.json") == []


def test_a_tag_needs_no_gold_beside_the_verdict() -> None:
    suite = Suite(task_type="grading", version="1", created="2026", test_cases=(case_of(),))
    assert contract_faults(TAG, suite, "suite.json") == []


@given(st.text(max_size=20), st.text(st.characters(codec="ascii"), max_size=20))
def test_white_space_around_a_value_and_the_case_of_its_letters_make_no_difference(text: str, ascii_text: str) -> None:
    assert comparable(f"  {text}\n") == comparable(text)
    assert comparable(ascii_text.upper()) == comparable(ascii_text)
