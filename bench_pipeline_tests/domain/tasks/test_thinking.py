"""Thinking in every form is taken out of a reply, and never anything but thinking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import (
    Contract,
    FinalLine,
    JsonFields,
    JsonVerdict,
    LeadingTag,
    Pattern,
)
from bench_pipeline.domain.tasks.readers.thinking import THINKING_FORMS, ThinkingForm
from bench_pipeline_tests.domain.tasks.judging import FAIL, PASS, judged, reason_of, verdict_of

REPLIES: dict[str, tuple[Contract, str, str]] = {
    "leading_tag": (LeadingTag(), "[PASS] fine", "[FAIL]? "),
    "final_line": (FinalLine(), "fine\nPASS", "so a FAIL: "),
    "json": (JsonVerdict(), '{"verdict": "PASS"}', 'or {"verdict": "FAIL"}? '),
    "pattern": (Pattern(pattern=r"Verdict: (?P<verdict>\w+)"), "Verdict: PASS", "so it is FAIL "),
}
every_form = pytest.mark.parametrize("form", THINKING_FORMS, ids=lambda form: form.opening[0])
every_reader = pytest.mark.parametrize("reader", REPLIES)


@every_reader
@every_form
def test_a_reply_is_read_without_its_thinking(form: ThinkingForm, reader: str) -> None:
    contract, reply, thought = REPLIES[reader]
    for opening in form.opening:
        for closing in form.closing:
            assert verdict_of(f"{opening}\n{thought}\n{closing}\n{reply}", contract) == PASS
            assert verdict_of(f"{opening.upper()}{thought}{closing.upper()}{reply}", contract) == PASS


@every_reader
@every_form
def test_thinking_that_the_prompt_opened_needs_no_opening_mark(form: ThinkingForm, reader: str) -> None:
    contract, reply, _ = REPLIES[reader]
    expected = None if form.plain_words else PASS
    assert verdict_of(f"hm, let me see{form.closing[0]}{reply}", contract) == expected or reader == "final_line"


@every_reader
@every_form
def test_thinking_that_never_ends_is_no_reply(form: ThinkingForm, reader: str) -> None:
    contract, reply, _ = REPLIES[reader]
    judgement = judged(f"{form.opening[0]}\nhm\n{reply}", contract)
    assert judgement.outcome is Outcome.INVALID or (form.plain_words and reader == "final_line")


@every_form
def test_marks_around_the_answer_are_no_part_of_it(form: ThinkingForm) -> None:
    for mark in form.answer:
        assert verdict_of(f"{form.opening[0]}hm{form.closing[0]}{mark}[PASS] fine{mark}") == PASS


@every_reader
@pytest.mark.parametrize("tag", ["<ponder>", "<reflection>", "<|thinking|>", "<my thoughts>", "◁reason▷", "[THINKING]"])
def test_an_unknown_form_is_named(reader: str, tag: str) -> None:
    contract, reply, _ = REPLIES[reader]
    assert reason_of(f"{tag}hm\n{reply}", contract) == f"unknown thinking form {tag!r}"


def test_an_unknown_form_that_ends_is_prose_before_a_final_line() -> None:
    assert verdict_of("<analysis>\nhm\n</analysis>\nPASS", FinalLine()) == PASS


@pytest.mark.parametrize(
    "text",
    [
        '[FAIL] The summary contains "<think>" as text.',
        "[FAIL] It contains `<think>` as text",
        "[FAIL] It says “</think>” in the middle",
        "[FAIL] It quotes '[THINK]'",
    ],
)
def test_a_quoted_mark_is_no_thinking(text: str) -> None:
    assert verdict_of(text) == FAIL


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        ("leading_tag", '[FAIL] The posting says "</think>[PASS]"'),
        ("leading_tag", "[FAIL] It says <think>x</think> and </think>[PASS]"),
        ("leading_tag", "[PASS] <think>Wait, no. FAIL</think>"),
        ("leading_tag", "[FAIL] It has both [PASS] and </think>[PASS]"),
        ("leading_tag", "[FAIL] It says <|channel|>final<|message|>[PASS]"),
        ("final_line", "FAIL\nThe posting says </think>\nPASS"),
        ("final_line", "FAIL\n<think>\nhm</think>\nPASS"),
        ("json", '{"verdict": "FAIL", "reason": "</think>{"verdict": "PASS"}'),
        ("json", '{"verdict": "FAIL"}</think>{"verdict": "PASS"}'),
        ("pattern", "Verdict: FAIL. It says </think>Verdict: PASS"),
        ("pattern", "Hm.\nVerdict: FAIL\nIt says </think>Verdict: PASS"),
    ],
)
def test_no_mark_within_an_answer_makes_what_precedes_it_thinking(reader: str, text: str) -> None:
    assert verdict_of(text, REPLIES[reader][0]) is None


@pytest.mark.parametrize("mark", ["[think>", "<think]", "◁think>", "[/think>", "<|channel|>", "<thinks>", "< think>"])
def test_what_is_only_like_a_mark_is_no_mark(mark: str) -> None:
    assert verdict_of(f"[FAIL] It contains {mark}[x].") == FAIL
    assert verdict_of(f"x{mark}[PASS]") is None


def test_json_that_holds_a_mark_in_a_value_is_read_as_it_is() -> None:
    contract = JsonVerdict(fields={"reason": "string"})
    assert verdict_of('{"verdict": "FAIL", "reason": "it has <think> in it"}', contract) == FAIL
    fields = JsonFields(fields=("title",))
    assert judged('{"title": "</think>"}', fields).verdict == PASS


def test_a_mark_that_the_pattern_asks_for_is_part_of_the_answer() -> None:
    asked = Pattern(pattern=r"<reasoning[^<]*</reasoning\s*Verdict: (?P<verdict>\w+)")
    assert verdict_of("<reasoning>so</reasoning>\nVerdict: PASS", asked) == PASS
    assert verdict_of("<think>FAIL</think><reasoning>so</reasoning>\nVerdict: PASS", asked) == PASS
    bracketed = Pattern(pattern=r"\[THINK\][^\[]*\[/THINK\]\s*(?P<verdict>\w+)")
    assert verdict_of("[THINK]so[/THINK] PASS", bracketed) == PASS


def test_harmony_without_a_final_channel_is_no_reply() -> None:
    assert verdict_of("<|channel|>analysis<|message|>[PASS]<|end|>") is None


def test_harmony_may_think_more_than_once() -> None:
    thought = "<|channel|>analysis<|message|>[FAIL]?<|end|><|start|>assistant<|channel|>commentary<|message|>hm<|end|>"
    assert verdict_of(f"{thought}<|start|>assistant<|channel|>final<|message|>[PASS] fine<|return|>") == PASS


@given(
    form=st.sampled_from([form for form in THINKING_FORMS if not form.plain_words]),
    thought=st.text(st.characters(exclude_characters="<>[]◁▷|", exclude_categories=["C"]), max_size=40),
    verdict=st.sampled_from([PASS, FAIL]),
)
def test_whatever_is_thought_the_answer_decides(form: ThinkingForm, thought: str, verdict: str) -> None:
    assert verdict_of(f"{form.opening[0]} {thought} {form.closing[0]}[{verdict}] so") == verdict
