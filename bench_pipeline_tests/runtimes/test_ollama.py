"""What the Ollama runtime asks for, returns and reports as failed, against a server on a real socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench_pipeline.domain.errors import FailureKind, InputError, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ollama_ref
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes import deadline
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline_tests.fakes.faults import SCRIPTS, Fault
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel, Resident

JUDGE = ollama_ref("judge:7b")
OTHER = ollama_ref("other:1b")
DECODING = DecodingOptions(num_ctx=2048, num_predict=64, temperature=0.5, seed=7)
PROMPT = "Is the posting sound? SECRET-POSTING"
SOON_S = 0.3
AMPLE_S = 10.0


def ask(runtime: OllamaRuntime, limit_s: float = AMPLE_S, decoding: DecodingOptions = DECODING) -> Reply:
    return runtime.call(JUDGE, user_request(PROMPT), decoding, limit_s)


def failure_of(action: Callable[[], object]) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as caught:
        action()
    return caught.value


# Calls


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.NOT_FOUND, FailureKind.NOT_FOUND),
        (Fault.BUSY, FailureKind.BUSY),
        (Fault.SERVER_ERROR, FailureKind.SERVER_ERROR),
        (Fault.ERROR_IN_STREAM, FailureKind.SERVER_ERROR),
        (Fault.CUT_STREAM, FailureKind.CONNECTION_LOST),
        (Fault.JUNK, FailureKind.BAD_RESPONSE),
        (Fault.DRIP, FailureKind.DEADLINE),
        (Fault.DRIP_HEADERS, FailureKind.DEADLINE),
        (Fault.NEVER_ANSWERS, FailureKind.DEADLINE),
    ],
)
def test_a_fault_of_the_server_is_a_failure_of_its_own_kind(
    ollama: OllamaRuntime, judge: FakeModel, fault: Fault, kind: FailureKind
) -> None:
    judge.fault = fault
    stalls = kind is FailureKind.DEADLINE
    failure = failure_of(lambda: ask(ollama, SOON_S if stalls else AMPLE_S))
    assert failure.kind is kind
    assert "judge:7b" in str(failure)
    assert "\n" not in str(failure)


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
    ollama: OllamaRuntime, judge: FakeModel, fault: Fault, complete: bool, done_reason: str, text: str
) -> None:
    judge.fault = fault
    reply = ask(ollama)
    assert (reply.complete, reply.done_reason, reply.text.strip()) == (complete, done_reason, text)


def test_a_closed_port_is_unavailable_and_the_message_says_where_and_what_to_do(closed_port: int) -> None:
    with OllamaRuntime(f"http://127.0.0.1:{closed_port}") as runtime:
        failure = failure_of(lambda: ask(runtime))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert str(failure) == (
        f"no Ollama server answers at http://127.0.0.1:{closed_port}; start it (ollama serve) or set BENCH_OLLAMA_HOST"
    )


def test_a_password_in_the_address_is_not_repeated(closed_port: int) -> None:
    with OllamaRuntime(f"http://me:hunter2@127.0.0.1:{closed_port}") as runtime:
        assert "hunter2" not in str(failure_of(lambda: ask(runtime)))


@pytest.mark.parametrize("host", ["http://127.0.0.1:99999", "http://me:hunter2@x:port", "http://[::1"])
def test_an_impossible_address_is_refused_without_repeating_it(host: str) -> None:
    with pytest.raises(InputError, match=r"^BENCH_OLLAMA_HOST ") as caught:
        OllamaRuntime(host)
    assert "hunter2" not in str(caught.value)


def test_a_server_of_another_kind_is_not_a_model_that_is_missing(server: FakeOllama) -> None:
    with OllamaRuntime(f"{server.url}/elsewhere") as runtime:
        failure = failure_of(lambda: runtime.describe(JUDGE))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert "is not an Ollama server" in str(failure)


def test_a_host_name_that_cannot_exist_is_unavailable() -> None:
    with OllamaRuntime(f"http://{'a' * 70}.invalid") as runtime:
        assert failure_of(lambda: runtime.describe(JUDGE)).kind is FailureKind.UNAVAILABLE


def test_the_runtime_works_on_after_a_call_that_ran_out_of_time(ollama: OllamaRuntime, judge: FakeModel) -> None:
    judge.fault, judge.fault_on_calls = Fault.NEVER_ANSWERS, {1}
    assert failure_of(lambda: ask(ollama, SOON_S)).kind is FailureKind.DEADLINE
    assert ask(ollama).text == "[PASS] fine"


def test_the_options_of_the_protocol_arrive_at_the_server(ollama: OllamaRuntime, server: FakeOllama) -> None:
    ask(ollama)
    body = server.requests("/api/chat")[-1].body
    assert body["options"] == {"num_ctx": 2048, "num_predict": 64, "temperature": 0.5, "seed": 7}
    assert body["messages"] == [{"role": "user", "content": PROMPT}]
    assert body["keep_alive"] == "7m"
    assert body["stream"] is True
    assert "format" not in body


def test_a_prompt_that_does_not_fit_is_to_be_refused_and_load_and_call_ask_so_alike(
    ollama: OllamaRuntime, server: FakeOllama
) -> None:
    """A `shift` that differs from the loaded runner's would load the model again within the call."""
    ollama.load(JUDGE, DECODING, AMPLE_S)
    ask(ollama)
    bodies = [record.body for record in server.requests("/api/chat")]
    assert [(body["truncate"], body["shift"]) for body in bodies] == [(False, False)] * 2


