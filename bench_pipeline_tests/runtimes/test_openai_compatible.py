"""What the OpenAI-compatible runtime asks for, returns and reports as failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench_pipeline.domain.errors import FailureKind, InputError, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline_tests.fakes.faults import SCRIPTS, Fault
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel

JUDGE = ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "judge:7b", "http://127.0.0.1/v1")
DECODING = DecodingOptions(num_predict=64, temperature=0.5, seed=7)
PROMPT = "Is the posting sound? SECRET-POSTING"
SOON_S = 0.3
AMPLE_S = 10.0


def ask(runtime: OpenAICompatibleRuntime, limit_s: float = AMPLE_S) -> Reply:
    return runtime.call(JUDGE, user_request(PROMPT), DECODING, limit_s)


def failure_of(action: Callable[[], object]) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as caught:
        action()
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.NOT_FOUND, FailureKind.NOT_FOUND),
        (Fault.BUSY, FailureKind.BUSY),
        (Fault.SERVER_ERROR, FailureKind.SERVER_ERROR),
        (Fault.LOADING_REFUSED, FailureKind.SERVER_ERROR),
        (Fault.ERROR_IN_STREAM, FailureKind.SERVER_ERROR),
        (Fault.CUT_STREAM, FailureKind.CONNECTION_LOST),
        (Fault.JUNK, FailureKind.BAD_RESPONSE),
        (Fault.DRIP, FailureKind.DEADLINE),
        (Fault.DRIP_HEADERS, FailureKind.DEADLINE),
        (Fault.NEVER_ANSWERS, FailureKind.DEADLINE),
    ],
)
def test_a_fault_of_the_server_is_a_failure_of_its_own_kind(
    openai: OpenAICompatibleRuntime, judge: FakeModel, fault: Fault, kind: FailureKind
) -> None:
    judge.fault = fault
    stalls = kind is FailureKind.DEADLINE
    failure = failure_of(lambda: ask(openai, SOON_S if stalls else AMPLE_S))
    assert failure.kind is kind
    assert "judge:7b" in str(failure)
    assert "SECRET-POSTING" not in str(failure)


@pytest.mark.parametrize(
    ("fault", "complete", "done_reason", "text"),
    [
        (Fault.GOOD, True, "stop", "[PASS] fine"),
        (Fault.LENGTH, True, "length", "[PASS]"),
        (Fault.EMPTY_CONTENT, True, "stop", ""),
        (Fault.DONE_FALSE, False, "unfinished", "[PASS] fine"),
        (Fault.ENDED_WITHOUT_DONE, False, "unfinished", "[PASS]"),
    ],
)
def test_a_reply_says_how_it_ended(
    openai: OpenAICompatibleRuntime,
    judge: FakeModel,
    fault: Fault,
    complete: bool,
    done_reason: str,
    text: str,
) -> None:
    judge.fault = fault
    reply = ask(openai)
    assert (reply.complete, reply.done_reason, reply.text.strip()) == (complete, done_reason, text)


def test_a_closed_port_is_unavailable(closed_port: int) -> None:
    with OpenAICompatibleRuntime(f"http://127.0.0.1:{closed_port}/v1", None) as runtime:
        failure = failure_of(lambda: ask(runtime))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert f"http://127.0.0.1:{closed_port}/v1" in str(failure)


def test_the_options_of_the_protocol_arrive_at_the_server(openai: OpenAICompatibleRuntime, server: FakeOllama) -> None:
    schema = {"type": "object"}
    openai.call(JUDGE, user_request(PROMPT), DECODING.model_copy(update={"json_schema": schema}), AMPLE_S)
    assert server.requests("/v1/chat/completions")[-1].body == {
        "model": "judge:7b",
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 64,
        "temperature": 0.5,
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": schema},
        },
    }


@pytest.mark.parametrize(
    ("status", "words", "ends"),
    [
        (400, "This model's maximum context length is 4096 tokens", "raise decoding.num_ctx or shorten the prompt"),
        (400, "unknown field seed", "answered 400: unknown field seed"),
        (401, "invalid key", "answered 401: invalid key; set BENCH_OPENAI_API_KEY to a key that the server knows"),
    ],
)
def test_what_the_server_refuses_every_time_is_unsupported(
    openai: OpenAICompatibleRuntime,
    judge: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    words: str,
    ends: str,
) -> None:
    monkeypatch.setitem(SCRIPTS, Fault.SERVER_ERROR, replace(SCRIPTS[Fault.SERVER_ERROR], status=status, error=words))
    judge.fault = Fault.SERVER_ERROR
    failure = failure_of(lambda: ask(openai))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert str(failure).endswith(ends)


def test_cached_tokens_are_kept(openai: OpenAICompatibleRuntime, judge: FakeModel) -> None:
    judge.cached_tokens = 3
    assert ask(openai).timings.cached_prompt_tokens == 3


def test_the_servers_token_counts_are_kept(openai: OpenAICompatibleRuntime) -> None:
    timings = ask(openai).timings
    assert (timings.prompt_tokens, timings.generated_tokens) == (len(PROMPT.split()), 2)


def test_a_server_that_counts_no_tokens_is_no_error(openai: OpenAICompatibleRuntime, judge: FakeModel) -> None:
    judge.fault = Fault.DONE_FALSE
    assert ask(openai).timings.prompt_tokens is None


def test_thinking_is_kept_apart(openai: OpenAICompatibleRuntime, judge: FakeModel) -> None:
    judge.thinking = "let me see"
    reply = ask(openai)
    assert (reply.thinking, reply.text) == ("let me see", "[PASS] fine")


def test_loading_asks_for_one_token(openai: OpenAICompatibleRuntime, server: FakeOllama) -> None:
    assert openai.load(JUDGE, DECODING, AMPLE_S).load_ns > 0
    assert server.requests("/v1/chat/completions")[-1].body["max_tokens"] == 1


def test_unloading_asks_for_nothing(openai: OpenAICompatibleRuntime, server: FakeOllama) -> None:
    openai.unload(JUDGE)
    assert server.log == []


def test_a_listed_model_is_known_by_its_name_only(openai: OpenAICompatibleRuntime) -> None:
    identity = openai.describe(JUDGE)
    assert identity.model_dump(exclude_none=True) == {
        "name": "judge:7b",
        "runtime": "openai",
        "capabilities": (),
        "remote": False,
    }


def test_a_model_that_the_server_does_not_list_is_not_found(
    openai: OpenAICompatibleRuntime, server: FakeOllama
) -> None:
    failure = failure_of(lambda: openai.describe(replace(JUDGE, address="gone")))
    assert failure.kind is FailureKind.NOT_FOUND
    assert str(failure) == f"gone is not served at {server.url}/v1; use a name that {server.url}/v1/models lists"


def test_a_server_that_lists_nothing_may_still_serve(openai: OpenAICompatibleRuntime, server: FakeOllama) -> None:
    server.models.clear()
    assert openai.describe(JUDGE).name == "judge:7b"


def test_a_server_without_a_list_may_still_serve(server: FakeOllama) -> None:
    with OpenAICompatibleRuntime(f"{server.url}/v2", None) as runtime:
        assert runtime.describe(JUDGE).name == "judge:7b"


def test_the_key_is_in_no_message(
    openai: OpenAICompatibleRuntime, judge: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = replace(SCRIPTS[Fault.SERVER_ERROR], error="the key sk-canary is wrong")
    monkeypatch.setitem(SCRIPTS, Fault.SERVER_ERROR, script)
    judge.fault = Fault.SERVER_ERROR
    message = str(failure_of(lambda: ask(openai)))
    assert message.endswith("the key (key) is wrong")
    assert "sk-canary" not in repr(openai)


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-1\nHost: elsewhere"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(InputError) as caught:
        OpenAICompatibleRuntime("http://127.0.0.1/v1", key)
    assert key not in str(caught.value)


def test_an_impossible_address_is_unsupported() -> None:
    failure = failure_of(lambda: OpenAICompatibleRuntime("http://127.0.0.1:port/v1", None))
    assert failure.kind is FailureKind.UNSUPPORTED
