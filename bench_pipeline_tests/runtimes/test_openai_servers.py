"""What each kind of OpenAI-compatible server is recognised by, asked for, refused and made to unload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.request import user_request
from bench_pipeline.runtimes import openai_servers as servers
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline.runtimes.openai_servers import Listed, OpenAIServer, recognised
from bench_pipeline_tests.fakes.recorded_server import Recorded, RecordedServer

MODEL = ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "m")
WHOLE = {"choices": [{"index": 0, "message": {"content": "[PASS]"}, "finish_reason": "stop"}]}
SCHEMA = {"type": "object"}
NAMED_SCHEMA = {"name": "reply", "strict": True, "schema": SCHEMA}
GRAMMAR = 'root ::= "a"'
AMPLE_S = 10.0
# What a server says of its models, by the name of its kind: from its source, see openai_servers.py.
SAID: dict[str, dict[str, Any]] = {
    "vLLM": {"id": "m", "owned_by": "vllm", "max_model_len": 4096},
    "SGLang": {"id": "m", "owned_by": "sglang"},
    "llama.cpp's server": {"id": "m", "owned_by": "llamacpp", "meta": None},
    "llama.cpp's server in router mode": {"id": "m", "owned_by": "llamacpp", "status": {"value": "unloaded"}},
    "llama-swap": {"id": "m", "owned_by": "llama-swap", "status": {"value": "unloaded"}},
    "LM Studio": {"id": "m", "object": "model", "owned_by": "organization_owner"},
    "TGI": {"id": "m", "created": 0, "owned_by": "m"},
    "text-generation-webui": {"id": "m", "created": 0, "owned_by": "user"},
    "Ollama's /v1": {"id": "m", "owned_by": "library"},
    "LiteLLM": {"id": "m", "created": 1677610602, "owned_by": "openai"},
    "an unrecognised OpenAI-compatible server": {"id": "m", "owned_by": "somebody"},
}


@contextmanager
def runtime_of(kind: str, **answers: object) -> Iterator[tuple[OpenAICompatibleRuntime, RecordedServer]]:
    """The runtime of a server of this kind, which answers `answers` at paths that are written with `__` for `/`."""
    paths = {f"/{path.replace('__', '/')}": answer for path, answer in answers.items()}
    known = {"/v1/models": {"data": [SAID[kind]]}, "/v1/chat/completions": WHOLE, "/v1/completions": WHOLE}
    with (
        RecordedServer(known | paths) as server,
        OpenAICompatibleRuntime(f"{server.url}/v1", None, 4096) as runtime,
    ):
        runtime.describe(MODEL)
        yield runtime, server


def server_named(kind: str) -> OpenAIServer:
    return recognised([Listed.model_validate(SAID[kind])])


def body_of(kind: str, **decoding: object) -> dict[str, Any]:
    """What is sent to a server of this kind."""
    with runtime_of(kind) as (runtime, server):
        runtime.call(MODEL, user_request("Hi"), DecodingOptions(**decoding), AMPLE_S)  # type: ignore[arg-type]
        return next(one.body for one in server.asked if one.method == "POST")


@pytest.mark.parametrize("kind", SAID)
def test_a_server_is_recognised_by_what_it_says_of_its_models(kind: str) -> None:
    assert server_named(kind).name == kind


def test_one_model_that_was_made_when_litellm_says_is_no_litellm() -> None:
    """OpenAI's own gpt-3.5-turbo has that date."""
    models = [Listed(id="gpt-3.5-turbo", owned_by="openai", created=1677610602), Listed(id="o3", owned_by="system")]
    assert recognised(models) is servers.UNRECOGNISED


def test_a_server_that_lists_nothing_is_not_recognised() -> None:
    assert recognised([]) is servers.UNRECOGNISED


# Thinking

TEMPLATE_OFF = {"chat_template_kwargs": {"enable_thinking": False}}


@pytest.mark.parametrize(
    ("kind", "think", "sent"),
    [
        ("vLLM", "off", TEMPLATE_OFF),
        ("SGLang", "off", TEMPLATE_OFF),
        ("llama.cpp's server", "off", TEMPLATE_OFF),
        ("llama-swap", "off", TEMPLATE_OFF),
        ("vLLM", "on", {"chat_template_kwargs": {"enable_thinking": True}}),
        ("vLLM", "low", {"chat_template_kwargs": {"reasoning_effort": "low"}}),
        ("text-generation-webui", "off", {"enable_thinking": False}),
        ("text-generation-webui", "high", {"reasoning_effort": "high"}),
        ("Ollama's /v1", "off", {"reasoning_effort": "none"}),
        ("Ollama's /v1", "on", {"reasoning_effort": "medium"}),
        ("LM Studio", "off", {"reasoning_effort": "none"}),
        ("LiteLLM", "off", {}),
        ("LiteLLM", "high", {"reasoning_effort": "high"}),
        ("an unrecognised OpenAI-compatible server", "off", {}),
        ("an unrecognised OpenAI-compatible server", "low", {"reasoning_effort": "low"}),
        ("vLLM", "default", {}),
    ],
)
def test_thinking_is_asked_for_in_the_way_that_the_server_knows(kind: str, think: str, sent: dict[str, Any]) -> None:
    body = body_of(kind, think=think)
    fields = ("chat_template_kwargs", "enable_thinking", "reasoning_effort")
    assert {name: body[name] for name in fields if name in body} == sent


