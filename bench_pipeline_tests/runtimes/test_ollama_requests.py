"""What an Ollama server is sent: the whole request of a task, and the forms of the server's address."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.validity import misplaced
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.model_ref import ollama_ref
from bench_pipeline.domain.models.request import Message, Request, user_request
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel

JUDGE = ollama_ref("judge:7b")
AMPLE_S = 10.0
SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}}
TALK = Request(
    (
        Message(role="system", content="You grade."),
        Message(role="user", content="First?"),
        Message(role="assistant", content="[PASS]"),
        Message(role="user", content="Second?"),
    )
)


def decoding(**fields: Any) -> DecodingOptions:  # noqa: ANN401
    return DecodingOptions(num_ctx=2048, num_predict=64, **fields)


def sent(
    runtime: OllamaRuntime,
    server: FakeOllama,
    request: Request = TALK,
    **fields: Any,  # noqa: ANN401
) -> tuple[str, Mapping[str, Any]]:
    """Call, and return the path and the body of what arrived."""
    runtime.call(JUDGE, request, decoding(**fields), AMPLE_S)
    return server.log[-1].path, server.log[-1].body


def thinks(judge: FakeModel, family: str = "qwen3") -> None:
    judge.capabilities, judge.family = ("completion", "thinking"), family


# The request


def test_every_message_arrives_with_its_role(ollama: OllamaRuntime, server: FakeOllama) -> None:
    path, body = sent(ollama, server)
    assert path == "/api/chat"
    assert [(one["role"], one["content"]) for one in body["messages"]] == [
        ("system", "You grade."),
        ("user", "First?"),
        ("assistant", "[PASS]"),
        ("user", "Second?"),
    ]


def test_options_are_passed_on_as_they_are(ollama: OllamaRuntime, server: FakeOllama) -> None:
    options = {"top_p": 0.9, "stop": ["###", "\n\n"], "num_gpu": 20, "use_mmap": False}
    _, body = sent(ollama, server, options=options)
    assert body["options"] == {"num_ctx": 2048, "num_predict": 64, "temperature": 0.0, "seed": 42} | options


def test_loading_has_the_same_options_as_a_call_so_that_no_call_loads_again(
    ollama: OllamaRuntime, server: FakeOllama
) -> None:
    asked = decoding(options={"num_gpu": 20, "num_batch": 256})
    ollama.load(JUDGE, asked, AMPLE_S)
    loading = server.requests("/api/chat")[-1].body["options"]
    ollama.call(JUDGE, TALK, asked, AMPLE_S)
    assert server.log[-1].body["options"] == loading


def test_what_is_left_to_the_server_is_not_sent(ollama: OllamaRuntime, server: FakeOllama) -> None:
    _, body = sent(ollama, server, temperature=None, seed=None)
    assert body["options"] == {"num_ctx": 2048, "num_predict": 64}


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        pytest.param({"options": {"top_q": 1}}, "would ignore decoding.options: top_q; did you mean top", id="typo"),
        pytest.param({"options": {"mirostat": 2}}, "Ollama would ignore decoding.options: mirostat", id="given up"),
        pytest.param({"options": {"top_p": 0.9, "tfs_z": 1, "numa": True}}, "tfs_z, numa", id="several"),
        pytest.param({"grammar": 'root ::= "yes"'}, "Ollama has no grammar", id="grammar"),
    ],
)
def test_what_the_server_would_ignore_silently_is_refused_by_name(
    ollama: OllamaRuntime, fields: dict[str, Any], refusal: str
) -> None:
    assert refusal in str(ollama.refusal(Protocol(decoding=decoding(**fields))))


def test_what_the_server_knows_is_not_refused(ollama: OllamaRuntime) -> None:
    options = {"top_k": 40, "min_p": 0.1, "repeat_penalty": 1.1, "num_keep": 5}
    assert ollama.refusal(Protocol(decoding=decoding(options=options, format="json", think="high"))) is None


@pytest.mark.parametrize(
    ("fields", "sent_format"),
    [({"json_schema": SCHEMA}, SCHEMA), ({"format": "json"}, "json"), ({}, None)],
    ids=["schema", "JSON mode", "text"],
)
def test_the_response_format_is_sent(
    ollama: OllamaRuntime, server: FakeOllama, fields: dict[str, Any], sent_format: object
) -> None:
    assert sent(ollama, server, **fields)[1].get("format") == sent_format


@pytest.mark.parametrize(
    ("keep_alive", "on_the_wire"), [(None, "7m"), ("30m", "30m"), ("-1", -1), (300, 300), ("1.5h", "1.5h")]
)
def test_the_time_to_stay_loaded_is_sent_as_ollama_reads_it(
    ollama: OllamaRuntime, server: FakeOllama, keep_alive: str | None, on_the_wire: object
) -> None:
    assert sent(ollama, server, keep_alive=keep_alive)[1]["keep_alive"] == on_the_wire


def test_one_prompt_goes_to_generate(ollama: OllamaRuntime, server: FakeOllama) -> None:
    request = Request((Message(role="system", content="Be brief."), Message(role="user", content="def f():")), "END")
    path, body = sent(ollama, server, request, endpoint="generate", raw=True)
    assert path == "/api/generate"
    parts = {"system": "Be brief.", "prompt": "def f():", "suffix": "END", "raw": True}
    assert {name: body[name] for name in parts} == parts
    assert "messages" not in body


def test_a_generated_reply_is_read_like_another(ollama: OllamaRuntime, judge: FakeModel) -> None:
    thinks(judge)
    judge.thinking = "Hm."
    reply = ollama.call(JUDGE, user_request("def f():"), decoding(endpoint="generate"), AMPLE_S)
    assert (reply.text, reply.thinking, reply.complete) == ("[PASS] fine", "Hm.", True)
    assert reply.timings.generated_tokens == 2


# Thinking


@pytest.mark.parametrize(
    ("family", "think", "on_the_wire"),
    [
        ("qwen3", "off", False),
        ("qwen3", "on", True),
        ("qwen3", "high", "high"),
        ("qwen3", "default", None),
        pytest.param("gptoss", "off", "low", id="gpt-oss cannot stop thinking, vectorize-io/hindsight 3246"),
        ("gptoss", "on", "medium"),
        ("gptoss", "high", "high"),
        ("gptoss", "default", None),
        pytest.param("gpt-oss", "off", "low", id="the family by its other name"),
    ],
)
def test_thinking_is_asked_for_in_a_way_that_the_model_can_keep(
    ollama: OllamaRuntime, server: FakeOllama, judge: FakeModel, family: str, think: str, on_the_wire: object
) -> None:
    thinks(judge, family)
    assert sent(ollama, server, think=think)[1].get("think") == on_the_wire


def test_a_model_that_cannot_think_is_asked_only_when_the_task_wants_it_to(
    ollama: OllamaRuntime, server: FakeOllama
) -> None:
    assert "think" not in sent(ollama, server, think="off")[1]
    assert ollama.wire(JUDGE, TALK, decoding(think="on")).body.count(b'"think": true') == 1


def test_thoughts_and_text_have_their_own_first_tokens(ollama: OllamaRuntime, judge: FakeModel) -> None:
    thinks(judge)
    judge.thinking = "Hm."
    reply = ollama.call(JUDGE, TALK, decoding(think="on"), AMPLE_S)
    assert reply.timings.thinking_tokens == 1
    assert reply.first_token_ns is not None
    assert reply.first_text_ns is not None
    assert 0 < reply.first_token_ns <= reply.first_text_ns <= reply.elapsed_ns


def test_without_thoughts_the_first_token_is_the_first_text(ollama: OllamaRuntime) -> None:
    reply = ollama.call(JUDGE, TALK, decoding(), AMPLE_S)
    assert reply.first_token_ns == reply.first_text_ns
    assert reply.timings.thinking_tokens is None


# The same bytes


REQUESTS = [
    pytest.param(TALK, {"options": {"stop": ["'\"$HOME`"]}}, id="chat"),
    pytest.param(
        user_request("naïve ✓ 'quoted' $(rm -rf x) \n漢字 \ud800"), {"json_schema": SCHEMA}, id="hostile text"
    ),
    pytest.param(user_request("def f():"), {"endpoint": "generate", "raw": True}, id="generate"),
]


@pytest.mark.parametrize(("request_", "fields"), REQUESTS)
def test_what_is_shown_is_byte_for_byte_what_a_call_sends(
    ollama: OllamaRuntime, server: FakeOllama, request_: Request, fields: dict[str, Any]
) -> None:
    shown = ollama.wire(JUDGE, request_, decoding(**fields))
    ollama.call(JUDGE, request_, decoding(**fields), AMPLE_S)
    called = server.log[-1]
    assert (shown.url, shown.body) == (f"{server.url}{called.path}", called.raw)
    assert {name: called.headers[name] for name in shown.headers} == shown.headers


# Addresses


@pytest.mark.parametrize("form", ["{host}", " {host} ", '"http://{host}"', "http://{host}/", "'{host}'"])
def test_every_form_of_the_address_reaches_the_server(server: FakeOllama, form: str) -> None:
    host = server.url.removeprefix("http://")
    with OllamaRuntime(form.format(host=host)) as runtime:
        assert runtime.describe(JUDGE).digest == "sha256:aa"


def test_user_and_password_are_sent(server: FakeOllama) -> None:
    """ollama/ollama-python 61 and open-webui/open-webui 2814: the package drops them."""
    with OllamaRuntime(server.url.replace("://", "://me:p%40ss@")) as runtime:
        runtime.describe(JUDGE)
        shown = runtime.wire(JUDGE, TALK, decoding())
    expected = base64.b64encode(b"me:p@ss").decode()
    assert {record.headers["authorization"] for record in server.log} == {f"Basic {expected}"}
    assert shown.headers["authorization"] == "Basic $BASIC_CREDENTIALS"
    assert "p@ss" not in shown.url


def test_an_api_key_is_sent_and_shown_as_its_variable(server: FakeOllama) -> None:
    with OllamaRuntime(server.url, api_key="sk-canary") as runtime:
        runtime.describe(JUDGE)
        shown = runtime.wire(JUDGE, TALK, decoding())
    assert {record.headers["authorization"] for record in server.log} == {"Bearer sk-canary"}
    assert shown.headers["authorization"] == "Bearer $OLLAMA_API_KEY"


def test_a_key_of_the_environment_is_not_sent_by_itself(server: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-canary")
    with OllamaRuntime(server.url) as runtime:
        runtime.describe(JUDGE)
    assert all("authorization" not in record.headers for record in server.log)


@pytest.mark.parametrize("key", ["naïve", "a\nb"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(server: FakeOllama, key: str) -> None:
    with pytest.raises(InputError, match="BENCH_OLLAMA_API_KEY contains characters") as refused:
        OllamaRuntime(server.url, api_key=key)
    assert key not in str(refused.value)


@pytest.mark.parametrize("host", ["::1", "http://[::1", '"http://x"', "ftp://x", "http://a:b@c:d"])
def test_the_package_is_imported_whatever_the_environment_holds(host: str) -> None:
    """Fosowl/agenticSeek 276: the import of the package fails on a value that it cannot read."""
    code = "from bench_pipeline.runtimes.ollama import OllamaRuntime; OllamaRuntime('http://127.0.0.1:9')"
    environment = os.environ | {"OLLAMA_HOST": host, "BENCH_OLLAMA_HOST": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_the_environment_is_as_before_after_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu-box")
    OllamaRuntime("http://127.0.0.1:9").close()
    assert os.environ["OLLAMA_HOST"] == "gpu-box"


# What the server says of its memory


GB = 1_000_000_000
AS_LISTED = {"name": "judge:7b", "model": "judge:7b", "digest": "sha256:aa", "size": 4 * GB, "size_vram": 4 * GB}


@pytest.mark.parametrize(
    ("models", "misplaced_on_gpu", "others"),
    [
        pytest.param([AS_LISTED], False, (), id="as it should be"),
        pytest.param([AS_LISTED | {"size_vram": 5 * GB}], False, (), id="more on the GPU than there is"),
        pytest.param([AS_LISTED | {"size": 0, "size_vram": 0}], False, (), id="no size at all"),
        pytest.param([AS_LISTED, AS_LISTED], False, (), id="the same model twice"),
        pytest.param([AS_LISTED | {"name": "JUDGE:7B"}], False, (), id="another case of the name"),
        pytest.param([AS_LISTED | {"name": "twin:1b"}], False, (), id="under the name of a twin with its digest"),
        pytest.param([{k: v for k, v in AS_LISTED.items() if k != "name"}], False, (), id="only under `model`"),
        pytest.param([AS_LISTED | {"size_vram": 3 * GB}], True, (), id="a quarter outside"),
        pytest.param([AS_LISTED, AS_LISTED | {"name": "x:1b", "digest": "sha256:x"}], False, ("x:1b",), id="another"),
        pytest.param([], False, (), id="nothing"),
        pytest.param(None, False, (), id="null"),
    ],
)
def test_a_list_of_loaded_models_is_read_whatever_it_holds(
    ollama: OllamaRuntime, server: FakeOllama, models: object, misplaced_on_gpu: bool, others: tuple[str, ...]
) -> None:
    """ollama/ollama 16637: figures that are counted twice or in part; 10300: a server that says GPU and is not."""
    server.answers["/api/ps"] = {"models": models}
    placement = ollama.placement(JUDGE)
    assert misplaced(placement, Protocol(placement="gpu")) is misplaced_on_gpu
    assert placement.others == others
