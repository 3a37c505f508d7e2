"""Verdicts that prose takes back are none, and prose that only looks like it is not in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import FinalLine
from bench_pipeline_tests.domain.tasks.judging import FAIL, PASS, TAG, judged, verdict_of
from bench_pipeline_tests.domain.tasks.taken_back_replies import LINE_READ, LINE_TAKEN_BACK, READ, TAKEN_BACK

LAST = FinalLine()


def rows(replies: Mapping[str, list[str]]) -> Iterator[object]:
    for kind, texts in replies.items():
        yield from (pytest.param(text, id=f"{kind}, {number}") for number, text in enumerate(texts, start=1))


@pytest.mark.parametrize("text", [*rows(TAKEN_BACK)])
def test_a_tag_that_is_taken_back_is_no_verdict(text: str) -> None:
    judgement = judged(text)
    assert (judgement.outcome, judgement.verdict) == (Outcome.INVALID, None)
    assert judgement.reason


@pytest.mark.parametrize(("verdict", "text"), [(verdict, text) for verdict, texts in READ.items() for text in texts])
def test_a_tag_that_its_reason_supports_is_read(verdict: Gold, text: str) -> None:
    assert verdict_of(text) == verdict


@pytest.mark.parametrize("text", LINE_TAKEN_BACK)
def test_a_final_line_that_ends_another_sentence_is_no_verdict(text: str) -> None:
    assert verdict_of(text, LAST) is None


@pytest.mark.parametrize("text", LINE_READ)
def test_a_final_line_that_is_a_statement_of_its_own_is_read(text: str) -> None:
    assert verdict_of(text, LAST) == PASS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[PASS] is not deserved", "the verdict is negated"),
        ("[PASS]? No.", "the verdict is a question"),
        ("[PASS] is for everything else", "the verdict is only spoken of"),
        ("[PASS]/FAIL", "another verdict is offered beside it"),
        ("[PASS] fine. Final verdict: FAIL", "the verdict is revised later"),
        ("[PASS] if the pay is right", "the verdict has a condition"),
        ("❌ [PASS]", "the sign ❌ contradicts the verdict"),
    ],
)
def test_the_reason_names_the_kind(text: str, reason: str) -> None:
    assert judged(text).reason == reason


# What holds for every text

prose = st.lists(
    st.sampled_from(["The", "pay", "is", "not", "right", "only", "so", "verdict", "fails", ",", ".", "\n", "If", "if"]),
    max_size=12,
).map(" ".join)
revisions = st.sampled_from(
    ["Final verdict: FAIL", "So the verdict is FAIL.", "FAIL", "**FAIL**", "Therefore, FAIL.", "I change it to FAIL"]
)


@given(reason=prose, revision=revisions, more=prose)
def test_no_reason_hides_a_revision_that_follows_it(reason: str, revision: str, more: str) -> None:
    assert verdict_of(f"[PASS] {reason}\n\n{revision}\n\n{more}") is None


@given(verdict=st.sampled_from(Gold), reason=prose, mark=st.sampled_from(["*", "_", "**", "`"]))
def test_emphasis_hides_nothing_that_takes_a_tag_back(verdict: Gold, reason: str, mark: str) -> None:
    marked = " ".join(f"{mark}{word}{mark}" if word.isalpha() else word for word in reason.split(" "))
    assert verdict_of(f"[{verdict}] {marked}") == verdict_of(f"[{verdict}] {reason}")


@given(verdict=st.sampled_from(Gold), reason=prose, other=prose, tail=prose)
def test_adding_the_other_tag_never_yields_a_verdict(verdict: Gold, reason: str, other: str, tail: str) -> None:
    contrary = FAIL if verdict == PASS else PASS
    text = f"[{verdict}] {reason} {other} [{contrary}] {tail}"
    assert verdict_of(text, TAG) is None
    assert verdict_of(text, LAST) is None
