"""What an Ollama server says about a model, without loading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef, ollama_ref
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel

JUDGE = ollama_ref("judge:7b")
OTHER = ollama_ref("other:1b")
DECODING = DecodingOptions(num_ctx=2048, num_predict=64, temperature=0.5, seed=7)
PROMPT = "Is the posting sound? SECRET-POSTING"
AMPLE_S = 10.0


def ask(runtime: OllamaRuntime, limit_s: float = AMPLE_S, decoding: DecodingOptions = DECODING) -> Reply:
    return runtime.call(JUDGE, user_request(PROMPT), decoding, limit_s)


def failure_of(action: Callable[[], object]) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as caught:
        action()
    return caught.value


def test_a_model_is_described_without_loading_it(ollama: OllamaRuntime, server: FakeOllama) -> None:
    identity = ollama.describe(JUDGE)
    assert identity.model_dump(exclude={"template_hash"}) == {
        "name": "judge:7b",
        "runtime": "ollama",
        "runtime_version": "0.33.0",
        "digest": "sha256:aa",
        "size_bytes": 4_000_000_000,
        "family": "fake",
        "parameter_size": "7B",
        "quantization": "Q4_K_M",
        "context_length": 32768,
        "capabilities": ("completion",),
        "remote": False,
    }
    assert server.requests("/api/chat") == []


def test_a_model_that_is_not_installed_is_named_with_the_remedy(ollama: OllamaRuntime, server: FakeOllama) -> None:
    failure = failure_of(lambda: ollama.describe(ollama_ref("gone:7b")))
    assert failure.kind is FailureKind.NOT_FOUND
    assert str(failure) == (f"gone:7b is not installed on the Ollama server at {server.url}; run `ollama pull gone:7b`")


@pytest.mark.parametrize("name", ["Judge:7B", "JUDGE:7b"])
def test_the_case_of_a_name_does_not_count(ollama: OllamaRuntime, name: str) -> None:
    assert ollama.describe(ollama_ref(name)).digest == "sha256:aa"


def test_a_name_without_a_tag_is_the_latest(ollama: OllamaRuntime, server: FakeOllama) -> None:
    server.models["hf.co/some/one:latest"] = FakeModel(digest="sha256:cc")
    bare = ModelRef(JUDGE.runtime, "hf.co/some/one")
    assert ollama.describe(bare).digest == "sha256:cc"


@pytest.mark.parametrize(
    ("name", "remote_host", "remote"),
    [
        ("judge:7b", None, False),
        ("judge:7b", "https://ollama.com", True),
        ("big:cloud", None, True),
        ("big:120b-cloud", None, True),
        ("cloud:7b", None, False),
    ],
)
def test_a_model_that_runs_elsewhere_is_marked(
    ollama: OllamaRuntime, server: FakeOllama, name: str, remote_host: str | None, remote: bool
) -> None:
    server.models[name] = FakeModel(remote_host=remote_host)
    assert ollama.describe(ollama_ref(name)).remote is remote


@pytest.mark.parametrize("change", [{"system": "Be kind."}, {"template": "x"}, {"parameters": ("top_k 1",)}])
def test_the_template_hash_tells_what_is_put_around_a_prompt(
    ollama: OllamaRuntime, server: FakeOllama, change: dict[str, object]
) -> None:
    before = ollama.describe(JUDGE).template_hash
    server.models["changed:7b"] = replace(server.models["judge:7b"], **change)
    with OllamaRuntime(server.url) as anew:
        assert anew.describe(ollama_ref("changed:7b")).template_hash != before


def test_a_model_whose_digest_and_server_are_the_same_is_not_asked_for_its_template_again(
    ollama: OllamaRuntime, server: FakeOllama
) -> None:
    first = ollama.describe(JUDGE)
    ollama.load(JUDGE, DECODING, AMPLE_S)  # makes it forget the list, not the template
    assert ollama.describe(JUDGE) == first
    assert len(server.requests("/api/show")) == 1


@pytest.mark.parametrize("version", ["0.34.0", "0.33.0"])
def test_after_an_update_of_the_server_it_is_asked_again(
    ollama: OllamaRuntime, server: FakeOllama, version: str
) -> None:
    ollama.describe(JUDGE)
    ollama.load(JUDGE, DECODING, AMPLE_S)
    server.version = version
    assert ollama.describe(JUDGE).runtime_version == version
    assert len(server.requests("/api/show")) == (1 if version == "0.33.0" else 2)


def test_the_order_in_which_the_server_prints_parameters_does_not_count(ollama: OllamaRuntime) -> None:
    assert ollama.describe(JUDGE).template_hash == ollama.describe(JUDGE).template_hash


def test_many_models_are_described_from_one_listing(ollama: OllamaRuntime, server: FakeOllama) -> None:
    for model in (JUDGE, OTHER, JUDGE, OTHER):
        ollama.describe(model)
    assert len(server.requests("/api/tags")) == 1


def test_a_model_that_was_pulled_again_during_its_run_shows_its_new_digest(
    ollama: OllamaRuntime, server: FakeOllama, judge: FakeModel
) -> None:
    ollama.describe(JUDGE)
    ask(ollama)
    judge.digest, server.version = "sha256:new", "0.34.0"
    after = ollama.describe(JUDGE)
    assert (after.digest, after.runtime_version) == ("sha256:new", "0.34.0")


def test_a_proxy_in_the_environment_is_not_asked(
    server: FakeOllama, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    with OllamaRuntime(server.url) as runtime:
        assert ask(runtime).text == "[PASS] fine"