def test_a_prompt_that_does_not_fit_is_unsupported_and_told_with_the_remedy(ollama: OllamaRuntime) -> None:
    failure = failure_of(lambda: ollama.call(JUDGE, user_request("SECRET " * 2049), DECODING, AMPLE_S))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert str(failure).endswith(
        "the prompt is longer than the context length; raise decoding.num_ctx or shorten the prompt"
    )


def test_a_schema_is_sent_as_the_format(ollama: OllamaRuntime, server: FakeOllama) -> None:
    schema = {"type": "object", "properties": {"verdict": {"enum": ["PASS", "FAIL"]}}}
    ask(ollama, decoding=DecodingOptions(json_schema=schema))
    assert server.requests("/api/chat")[-1].body["format"] == schema


def test_the_time_to_load_is_no_part_of_the_latency(ollama: OllamaRuntime, judge: FakeModel) -> None:
    judge.load_ms = 100
    reply = ask(ollama)
    assert reply.timings.load_ns is not None
    assert reply.timings.load_ns >= 100e6
    assert reply.latency_ns == reply.elapsed_ns - reply.timings.load_ns


def test_the_servers_own_account_is_kept(ollama: OllamaRuntime, judge: FakeModel) -> None:
    judge.latency_ms, judge.cached_tokens = 5, 3
    timings = ask(ollama).timings
    assert None not in (timings.total_ns, timings.prompt_ns, timings.generation_ns)
    assert timings.prompt_tokens == len(PROMPT.split())
    assert timings.generated_tokens == 2
    assert timings.cached_prompt_tokens == 3


def test_an_account_without_cached_tokens_is_not_zero_cached_tokens(ollama: OllamaRuntime) -> None:
    assert ask(ollama).timings.cached_prompt_tokens is None


def test_thinking_is_switched_off_and_what_still_comes_is_kept_apart(
    ollama: OllamaRuntime, server: FakeOllama, judge: FakeModel
) -> None:
    judge.capabilities, judge.thinking = ("completion", "thinking"), "let me see"
    reply = ask(ollama)
    assert (reply.thinking, reply.text) == ("let me see", "[PASS] fine")
    assert server.requests("/api/chat")[-1].body["think"] is False


def test_a_model_that_cannot_think_is_not_told_about_it(ollama: OllamaRuntime, server: FakeOllama) -> None:
    ask(ollama)
    assert "think" not in server.requests("/api/chat")[-1].body


@pytest.mark.parametrize("prompt", ["naïve ✓ 漢字", "a lone surrogate \ud800", "a NUL \x00", 'quotes " \\ \n'])
def test_any_text_can_be_sent(ollama: OllamaRuntime, server: FakeOllama, prompt: str) -> None:
    ollama.call(JUDGE, user_request(prompt), DECODING, AMPLE_S)
    assert server.requests("/api/chat")[-1].body["messages"][0]["content"] == prompt


def test_one_connection_serves_many_calls(ollama: OllamaRuntime, server: FakeOllama) -> None:
    for _ in range(5):
        ask(ollama)
    assert len(server.connections) == 1