def test_arguments_of_the_template_are_kept_beside_thinking() -> None:
    """DeepSeek V3 and Kimi K2 call it `thinking`: SGLang's protocol.py."""
    body = body_of("SGLang", options={"chat_template_kwargs": {"thinking": False}})
    assert body["chat_template_kwargs"] == {"thinking": False, "enable_thinking": False}


# Constraints and options


@pytest.mark.parametrize(
    ("kind", "decoding", "sent"),
    [
        ("llama.cpp's server", {"grammar": GRAMMAR}, {"grammar": GRAMMAR}),
        ("vLLM", {"grammar": GRAMMAR}, {"structured_outputs": {"grammar": GRAMMAR}}),
        ("SGLang", {"grammar": GRAMMAR}, {"ebnf": GRAMMAR}),
        ("text-generation-webui", {"grammar": GRAMMAR}, {"grammar_string": GRAMMAR}),
        ("vLLM", {"format": "json"}, {"response_format": {"type": "json_object"}}),
        (
            "vLLM",
            {"json_schema": SCHEMA},
            {"response_format": {"type": "json_schema", "json_schema": NAMED_SCHEMA}},
        ),
        (
            "TGI",
            {"json_schema": SCHEMA},
            {"response_format": {"type": "json_schema", "value": NAMED_SCHEMA}},
        ),
        ("vLLM", {"options": {"top_k": 20, "stop": ["x"]}}, {"top_k": 20, "stop": ["x"]}),
        ("LM Studio", {"options": {"repeat_penalty": 1.1}}, {"repeat_penalty": 1.1}),
    ],
)  # fmt: skip
def test_constraints_and_options_are_sent_in_the_way_that_the_server_knows(
    kind: str, decoding: dict[str, Any], sent: dict[str, Any]
) -> None:
    body = body_of(kind, **decoding)
    assert {name: body[name] for name in sent} == sent


def test_a_temperature_and_a_seed_of_null_are_not_sent() -> None:
    assert not {"temperature", "seed"} & body_of("vLLM", temperature=None, seed=None).keys()


def test_a_raw_prompt_is_sent_to_completions() -> None:
    with runtime_of("vLLM") as (runtime, server):
        terms = DecodingOptions(endpoint="generate", raw=True)
        reply = runtime.call(MODEL, user_request("Hi"), terms, AMPLE_S)
        (body,) = server.bodies("/v1/completions")
    assert (body["prompt"], reply.text) == ("Hi", "[PASS]")
    assert not {"messages", "suffix", "chat_template_kwargs"} & body.keys()


def test_a_text_after_the_reply_is_sent_where_the_server_takes_one() -> None:
    """OpenAI's own API has it; TGI refuses it, and vLLM, SGLang and llama.cpp ignore it or refuse it."""
    request, terms = replace(user_request("def f("), suffix="return 1"), DecodingOptions(endpoint="generate", raw=True)
    with runtime_of("an unrecognised OpenAI-compatible server") as (runtime, server):
        runtime.call(MODEL, request, terms, AMPLE_S)
        assert server.bodies("/v1/completions")[0]["suffix"] == "return 1"
    with runtime_of("vLLM") as (runtime, _), pytest.raises(RuntimeFailure, match=r"remove prompt\.suffix"):
        runtime.call(MODEL, request, terms, AMPLE_S)


