"""Which replies are an answer of the model, and which are a failure of its runtime."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.models.reply import Reply, ServerTimings

NOTHING = "the server answered without a single token"


def reply(text: str = "", generated_tokens: int | None = None, **more: Any) -> Reply:  # noqa: ANN401
    return Reply(text, 1_000_000, timings=ServerTimings(generated_tokens=generated_tokens), **more)


@pytest.mark.parametrize(
    "answered",
    [
        pytest.param(reply("[PASS] fine"), id="text"),
        pytest.param(reply("[PASS] fine", 0), id="text that the server did not count"),
        pytest.param(reply("", 1), id="an end-of-text token alone"),
        pytest.param(reply("  \n", 3), id="blank text of counted tokens"),
        pytest.param(reply("\n"), id="blank text without a count"),
        pytest.param(reply("", None, thinking="let me see"), id="thinking"),
        pytest.param(reply("", 0, thinking="let me see"), id="thinking that the server did not count"),
        pytest.param(reply("", None, done_reason="length"), id="a budget spent on hidden tokens"),
        pytest.param(reply("", None, done_reason="tool_calls"), id="a tool call"),
        pytest.param(reply("", 4, done_reason="content_filter"), id="filtered after some tokens"),
        pytest.param(reply("[PA", 2, complete=False, done_reason="unfinished"), id="unfinished after some tokens"),
    ],
)
def test_a_reply_with_a_token_is_an_answer(answered: Reply) -> None:
    assert answered.fault == ""


@pytest.mark.parametrize(
    "failed",
    [
        pytest.param(reply(), id="nothing"),
        pytest.param(reply("", 0), id="nothing, counted"),
        pytest.param(reply(" \n", 0), id="blanks without a token"),
        pytest.param(reply("", 0, done_reason="length"), id="a prompt that was ignored for its length"),
        pytest.param(reply("", 0, done_reason="content_filter"), id="a prompt that was filtered"),
        pytest.param(reply("", None, complete=False, done_reason="unfinished"), id="unfinished before the first token"),
    ],
)
def test_a_reply_without_a_token_is_a_failure_of_the_runtime(failed: Reply) -> None:
    assert failed.fault == NOTHING


@pytest.mark.parametrize(
    "word", ["load", "unload", "error", "abort", "cancelled", "timeout", "insufficient_system_resource", ""]
)
@pytest.mark.parametrize("text", ["", "[PASS] fine"])
def test_a_reply_that_ends_for_a_reason_of_the_runtime_is_its_failure_whatever_came_before(
    word: str, text: str
) -> None:
    assert reply(text, 3, done_reason=word).fault == f"the server ended the reply with {word!r}"


def test_a_long_reason_is_not_repeated_whole() -> None:
    assert len(reply("[PASS]", 3, done_reason="x" * 10_000).fault) < 100


@given(
    text=st.text(max_size=20),
    thinking=st.text(max_size=20),
    tokens=st.none() | st.integers(0, 5),
    complete=st.booleans(),
    done_reason=st.sampled_from(["stop", "length", "load", "unfinished", "tool_calls"]) | st.text(max_size=60),
)
def test_visible_text_that_the_model_ended_is_always_an_answer(
    text: str, thinking: str, tokens: int | None, complete: bool, done_reason: str
) -> None:
    found = reply(text, tokens, thinking=thinking, complete=complete, done_reason=done_reason)
    if text.strip() and (not complete or done_reason in ("stop", "length")):
        assert found.fault == ""
    if not (text or thinking or tokens) and done_reason == "stop":
        assert found.fault == NOTHING