def test_neither_prompt_nor_reply_is_in_a_message(
    ollama: OllamaRuntime, judge: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = replace(SCRIPTS[Fault.ERROR_IN_STREAM], error=f"error parsing reply: raw='{PROMPT}'")
    monkeypatch.setitem(SCRIPTS, Fault.ERROR_IN_STREAM, script)
    judge.fault = Fault.ERROR_IN_STREAM
    message = str(failure_of(lambda: ask(ollama)))
    assert message == "judge:7b: the server reported an error: error parsing reply"


@pytest.mark.parametrize(
    "junk",
    [
        b"<html>",
        b"[1]\n",
        b"[" * 100_000,
        b'{"done": true, "eval_count": ' + b"9" * 5000 + b"}",
        b"\xff\xfe",
        b'{"message": 5}',
        b'{"message": {"content": null}}',
        b'{"load_duration": -1}',
    ],
)
def test_junk_in_a_reply_is_a_bad_response_and_is_not_repeated(
    ollama: OllamaRuntime, judge: FakeModel, monkeypatch: pytest.MonkeyPatch, junk: bytes
) -> None:
    monkeypatch.setitem(SCRIPTS, Fault.JUNK, replace(SCRIPTS[Fault.JUNK], junk=junk))
    judge.fault = Fault.JUNK
    failure = failure_of(lambda: ask(ollama))
    assert failure.kind is FailureKind.BAD_RESPONSE
    assert str(failure) == "judge:7b: the server's answer does not follow its API"


def test_an_answer_without_end_is_refused(
    ollama: OllamaRuntime, judge: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "LONGEST_ANSWER_BYTES", 10_000)
    judge.answers = lambda _: "x" * 20_000
    assert failure_of(lambda: ask(ollama)).kind is FailureKind.BAD_RESPONSE


# Loading


def test_other_models_are_unloaded_before_one_is_loaded(ollama: OllamaRuntime, server: FakeOllama) -> None:
    ollama.load(OTHER, DECODING, AMPLE_S)
    ollama.load(JUDGE, DECODING, AMPLE_S)
    assert list(server.resident) == ["judge:7b"]
    unload, load = server.requests("/api/chat")[-2:]
    assert (unload.model, unload.body["keep_alive"]) == ("other:1b", 0)
    assert (load.model, load.loaded) == ("judge:7b", True)


def test_loading_waits_until_the_others_are_gone(ollama: OllamaRuntime, server: FakeOllama) -> None:
    server.linger_polls = 2
    ollama.load(OTHER, DECODING, AMPLE_S)
    ollama.load(JUDGE, DECODING, AMPLE_S)
    assert list(server.resident) == ["judge:7b"]


def test_a_model_that_stays_loaded_is_named(ollama: OllamaRuntime, server: FakeOllama) -> None:
    server.linger_polls = 1_000_000
    ollama.load(OTHER, DECODING, AMPLE_S)
    failure = failure_of(lambda: ollama.load(JUDGE, DECODING, SOON_S))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert "other:1b remains loaded" in str(failure)


def test_a_model_that_stayed_loaded_once_is_not_waited_for_again(ollama: OllamaRuntime, server: FakeOllama) -> None:
    server.linger_polls = 1_000_000
    ollama.load(OTHER, DECODING, AMPLE_S)
    failure_of(lambda: ollama.load(JUDGE, DECODING, SOON_S))
    looks = len(server.requests("/api/ps"))
    assert "other:1b remains loaded" in str(failure_of(lambda: ollama.load(JUDGE, DECODING, AMPLE_S)))
    assert len(server.requests("/api/ps")) == looks + 2


def test_a_model_that_stayed_loaded_and_is_gone_is_no_longer_in_the_way(
    ollama: OllamaRuntime, server: FakeOllama
) -> None:
    server.linger_polls = 1_000_000
    ollama.load(OTHER, DECODING, AMPLE_S)
    failure_of(lambda: ollama.load(JUDGE, DECODING, SOON_S))
    server.resident.clear()
    assert ollama.load(JUDGE, DECODING, AMPLE_S).load_ns > 0


def test_with_no_other_model_resident_nothing_is_polled(ollama: OllamaRuntime, server: FakeOllama) -> None:
    ollama.load(JUDGE, DECODING, AMPLE_S)
    assert len(server.requests("/api/ps")) == 2


def test_calls_do_not_load_the_model_again(ollama: OllamaRuntime, server: FakeOllama) -> None:
    ollama.load(JUDGE, DECODING, AMPLE_S)
    ask(ollama)
    assert [record.loaded for record in server.requests("/api/chat")] == [True, False]


def test_the_report_says_what_the_server_holds(ollama: OllamaRuntime, judge: FakeModel) -> None:
    judge.size_bytes, judge.vram_bytes = 5_000, 3_000
    report = ollama.load(JUDGE, DECODING, AMPLE_S)
    assert (report.memory_bytes, report.vram_bytes, report.context_length) == (5_000, 3_000, 2048)
    assert report.load_ns > 0


def test_another_name_of_the_same_weights_is_not_unloaded(ollama: OllamaRuntime, server: FakeOllama) -> None:
    server.models["alias:7b"] = FakeModel(digest="sha256:aa")
    server.resident["alias:7b"] = Resident(2048)
    ollama.load(JUDGE, DECODING, AMPLE_S)
    assert "alias:7b" in server.resident


def test_a_refused_load_says_why(ollama: OllamaRuntime, judge: FakeModel) -> None:
    judge.fault = Fault.LOADING_REFUSED
    failure = failure_of(lambda: ollama.load(JUDGE, DECODING, AMPLE_S))
    assert failure.kind is FailureKind.SERVER_ERROR
    assert str(failure).endswith("answered 500: cudaMalloc failed: out of memory")


def test_a_load_that_takes_too_long_ends_at_its_deadline(ollama: OllamaRuntime, judge: FakeModel) -> None:
    judge.load_ms = 60_000
    assert failure_of(lambda: ollama.load(JUDGE, DECODING, SOON_S)).kind is FailureKind.DEADLINE


def test_unloading_gives_the_memory_back(ollama: OllamaRuntime, server: FakeOllama) -> None:
    ollama.load(JUDGE, DECODING, AMPLE_S)
    ollama.unload(JUDGE)
    assert server.resident == {}


@pytest.mark.parametrize("name", ["judge:7b", "gone:7b"])
def test_unloading_what_is_not_loaded_is_no_error(ollama: OllamaRuntime, name: str) -> None:
    ollama.unload(ollama_ref(name))