@pytest.mark.parametrize(
    ("kind", "decoding", "refusal"),
    [
        ("vLLM", {"options": {"topk": 2}}, "vLLM would ignore decoding.options: topk; did you mean top_k?"),
        ("vLLM", {"options": {"truncate_prompt_tokens": 9}}, "would ignore decoding.options: truncate_prompt_tokens"),
        ("TGI", {"options": {"logit_bias": {}}}, "TGI would ignore decoding.options: logit_bias"),
        ("an unrecognised OpenAI-compatible server", {"options": {"top_k": 2}}, "did you mean top_p?"),
        ("an unrecognised OpenAI-compatible server", {"think": "on"}, "cannot be told to think; set decoding.think to"),
        ("vLLM", {"keep_alive": "5m"}, "remove decoding.keep_alive, or write ollama:NAME@HOST"),
        ("LM Studio", {"format": "json"}, "no JSON mode; constrain the reply by decoding.json_schema: {type: object}"),
        ("text-generation-webui", {"json_schema": SCHEMA}, "no JSON schema; constrain the reply by decoding.grammar"),
        ("text-generation-webui", {"format": "json"}, "no JSON mode; constrain the reply by decoding.grammar"),
        ("LiteLLM", {"grammar": GRAMMAR}, "LiteLLM has no grammar; constrain the reply by decoding.json_schema"),
        ("vLLM", {"endpoint": "generate"}, "set decoding.raw: true, or decoding.endpoint: chat"),
        ("LiteLLM", {"endpoint": "generate", "raw": True}, "no prompt without a chat template; set decoding.endpoint"),
        ("Ollama's /v1", {"endpoint": "generate", "raw": True}, "no prompt without a chat template"),
        (
            "vLLM",
            {"endpoint": "generate", "raw": True, "format": "json"},
            "only in a chat; set decoding.endpoint: chat",
        ),
        ("vLLM", {"endpoint": "generate", "raw": True, "think": "low"}, "only in a chat; set decoding.endpoint: chat"),
    ],
)
def test_what_a_server_cannot_be_asked_for_is_refused_with_the_remedy(
    kind: str, decoding: dict[str, Any], refusal: str
) -> None:
    with runtime_of(kind) as (runtime, _):
        told = runtime.refusal(Protocol(decoding=DecodingOptions(num_ctx=4096, **decoding)))
    assert refusal in str(told)


@pytest.mark.parametrize("kind", SAID)
def test_every_server_takes_the_terms_that_hold_by_default(kind: str) -> None:
    with runtime_of(kind) as (runtime, _):
        assert runtime.refusal(Protocol(decoding=DecodingOptions(num_ctx=4096))) is None


# Names


def test_a_name_that_a_pattern_covers_is_served() -> None:
    with (
        RecordedServer({"/v1/models": {"data": [{"id": "openai/*"}]}}) as server,
        OpenAICompatibleRuntime(f"{server.url}/v1", None) as runtime,
    ):
        assert runtime.describe(replace(MODEL, address="openai/mine")).name == "openai/mine"
        with pytest.raises(RuntimeFailure, match="is not served"):
            runtime.describe(replace(MODEL, address="other/mine"))


def test_litellm_is_asked_for_its_patterns_because_its_list_has_none() -> None:
    """Recorded of LiteLLM 1.108 with a model_list that has `openai/*`."""
    listed = {"data": [{"id": "judge", "created": 1677610602, "owned_by": "openai"}]}
    patterns = {"data": [*listed["data"], {"id": "openai/*", "created": 1677610602, "owned_by": "openai"}]}
    answers = {"/v1/models": listed, "/v1/models?return_wildcard_routes=true": patterns}
    with (
        RecordedServer(answers) as server,
        OpenAICompatibleRuntime(f"{server.url}/v1", None) as runtime,
    ):
        assert runtime.describe(replace(MODEL, address="openai/mine")).name == "openai/mine"


def test_describing_many_models_lists_them_once() -> None:
    with RecordedServer({"/v1/models": {"data": [{"id": str(n)} for n in range(9)]}}) as server:
        with OpenAICompatibleRuntime(f"{server.url}/v1", None) as runtime:
            for number in range(9):
                runtime.describe(replace(MODEL, address=str(number)))
        assert server.paths() == ["/v1/models"]


# Counting the tokens of a stream


