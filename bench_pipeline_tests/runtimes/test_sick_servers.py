"""Servers that answer with status 200 and yet fail: each shape is a failure, or a reply that says so by its `fault`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind, ollama_ref
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.base import Runtime
from bench_pipeline.runtimes.llama_cpp import LlamaCppRuntime
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline_tests.fakes.faults import SCRIPTS, Fault
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel

OLLAMA, OPENAI = ollama_ref("judge:7b"), ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "judge:7b", "http://127.0.0.1/v1")
LLAMA_CPP = ModelRef(RuntimeKind.LLAMA_CPP, "judge:7b")
PROMPT = "Is the posting sound? SECRET-POSTING"
NOTHING = "the server answered without a single token"


def came_of(runtime: Runtime, model: ModelRef) -> str:
    """The failure of a call, or the fault of its reply, or the text of a reply without a fault."""
    try:
        reply = runtime.call(model, user_request(PROMPT), DecodingOptions(num_ctx=2048), 10.0)
    except RuntimeFailure as failure:
        return f"{failure.kind}: {failure}"
    return reply.fault or reply.text


def answer(judge: FakeModel, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let the server send these bytes with status 200."""
    monkeypatch.setitem(SCRIPTS, Fault.BODY, replace(SCRIPTS[Fault.BODY], junk=body.encode()))
    judge.fault = Fault.BODY


def event(value: object, name: str = "") -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value)}\n\n"


def piece(text: str | None, finish: str | None = None, **more: object) -> str:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}]})


def usage(tokens: int) -> str:
    return event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": tokens}}) + "data: [DONE]\n\n"


def whole(content: str | None, finish: str | None = "stop", tokens: int = 3) -> str:
    """A reply that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": {"completion_tokens": tokens}})


REPORTED = "server_error: judge:7b: the server reported an error"


@pytest.mark.parametrize(
    ("body", "came"),
    [
        pytest.param("", NOTHING, id="an empty body"),
        pytest.param("data: [DONE]\n\n", NOTHING, id="an end alone"),
        pytest.param(event({"choices": []}), NOTHING, id="no choices"),
        pytest.param(event({"choices": None}), NOTHING, id="choices that are null"),
        pytest.param(piece(None) + piece("", "stop"), NOTHING, id="a stop without text or usage"),
        pytest.param(piece("", "stop") + usage(0), NOTHING, id="a stop after no token"),
        pytest.param(piece("", "content_filter") + usage(0), NOTHING, id="a prompt that was filtered"),
        pytest.param(piece("", "length") + usage(0), NOTHING, id="a prompt that was ignored"),
        pytest.param(piece(""), NOTHING, id="a stream that ends before the first token"),
        pytest.param(piece("[PASS] fine", "error"), "the server ended the reply with 'error'", id="an end by an error"),
        pytest.param(piece("[PASS] fine", "abort"), "the server ended the reply with 'abort'", id="an abort"),
        pytest.param(piece("[PA") + event({"error": {"message": "boom"}}), f"{REPORTED}: boom", id="an error object"),
        pytest.param(piece("[PA") + event({"error": "boom"}), f"{REPORTED}: boom", id="an error text"),
        pytest.param(piece("[PA") + event({"error": {"code": 500}}), REPORTED, id="an error without words"),
        pytest.param(piece("[PA") + event({"error": [7]}), REPORTED, id="an error of an unknown form"),
        pytest.param(
            piece("[PA") + event({"object": "error", "message": "boom"}), f"{REPORTED}: boom", id="a flat error"
        ),
        pytest.param(piece("[PA") + event({"message": "boom"}, "error"), f"{REPORTED}: boom", id="an error event"),
        pytest.param(
            piece("[PA") + event({"error": {"message": "boom"}}, "error"), f"{REPORTED}: boom", id="an error twice told"
        ),
        pytest.param(
            piece("[PA") + "event: error\ndata: boom\n\n", f"{REPORTED}: boom", id="an error event that is not JSON"
        ),
        pytest.param(piece("[PA") + event({"message": "boom", "code": 500}), f"{REPORTED}: boom", id="a bare message"),
        pytest.param(piece("[PA") + event({"detail": "boom"}), f"{REPORTED}: boom", id="FastAPI's detail"),
        pytest.param(
            "<html><title>Sign in</title></html>",
            "server_error: judge:7b: {address}/v1 answered with a web page, Sign in",
            id="a proxy's web page",
        ),
        pytest.param(
            "<!DOCTYPE html>", "server_error: judge:7b: {address}/v1 answered with a web page", id="an empty web page"
        ),
        pytest.param('{"error": {"message": "boom"}}', f"{REPORTED}: boom", id="an error for a stream"),
        pytest.param('{"error": "boom: SECRET-POSTING"}', f"{REPORTED}: boom", id="an error that quotes the prompt"),
        pytest.param(whole(None, tokens=0), NOTHING, id="not streamed, and null"),
        pytest.param(whole("", tokens=0), NOTHING, id="not streamed, and empty"),
        pytest.param("{}", NOTHING, id="not streamed, and no reply"),
        pytest.param(whole("[PASS]", "error"), "the server ended the reply with 'error'", id="not streamed, an error"),
        # These are not failures of the server.
        pytest.param(piece("[PASS] fine", "stop") + usage(0), "[PASS] fine", id="good: tokens that are not counted"),
        pytest.param(piece("", "stop") + usage(1), "", id="good: an end-of-text token alone"),
        pytest.param(piece("[PASS]", "stop", error=None) + usage(3), "[PASS]", id="good: an error that is null"),
        pytest.param(event({"choices": []}) + piece("[PASS]", "stop"), "[PASS]", id="good: an empty piece first"),
        pytest.param(
            ": wait\n\n" + event({"choices": []}, "ping") + piece("[PASS]", "stop"), "[PASS]", id="good: pings"
        ),
        pytest.param(whole("[PASS] fine"), "[PASS] fine", id="good: not streamed"),
    ],
)
def test_what_comes_of_an_answer_of_an_openai_compatible_server(
    openai: OpenAICompatibleRuntime,
    server: FakeOllama,
    judge: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    came: str,
) -> None:
    """A stream's own errors: open-webui/open-webui #29628, justrach/codegraff #748, preloop/preloop #117."""
    answer(judge, monkeypatch, body)
    assert came_of(openai, OPENAI) == came.replace("{address}", server.url)


