"""What a refusal on a real socket is told as: redirects, keys, proxies, wrong addresses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind, ollama_ref
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline_tests.fakes.recorded_server import Recorded, RecordedServer

MODEL = ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "m")
MODELS = {"object": "list", "data": [{"id": "m", "object": "model"}]}
PROMPT = "Is the posting sound? SECRET-POSTING"


def failure_of(action: Callable[[], object]) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as caught:
        action()
    return caught.value


def described(server: RecordedServer, path: str = "/v1") -> RuntimeFailure:
    with OpenAICompatibleRuntime(f"{server.url}{path}", "sk-canary") as runtime:
        return failure_of(lambda: runtime.describe(MODEL))


def called(answer: Recorded) -> RuntimeFailure:
    with (
        RecordedServer({"/v1/models": MODELS, "/v1/chat/completions": answer}) as server,
        OpenAICompatibleRuntime(f"{server.url}/v1", "sk-canary") as runtime,
    ):
        failure = failure_of(lambda: runtime.call(MODEL, user_request(PROMPT), DecodingOptions(), 10.0))
    assert "SECRET" not in str(failure)
    return failure


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_with_the_address_to_set_and_is_not_retried(status: int) -> None:
    with RecordedServer({"/v1/models": Recorded(status=status, headers={"Location": "https://u:p@h/v1/models"})}) as s:
        failure = described(s)
        assert str(failure).endswith(f"answered {status}; it redirects to https://h/v1; set that address")
    assert failure.kind is FailureKind.UNSUPPORTED


def test_a_redirect_of_an_ollama_server_is_told_alike() -> None:
    """ollama/ollama-python #61: a proxy in front of the server sends everything to https."""
    moved = Recorded(status=308, headers={"Location": "https://h/api/version"})
    with RecordedServer({"/api/version": moved}) as server, OllamaRuntime(server.url) as runtime:
        failure = failure_of(lambda: runtime.describe(ollama_ref("m:1b")))
    assert str(failure).endswith("it redirects to https://h; set that address")


@pytest.mark.parametrize(
    ("status", "body", "kind", "ends"),
    [
        (401, {"error": {"message": "Invalid API Key"}}, FailureKind.UNSUPPORTED,
         "answered 401: Invalid API Key; set BENCH_OPENAI_API_KEY to a key that the server knows"),
        (403, "", FailureKind.UNSUPPORTED, "answered 403; set BENCH_OPENAI_API_KEY to a key that the server knows"),
        (407, "", FailureKind.UNSUPPORTED, "a proxy answers there and wants a login; set the server's own address"),
        (405, {"detail": "Method Not Allowed"}, FailureKind.UNSUPPORTED, "answered 405: Method Not Allowed"),
        (413, "<html><title>413 Request Entity Too Large</title></html>", FailureKind.UNSUPPORTED,
         "answered 413: 413 Request Entity Too Large; shorten the prompt"),
        (422, {"detail": [{"loc": ["body", "messages", 0], "msg": "too long", "input": PROMPT}]},
         FailureKind.UNSUPPORTED, "at body.messages.0, too long; raise decoding.num_ctx or shorten the prompt"),
        (400, {"object": "error", "message": "This model's maximum context length is 9 tokens", "code": 400},
         FailureKind.UNSUPPORTED, "raise decoding.num_ctx or shorten the prompt"),
        (502, "<html><title>502 Bad Gateway</title></html>", FailureKind.UNAVAILABLE,
         "502 Bad Gateway; a proxy answers there, but the server behind it does not"),
        (504, "", FailureKind.UNAVAILABLE, "answered 504; a proxy answers there, but the server behind it does not"),
        (424, {"error": "Request failed during generation", "error_type": "generation"}, FailureKind.SERVER_ERROR,
         "answered 424: Request failed during generation"),
        (404, {"error": {"message": "The model `m` does not exist."}}, FailureKind.NOT_FOUND,
         "lists; its answer: The model m does not exist"),
    ],
)  # fmt: skip
def test_a_refused_call_says_what_the_server_said_and_what_to_do(
    status: int, body: object, kind: FailureKind, ends: str
) -> None:
    """fms-guardrails-orchestrator #511 (FastAPI), BerriAI/litellm #3794 (proxies); 424 is TGI's."""
    failure = called(Recorded(body, status))
    assert (failure.kind, failure.retry_after_s) == (kind, None)
    assert str(failure).endswith(ends)