@pytest.mark.parametrize(
    "refusal",
    [
        Recorded({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, 422),
        Recorded(
            {
                "object": "error",
                "message": {"detail": [{"loc": ["body", "stream_options", "include_usage"], "msg": "Extra inputs"}]},
                "type": "invalid_request_error",
            },
            422,
        ),
        Recorded({"error": {"message": "Validation error at #/stream_options: Extra inputs are not permitted"}}, 400),
    ],
)
def test_a_server_that_refuses_to_count_tokens_is_found_out_while_loading_and_never_in_a_call(
    refusal: Recorded,
) -> None:
    """openai/openai-agents-python #442 (Mistral), openai/openai-python #2296 (Azure), vybestack/llxprt-code #114."""
    with runtime_of("an unrecognised OpenAI-compatible server", v1__chat__completions=[refusal, Recorded(WHOLE)]) as (
        runtime,
        server,
    ):
        runtime.load(MODEL, DecodingOptions(), AMPLE_S)
        runtime.call(MODEL, user_request("Hi"), DecodingOptions(), AMPLE_S)
        asked = ["stream_options" in body for body in server.bodies("/v1/chat/completions")]
    assert asked == [True, False, False]


# The memory of the server

EMPTY: Mapping[str, object] = {"running": [], "models": [], "data": []}
MEMORY: dict[str, tuple[str, object, str, object]] = {
    "llama-swap": ("running", {"running": [{"model": "m", "state": "ready"}, {"model": "other/1b", "state": "ready"}]},
                   "/api/models/unload/other/1b", {}),
    "LM Studio": ("api__v1__models", {"models": [{"key": "m", "loaded_instances": [{"id": "m"}]},
                                                 {"key": "x", "loaded_instances": [{"id": "x:2"}]},
                                                 {"key": "y", "loaded_instances": []}]},
                  "/api/v1/models/unload", {"instance_id": "x:2"}),
    "llama.cpp's server in router mode": ("models", {"data": [{"id": "m", "status": {"value": "loaded"}},
                                                              {"id": "x", "status": {"value": "sleeping"}},
                                                              {"id": "y", "status": {"value": "unloaded"}}]},
                                          "/models/unload", {"model": "x"}),
    "Ollama's /v1": ("api__ps", {"models": [{"name": "m"}, {"name": "x"}]},
                     "/api/generate", {"model": "x", "keep_alive": 0, "stream": False}),
}  # fmt: skip


@pytest.mark.parametrize("kind", MEMORY)
def test_other_models_are_unloaded_before_one_is_loaded(kind: str) -> None:
    path, loaded, release, body = MEMORY[kind]
    answers = {path: [Recorded(loaded)] * 2 + [Recorded(EMPTY)], release.strip("/").replace("/", "__"): {}}
    with runtime_of(kind, **answers) as (runtime, server):
        runtime.load(MODEL, DecodingOptions(), AMPLE_S)
        posts = [one.path for one in server.asked if one.method == "POST"]
        assert posts == [release, "/v1/chat/completions"]
        assert server.bodies(release) == [body]


@pytest.mark.parametrize("kind", MEMORY)
def test_a_model_can_be_unloaded_so_cold_runs_are_supported(kind: str) -> None:
    path, loaded, release, _ = MEMORY[kind]
    own = release.replace("other/1b", "m").strip("/").replace("/", "__")
    with runtime_of(kind, **{path: loaded, own: {}}) as (runtime, server):
        assert runtime.refusal(Protocol(decoding=DecodingOptions(num_ctx=4096), cache_regime="cold")) is None
        runtime.unload(MODEL)
        assert [one.method for one in server.asked][-1] == "POST"
        assert "m" in (server.asked[-1].path.rsplit("/", 1)[-1], *(server.asked[-1].body or {}).values())


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("vLLM", "vLLM cannot unload a model; set BENCH_CACHE_REGIME=as_production"),
        ("an unrecognised OpenAI-compatible server", "cannot unload a model"),
        ("LM Studio", "LM Studio does not tell which models are loaded"),  # before 0.4 it had no such route
    ],
)
def test_cold_runs_are_refused_where_a_model_cannot_be_unloaded(kind: str, told: str) -> None:
    with runtime_of(kind) as (runtime, _):
        assert told in str(runtime.refusal(Protocol(decoding=DecodingOptions(num_ctx=4096), cache_regime="cold")))


def test_an_older_server_without_those_routes_is_measured_all_the_same() -> None:
    with runtime_of("LM Studio", api__v1__models={"error": "Unexpected endpoint or method."}) as (runtime, _):
        assert runtime.load(MODEL, DecodingOptions(), AMPLE_S).others == ()


def test_a_server_that_answers_with_whatever_is_loaded_is_told_what_to_load() -> None:
    """text-generation-webui ignores the model of a request: modules/api/typing.py calls it unused."""
    info = "v1__internal__model__info"
    states = [{"model_name": name} for name in ("x", "x", "x", "None", "None", "m")]
    answers = {info: [Recorded(state) for state in states]}
    answers |= {f"v1__internal__model__{route}": [Recorded("OK")] for route in ("unload", "load")}
    with runtime_of("text-generation-webui", **answers) as (runtime, server):
        runtime.load(MODEL, DecodingOptions(), AMPLE_S)
        posts = [one.path.rsplit("/", 1)[-1] for one in server.asked if one.method == "POST"]
        assert posts == ["unload", "load", "completions"]
        assert server.bodies("/v1/internal/model/load") == [{"model_name": "m"}]


def test_a_model_that_stays_in_memory_is_named_and_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_pipeline.runtimes.eviction.EVICTION_LIMIT_S", 0.3)
    path, loaded, release, _ = MEMORY["LM Studio"]
    answers = {path: loaded, release.strip("/").replace("/", "__"): {}}
    with runtime_of("LM Studio", **answers) as (runtime, server), pytest.raises(RuntimeFailure) as caught:
        runtime.load(MODEL, DecodingOptions(), AMPLE_S)
    assert caught.value.kind is FailureKind.UNSUPPORTED
    assert str(caught.value) == f"m: x:2 remains loaded at {server.url}/v1; stop the program that uses it"