def line(text: str = "", done: bool = False, **more: object) -> str:
    return json.dumps({"message": {"role": "assistant", "content": text}, "done": done, **more}) + "\n"


@pytest.mark.parametrize(
    ("body", "came"),
    [
        pytest.param("", NOTHING, id="an empty body"),
        pytest.param("{}\n", NOTHING, id="an empty object"),
        pytest.param(line(), NOTHING, id="a stream that ends before the first token"),
        pytest.param(line(done=True), NOTHING, id="an end without figures"),
        pytest.param(line(done=True, done_reason="stop", eval_count=0), NOTHING, id="a stop after no token"),
        pytest.param(
            line(done=True, done_reason="load"), "the server ended the reply with 'load'", id="a load for a reply"
        ),
        pytest.param(
            line(done=True, done_reason="unload"),
            "the server ended the reply with 'unload'",
            id="an unload for a reply",
        ),
        pytest.param(line("[PA") + '{"error": "boom"}\n', f"{REPORTED}: boom", id="an error text"),
        pytest.param(line("[PA") + '{"error": {"message": "boom"}}\n', f"{REPORTED}: boom", id="an error object"),
        pytest.param('{"error": "boom"}', f"{REPORTED}: boom", id="an error for a stream"),
        pytest.param('{"error": {"code": 500}}', REPORTED, id="an error without words"),
        # These are not failures of the server.
        pytest.param(line(done=True, done_reason="stop", eval_count=1), "", id="good: an end-of-text token alone"),
        pytest.param(line("[PASS]", done=True, done_reason="stop"), "[PASS]", id="good: not streamed"),
    ],
)
def test_what_comes_of_an_answer_of_an_ollama_server(
    ollama: OllamaRuntime, judge: FakeModel, monkeypatch: pytest.MonkeyPatch, body: str, came: str
) -> None:
    ollama.describe(OLLAMA)
    answer(judge, monkeypatch, body)
    assert came_of(ollama, OLLAMA) == came


class FakeBinding:
    """Stands for llama.cpp in this process; `chunks` are what it calls back with."""

    def __init__(self, *chunks: object) -> None:
        self.chunks = chunks

    def handle_chat_completions(self, _request: object, call_back: object) -> None:
        for chunk in self.chunks:
            call_back(chunk)  # type: ignore[operator]


def chunk(text: str | None = None, finish: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}], **more}


def timings(tokens: int) -> dict[str, object]:
    return {"cache_n": 0, "prompt_n": 9, "prompt_ms": 1.0, "predicted_n": tokens, "predicted_ms": 1.0}


@pytest.mark.parametrize(
    ("chunks", "came"),
    [
        pytest.param([], NOTHING, id="nothing"),
        pytest.param([{"choices": []}], NOTHING, id="no choices"),
        pytest.param([chunk("", "stop", timings=timings(0))], NOTHING, id="a stop after no token"),
        pytest.param(
            [chunk("[PA"), chunk(None, "error")], "the server ended the reply with 'error'", id="an error end"
        ),
        pytest.param(
            [chunk("[PA"), {"error": {"code": 500, "type": "server_error"}}],
            "server_error: judge:7b: llama.cpp answered 500 server_error",
            id="an error object",
        ),
        # These are not failures of the runtime.
        pytest.param([chunk("", "stop", timings=timings(1))], "", id="good: an end-of-text token alone"),
        pytest.param([chunk("[PASS]", "stop", timings=timings(3))], "[PASS]", id="good: text"),
    ],
)
def test_what_comes_of_an_answer_of_llama_cpp(chunks: list[object], came: str) -> None:
    runtime = LlamaCppRuntime.__new__(LlamaCppRuntime)
    runtime._server, runtime._loaded = FakeBinding(*chunks), (LLAMA_CPP.address, 2048)
    assert came_of(runtime, LLAMA_CPP) == came


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/api/version", {"error": "boom"}, FailureKind.SERVER_ERROR),
        ("/api/tags", {"error": "boom"}, FailureKind.SERVER_ERROR),
        ("/api/tags", {}, FailureKind.BAD_RESPONSE),
        ("/api/show", {"error": "boom"}, FailureKind.SERVER_ERROR),
    ],
)
def test_an_ollama_server_that_fails_to_list_its_models_does_not_lack_one(
    ollama: OllamaRuntime, server: FakeOllama, path: str, body: dict[str, str], kind: FailureKind
) -> None:
    """An incumbent that is not installed is replaced; a server that is sick is waited for."""
    server.answers[path] = body
    with pytest.raises(RuntimeFailure) as caught:
        ollama.describe(OLLAMA)
    assert caught.value.kind is kind


def test_an_openai_compatible_server_that_fails_to_list_its_models_is_not_one_that_lists_none(
    openai: OpenAICompatibleRuntime, server: FakeOllama
) -> None:
    server.answers["/v1/models"] = {"error": "Unexpected endpoint or method. (GET /models)"}
    with pytest.raises(RuntimeFailure, match="reported an error: Unexpected endpoint or method") as caught:
        openai.describe(OPENAI)
    assert caught.value.kind is FailureKind.SERVER_ERROR
