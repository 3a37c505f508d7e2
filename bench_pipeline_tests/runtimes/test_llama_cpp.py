"""A real model in this process: who it is, what it answers, when it is stopped and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from platformdirs import user_cache_path

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.base import Runtime
from bench_pipeline.runtimes.catalogue import BUILT_IN, Catalogue
from bench_pipeline.runtimes.llama_cpp import LlamaCppRuntime

pytestmark = pytest.mark.model

MODEL = ModelRef(RuntimeKind.LLAMA_CPP, "smollm2:135m")
SHORT = DecodingOptions(num_ctx=1024, num_predict=8)
ENDLESS = DecodingOptions(num_ctx=8192, num_predict=8000, json_schema={"type": "array", "minItems": 1000})
AMPLE_S = 300.0


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    cache = os.environ.get("BENCH_CACHE_DIR")
    catalogue = Catalogue(Path(cache) if cache else user_cache_path("bench_pipeline"))
    catalogue.fetch(MODEL.address)
    return catalogue


@pytest.fixture(scope="module")
def runtime(catalogue: Catalogue) -> Iterator[LlamaCppRuntime]:
    with LlamaCppRuntime(catalogue, threads=1) as runtime:
        yield runtime


def refused(runtime: Runtime, prompt: str, decoding: DecodingOptions, limit_s: float = AMPLE_S) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as failure:
        runtime.call(MODEL, user_request(prompt), decoding, limit_s)
    assert "\n" not in str(failure.value)
    return failure.value


def is_busy(runtime: LlamaCppRuntime) -> bool:
    return "llamacpp:requests_processing 1" in runtime._server.handle_metrics()


def test_the_identity_comes_from_the_file(runtime: LlamaCppRuntime) -> None:
    identity = runtime.describe(MODEL)
    assert identity.digest == BUILT_IN[0].sha256
    assert (identity.family, identity.parameter_size, identity.quantization) == ("llama", "135M", "Q4_1")
    assert (identity.size_bytes, identity.context_length) == (98_362_432, 8192)
    assert identity.template_hash
    assert str(identity.runtime_version).startswith("xllamacpp ")
    assert identity.capabilities == ("completion",)


def test_a_loaded_model_tells_its_memory_and_context(runtime: LlamaCppRuntime) -> None:
    runtime.close()
    report = runtime.load(MODEL, SHORT, AMPLE_S)
    assert report.load_ns > 0
    assert (report.memory_bytes or 0) > 50_000_000
    assert report.context_length == 1024


def test_a_context_beyond_the_trained_one_is_reported_as_it_is(runtime: LlamaCppRuntime) -> None:
    assert runtime.load(MODEL, DecodingOptions(num_ctx=9000), AMPLE_S).context_length == 8192


def test_a_reply_has_its_text_its_end_and_its_timings(runtime: LlamaCppRuntime) -> None:
    reply = runtime.call(MODEL, user_request("Say hello."), SHORT.model_copy(update={"num_predict": 64}), AMPLE_S)
    assert reply.text
    assert (reply.complete, reply.done_reason) == (True, "stop")
    assert reply.timings.load_ns is None
    assert 0 < (reply.timings.prompt_ns or 0) + (reply.timings.generation_ns or 0) <= reply.elapsed_ns
    assert (reply.timings.prompt_tokens or 0) > (reply.timings.cached_prompt_tokens or 0)


def test_a_reply_that_is_cut_off_says_so(runtime: LlamaCppRuntime) -> None:
    reply = runtime.call(MODEL, user_request("Write a long story about a river."), SHORT, AMPLE_S)
    assert (reply.complete, reply.done_reason, reply.timings.generated_tokens) == (True, "length", 8)


def test_the_same_call_has_the_same_answer(runtime: LlamaCppRuntime) -> None:
    texts = {runtime.call(MODEL, user_request("Name three colours."), SHORT, AMPLE_S).text for _ in range(3)}
    assert len(texts) == 1


def test_the_beginning_that_prompts_share_is_read_once(runtime: LlamaCppRuntime) -> None:
    template = "Read the posting with care and judge whether it is about a river. " * 8
    runtime.call(MODEL, user_request(f"{template} The first."), SHORT, AMPLE_S)
    second = runtime.call(MODEL, user_request(f"{template} Something else."), SHORT, AMPLE_S)
    assert (second.timings.cached_prompt_tokens or 0) > (second.timings.prompt_tokens or 0) / 2


def test_an_earlier_prompt_is_not_answered_from_memory(runtime: LlamaCppRuntime) -> None:
    def cached(prompt: str) -> int:
        return runtime.call(MODEL, user_request(prompt), SHORT, AMPLE_S).timings.cached_prompt_tokens or 0

    once = cached("apple " * 200)
    cached("river " * 200)
    assert cached("apple " * 200) <= once + 30


def test_a_schema_constrains_the_reply(runtime: LlamaCppRuntime) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["PASS", "FAIL"]}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
    decoding = DecodingOptions(num_ctx=1024, num_predict=40, json_schema=schema)
    reply = runtime.call(MODEL, user_request("Is two and two four?"), decoding, AMPLE_S)
    assert json.loads(reply.text)["verdict"] in {"PASS", "FAIL"}


def test_an_impossible_schema_is_refused_without_quoting_the_prompt(runtime: LlamaCppRuntime) -> None:
    decoding = SHORT.model_copy(update={"json_schema": {"type": "nonsense"}})
    failure = refused(runtime, "secret posting", decoding)
    assert failure.kind is FailureKind.UNSUPPORTED
    assert "secret" not in str(failure)


def test_a_prompt_longer_than_the_context_is_refused_with_both_counts(runtime: LlamaCppRuntime) -> None:
    failure = refused(runtime, "word " * 3000, SHORT)
    assert failure.kind is FailureKind.UNSUPPORTED
    assert "tokens, the context only 1024" in str(failure)


def test_a_deadline_in_the_prompt_stops_the_call_and_leaves_llama_cpp_idle(runtime: LlamaCppRuntime) -> None:
    decoding = DecodingOptions(num_ctx=8192, num_predict=8)
    runtime.load(MODEL, decoding, AMPLE_S)
    assert refused(runtime, "tale " * 7000, decoding, limit_s=0.001).kind is FailureKind.DEADLINE
    assert not is_busy(runtime)


def test_a_deadline_in_the_reply_stops_the_call_and_leaves_llama_cpp_idle(runtime: LlamaCppRuntime) -> None:
    runtime.load(MODEL, ENDLESS, AMPLE_S)
    assert refused(runtime, "Count.", ENDLESS, limit_s=1.0).kind is FailureKind.DEADLINE
    assert not is_busy(runtime)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts what it runs in the background with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_a_call(runtime: LlamaCppRuntime) -> None:
    runtime.load(MODEL, ENDLESS, AMPLE_S)
    over = threading.Event()

    def press_ctrl_c() -> None:
        while not is_busy(runtime) and not over.is_set():
            pass
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    fingers = threading.Thread(target=press_ctrl_c)
    fingers.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            runtime.call(MODEL, user_request("Count."), ENDLESS, AMPLE_S)
    finally:
        over.set()
        fingers.join()
    assert runtime.call(MODEL, user_request("Say hello."), SHORT, AMPLE_S).text


def test_unloading_gives_the_memory_back_even_after_a_failed_call(runtime: LlamaCppRuntime) -> None:
    process = psutil.Process()
    runtime.close()
    decoding = DecodingOptions(num_ctx=8192)
    taken = runtime.load(MODEL, decoding, AMPLE_S).memory_bytes or 0
    failure = refused(runtime, "word " * 9000, decoding)
    loaded = process.memory_info().rss
    runtime.unload(MODEL)
    assert loaded - process.memory_info().rss > taken / 2
    assert failure.kind is FailureKind.UNSUPPORTED


def test_unloading_another_model_leaves_this_one(runtime: LlamaCppRuntime) -> None:
    runtime.load(MODEL, SHORT, AMPLE_S)
    loaded = psutil.Process().memory_info().rss
    runtime.unload(ModelRef(RuntimeKind.LLAMA_CPP, "another:1b"))
    assert psutil.Process().memory_info().rss > loaded / 2
    runtime.unload(MODEL)
    runtime.unload(MODEL)


def test_a_load_beyond_its_limit_has_missed_its_deadline(runtime: LlamaCppRuntime) -> None:
    with pytest.raises(RuntimeFailure, match=r"the limit is 0\.0 s") as failure:
        runtime.load(MODEL, SHORT, 0.001)
    assert failure.value.kind is FailureKind.DEADLINE


def test_a_model_that_is_not_there_is_not_found(catalogue: Catalogue, tmp_path: Path) -> None:
    elsewhere = LlamaCppRuntime(Catalogue(tmp_path))
    with pytest.raises(RuntimeFailure, match="bench demo") as failure:
        elsewhere.describe(MODEL)
    assert failure.value.kind is FailureKind.NOT_FOUND
    with pytest.raises(RuntimeFailure, match="check the path") as failure:
        elsewhere.load(ModelRef(RuntimeKind.LLAMA_CPP, "/no/such.gguf"), SHORT, AMPLE_S)
    assert failure.value.kind is FailureKind.NOT_FOUND


@pytest.mark.parametrize("kept_bytes", [4, 5_000, 50_000_000])
def test_a_damaged_file_is_a_server_error_in_one_line(
    runtime: LlamaCppRuntime, catalogue: Catalogue, tmp_path: Path, kept_bytes: int
) -> None:
    damaged = tmp_path / "damaged.gguf"
    shutil.copyfile(catalogue.fetch(MODEL.address), damaged)
    os.truncate(damaged, kept_bytes)
    with pytest.raises(RuntimeFailure, match=r"damaged\.gguf: [^\n]+$") as failure:
        runtime.load(ModelRef(RuntimeKind.LLAMA_CPP, str(damaged)), SHORT, AMPLE_S)
    assert failure.value.kind is FailureKind.SERVER_ERROR


def test_llama_cpp_says_nothing_on_the_terminal(runtime: LlamaCppRuntime, capfd: pytest.CaptureFixture[str]) -> None:
    runtime.load(MODEL, SHORT, AMPLE_S)
    runtime.call(MODEL, user_request("Say hello."), SHORT, AMPLE_S)
    runtime.unload(MODEL)
    assert capfd.readouterr() == ("", "")
