"""What is read from the answers of OpenAI-compatible servers: endings, thinking, tokens, arrivals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.runtimes.deadline import Answer
from bench_pipeline.runtimes.openai_wire import Chunk, events, reply_of

ELAPSED_NS = 90


def streamed(*chunks: dict[str, Any]) -> Reply:
    """The reply of chunks that arrived 10 ns apart."""
    return reply_of([(Chunk.model_validate(one), 10 * n) for n, one in enumerate(chunks, start=1)], ELAPSED_NS)


def piece(finish: str | None = None, **delta: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("said", "ending"),
    [
        ("stop", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("COMPLETE", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("SAFETY", "content_filter"),
        ("sensitive", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("abort", "abort"),
        ("network_error", "network_error"),
    ],
)
def test_what_servers_call_an_ending_is_read_as_the_same_ending(said: str, ending: str) -> None:
    """TGI #2344 (eos_token), openai/openai-dotnet #267 (eos), earendil-works/pi #1509 (sensitive, network_error)."""
    assert streamed(piece(said, content="x")).done_reason == ending


def test_an_ending_that_is_not_known_is_no_answer_of_the_model() -> None:
    assert streamed(piece("network_error", content="[PASS]")).fault == "the server ended the reply with 'network_error'"


def test_an_empty_ending_is_none() -> None:
    """dstackai/dstack #2229: SGLang wrote an empty text into every piece."""
    reply = streamed(piece("", content="a"), piece("stop", content="b"))
    assert (reply.text, reply.done_reason, reply.complete) == ("ab", "stop", True)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_the_first_token_is_the_first_piece_of_thinking_and_the_first_text_comes_later(field: str) -> None:
    reply = streamed(piece(role="assistant"), piece(**{field: "hm"}), piece(content="[PASS]"), piece("stop"))
    assert (reply.thinking, reply.text) == ("hm", "[PASS]")
    assert (reply.first_token_ns, reply.first_text_ns) == (20, 30)


def test_a_reply_in_one_piece_has_no_first_token() -> None:
    whole = {"choices": [{"message": {"content": "[PASS]", "reasoning_content": "hm"}, "finish_reason": "stop"}]}
    reply = reply_of([(Chunk.model_validate(whole), ELAPSED_NS)], ELAPSED_NS)
    assert (reply.text, reply.thinking) == ("[PASS]", "hm")
    assert reply.timings.thinking_tokens is None


def test_a_completion_has_its_text_beside_the_ending() -> None:
    reply = streamed({"choices": [{"text": "a"}]}, {"choices": [{"text": "b", "finish_reason": "length"}]})
    assert (reply.text, reply.done_reason) == ("ab", "length")


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}, 7, id="OpenAI"),
        pytest.param({"completion_tokens": 9, "reasoning_tokens": 6}, 6, id="SGLang"),
        pytest.param({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 0}}, 2, id="LiteLLM"),
        pytest.param({"completion_tokens": 9, "completion_tokens_details": None}, 2, id="not counted"),
    ],
)
def test_tokens_of_thinking_are_those_that_the_server_counts_else_the_pieces(
    usage: dict[str, Any], tokens: int
) -> None:
    thoughts = [piece(reasoning="a"), piece(reasoning="b"), piece("stop", content="c")]
    reply = streamed(*thoughts, {"choices": [], "usage": usage})
    assert (reply.timings.thinking_tokens, reply.timings.generated_tokens) == (tokens, 9)


def test_the_account_of_llama_cpp_is_preferred_to_the_usage() -> None:
    own = {"cache_n": 4, "prompt_n": 6, "prompt_ms": 1.5, "predicted_n": 3, "predicted_ms": 2.0, "prompt_per_second": 1}
    timings = streamed(
        piece("stop", content="x"), {"choices": [], "usage": {"prompt_tokens": 99}, "timings": own}
    ).timings
    assert (timings.prompt_tokens, timings.cached_prompt_tokens, timings.generated_tokens) == (10, 4, 3)
    assert (timings.prompt_ns, timings.generation_ns) == (1_500_000, 2_000_000)


def test_a_server_that_counts_nothing_is_no_error() -> None:
    timings = streamed(piece("stop", content="x")).timings
    assert (timings.prompt_tokens, timings.generated_tokens, timings.thinking_tokens) == (None, None, None)


def test_the_events_of_a_stream_have_their_names_and_arrivals() -> None:
    first, second = (
        b": ping\r\n\r\nevent: error\r\ndata:" + json.dumps({"a": 1}).encode(),
        b"\r\n\r\ndata: [DONE]\r\n\r\n",
    )
    answer = Answer(first + second, 70, ((len(first) + 2, 30), (len(first + second), 60)))
    assert list(events(answer)) == [("error", b'{"a": 1}', 30), ("", b"[DONE]", 60)]