def test_the_pause_that_a_server_asks_for_is_kept_with_the_failure() -> None:
    """LiteLLM 1.108 after a failed call: its deployments cool down for five seconds."""
    body = {"error": {"message": "No deployments available for selected model, Try again in 5 seconds."}}
    failure = called(Recorded(body, 429, {"Retry-After": "5"}))
    assert (failure.kind, failure.retry_after_s) == (FailureKind.BUSY, 5.0)


# An address that is not that of the API

LM_STUDIO = {"error": "Unexpected endpoint or method. (GET /models)"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Recorded(LM_STUDIO), id="200 with an error: lmstudio-ai/lmstudio-bug-tracker #618"),
        pytest.param(Recorded({"detail": "Not Found"}, 404), id="404: vLLM"),
        pytest.param(Recorded("<!doctype html><title>UI</title>"), id="a page for every path"),
        pytest.param(Recorded({"detail": "Method Not Allowed"}, 405), id="405"),
    ],
)
def test_an_address_without_v1_is_named_as_such(answer: Recorded) -> None:
    with RecordedServer({"/models": answer, "/v1/models": MODELS}) as server:
        failure = described(server, path="")
        assert str(failure) == f"{server.url} is not the address of an API; write openai:{server.url}/v1#m"
    assert failure.kind is FailureKind.UNSUPPORTED


def test_a_server_whose_list_works_without_v1_is_found_out_at_the_load() -> None:
    """llama-swap lists its models at both paths, and serves calls below /v1 only."""
    with (
        RecordedServer({"/models": MODELS, "/v1/models": MODELS}) as server,
        OpenAICompatibleRuntime(server.url, None) as runtime,
    ):
        failure = failure_of(lambda: runtime.load(MODEL, DecodingOptions(), 10.0))
        assert str(failure) == f"{server.url} is not the address of an API; write openai:{server.url}/v1#m"


def test_a_page_at_every_path_is_told_as_a_page() -> None:
    """open-webui/open-webui answers unknown paths with its interface."""
    with RecordedServer({"/models": Recorded("<title>Open WebUI</title>")}) as server:
        assert str(described(server, path="")).endswith("answered with a web page, Open WebUI")


def test_a_password_is_asked_for_by_name_where_an_ollama_server_wants_one() -> None:
    denied = Recorded(status=401, headers={"WWW-Authenticate": "Basic"})
    with RecordedServer({"/api/version": denied}) as server, OllamaRuntime(server.url) as runtime:
        failure = failure_of(lambda: runtime.describe(ollama_ref("m:1b")))
    assert "BENCH_OLLAMA_API_KEY, or USER:PASSWORD@ in BENCH_OLLAMA_HOST" in str(failure)


def test_a_kept_connection_that_is_closed_is_replaced_and_is_no_failure() -> None:
    """encode/httpx #2983; llama.cpp's server announces `Keep-Alive: timeout=5` and closes some connections at once."""
    closing = Recorded(MODELS, headers={"Keep-Alive": "timeout=5"}, closes=True)
    with (
        RecordedServer({"/v1/models": closing, "/v1/chat/completions": Recorded({}, closes=True)}) as server,
        OpenAICompatibleRuntime(f"{server.url}/v1", None) as runtime,
    ):
        for _ in range(5):
            runtime.call(MODEL, user_request(PROMPT), DecodingOptions(), 10.0)
        assert server.paths().count("/v1/chat/completions") == 5
