"""What is read from a failed request: words of any shape, pauses, addresses. No socket."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.runtimes.failures import (
    error_in,
    is_about_length,
    one_line,
    pause_asked,
    redirect_target,
    why_unreachable,
    words_of,
)

PROMPT = "SECRET-POSTING"
UNPROCESSABLE = {
    "detail": [
        {"type": "float_parsing", "loc": ["body", "temperature"], "msg": "Input should be a number", "input": PROMPT}
    ]
}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param({"error": "boom"}, "boom", id="a text: Ollama, TGI"),
        pytest.param({"error": {"message": "boom", "type": "x", "code": 400}}, "boom", id="an object: OpenAI, LiteLLM"),
        pytest.param({"object": "error", "message": "boom"}, "boom", id="flat: vllm-project/vllm #12886, SGLang"),
        pytest.param({"message": "boom", "code": 503}, "boom", id="a message: canonical/inference-snaps #234"),
        pytest.param(
            {"object": "error", "message": {"detail": [{"loc": ["body", "x"], "msg": "boom"}]}},
            "at body.x, boom",
            id="Mistral: openai/openai-agents-python #442",
        ),
        pytest.param({"error": "Bad Request", "message": "boom"}, "boom", id="the status beside the message"),
        pytest.param({"detail": "boom"}, "boom", id="FastAPI: jagmarques/asqav-sdk #205"),
        pytest.param(UNPROCESSABLE, "at body.temperature, Input should be a number", id="FastAPI's list"),
        pytest.param({"detail": {"error": {"message": "boom"}}}, "boom", id="an object within FastAPI's"),
        pytest.param({"errors": ["boom", {"message": "bang"}]}, "boom; bang", id="a list of errors"),
        pytest.param({"error": True, "reason": "boom"}, "boom", id="a flag beside the reason"),
        pytest.param({"type": "about:blank", "title": "boom", "status": 400}, "boom", id="problem details, RFC 9457"),
        pytest.param("boom", "boom", id="plain text"),
        pytest.param('data: {"error": {"message": "boom"}}\n\n', "boom", id="an event instead of a body"),
        pytest.param("<html><head><title>502 Bad Gateway</title></head></html>", "502 Bad Gateway", id="nginx"),
        pytest.param("<html><body><h1>llama-swap</h1></body></html>", "llama-swap", id="a page without a title"),
        pytest.param("<html></html>", "", id="a page that says nothing"),
        pytest.param("", "", id="nothing"),
        pytest.param("{}", "", id="an empty object"),
        pytest.param({"error": {"code": 500}}, "", id="an error without words"),
    ],
)
def test_the_words_of_an_error_are_found_in_every_shape(body: object, words: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    assert words_of(content.encode()) == words


def test_the_input_that_fastapi_repeats_is_never_told() -> None:
    assert PROMPT not in words_of(json.dumps(UNPROCESSABLE).encode())


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["error", "detail", "message", "loc", "msg"]), inner, max_size=3)
            ),
        ),
    )
)
def test_any_bytes_can_be_the_body_of_an_error(body: bytes) -> None:
    assert isinstance(words_of(body), str)
    assert error_in(body) is None or isinstance(error_in(body), str)


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"error":' * 5_000 + b"1" + b"}" * 5_000])
def test_a_body_that_is_nested_without_end_is_read_without_failing(deep: bytes) -> None:
    assert isinstance(words_of(deep), str)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ('"m:1b" does not support thinking', "m:1b does not support thinking"),
        ("The model `m:1b` cannot do it", "The model m:1b cannot do it"),
        ("m:1b is not ready", "m:1b is not ready"),
        (f"'{PROMPT}' cannot be read", ""),
        (f'"m:1b" cannot read "{PROMPT}"', "m:1b cannot read"),
        (f"parse error: {PROMPT}", "parse error"),
        (f"litellm.BadRequestError: no deployment: {PROMPT}", "no deployment"),
        (f"litellm.NotFoundError: NotFoundError: gone '{PROMPT}'", "gone"),
    ],
)
def test_the_name_of_the_model_is_told_and_what_may_be_the_prompt_is_not(words: str, told: str) -> None:
    assert one_line(words, quote=False, names=("m:1b",)).strip() == told


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens",
        "the request exceeds the available context size",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
        "The input (5000 tokens) is longer than the model's limit",
        "prompt is too long",
    ],
)
def test_a_refusal_for_its_length_is_recognised(words: str) -> None:
    """The words of vLLM, llama.cpp, TGI, SGLang (QwenLM/Qwen3 #1321) and Anthropic."""
    assert is_about_length(words)


@pytest.mark.parametrize("words", ["unknown field seed", "max_tokens must be at least 1", "invalid key"])
def test_another_refusal_is_not_taken_for_one_of_length(words: str) -> None:
    assert not is_about_length(words)


NOON = "Mon, 30 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "words", "pause_s"),
    [
        pytest.param(429, {"retry-after": "6"}, "", 6.0, id="seconds: BobTheBuidler/dank_mids #78"),
        pytest.param(503, {"retry-after": "2.5"}, "", 2.5, id="a fraction"),
        pytest.param(429, {"retry-after": "Mon, 30 Nov 2026 12:00:20 GMT", "date": NOON}, "", 20.0, id="a date"),
        pytest.param(503, {"retry-after": "Mon, 30 Nov 2026 11:00:00 GMT", "date": NOON}, "", 1.0, id="a date gone by"),
        pytest.param(429, {"retry-after": "0"}, "", 1.0, id="no pause is a pause"),
        pytest.param(503, {}, "Loading model", 1.0, id="llama.cpp: containers/ramalama #2343"),
        pytest.param(503, {}, "Model x is currently loading", 1.0, id="huggingface/transformers #32665"),
        pytest.param(503, {}, "The server is not ready yet: model not ready", 1.0, id="not ready"),
        pytest.param(503, {}, "server is still starting up", 1.0, id="starting"),
        pytest.param(503, {}, "server busy, maximum pending requests exceeded", None, id="Ollama's full queue"),
        pytest.param(429, {}, "Rate limit reached", None, id="a limit without a pause"),
        pytest.param(429, {"retry-after": "soon"}, "", None, id="no number and no date"),
        pytest.param(429, {"retry-after": "-5"}, "", None, id="a negative number"),
        pytest.param(400, {"retry-after": "5"}, "Loading model", None, id="a refusal"),
        pytest.param(500, {}, "failed while loading model", None, id="a load that failed"),
    ],
)
def test_a_server_that_says_not_yet_asks_for_a_pause(
    status: int, headers: dict[str, str], words: str, pause_s: float | None
) -> None:
    assert pause_asked(status, headers, words) == pause_s


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://host/v1/models", "https://host/v1"),
        ("//other:81/v1/models", "http://other:81/v1"),
        ("/api/v1/models", "http://old:80/api/v1"),
        ("https://me:hunter2@host/v1/models?token=hunter2#hunter2", "https://host/v1"),
        ("https://login.example/sso", "https://login.example/sso"),
        ("http://h:port/v1/models", None),
    ],
)
def test_the_address_that_a_redirect_asks_for_has_neither_the_route_nor_a_secret(
    location: str, target: str | None
) -> None:
    found = redirect_target(httpx.URL("http://old:80/v1/models"), "/models", location)
    assert found == (target.replace("old:80", "old") if target else None)


def test_errors_that_lead_to_each_other_are_read_to_their_end() -> None:
    """A failure that is raised anew from the report of its attempts has them for its cause, and they have it."""
    first, second = ConnectionError(), ConnectionError()
    first.__cause__, second.__cause__ = second, first
    assert why_unreachable(first) is None
