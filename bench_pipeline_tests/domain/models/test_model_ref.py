"""How `actors.execution_path` is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.models.model_ref import (
    ModelRef,
    RuntimeKind,
    UnknownExecutionPath,
    ollama_ref,
    parse_execution_path,
)
from bench_pipeline.domain.models.server_address import is_host_name, parse_ollama_host

OLLAMA, LLAMA_CPP, OPENAI = RuntimeKind.OLLAMA, RuntimeKind.LLAMA_CPP, RuntimeKind.OPENAI_COMPATIBLE
SHARED_DATA = Path(os.environ.get("BENCH_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.parametrize(
    ("path", "ref"),
    [
        ("ollama:qwen2.5:7b", ModelRef(OLLAMA, "qwen2.5:7b")),
        ("ollama:qwen2.5", ModelRef(OLLAMA, "qwen2.5:latest")),
        ("qwen2.5:7b", ModelRef(OLLAMA, "qwen2.5:7b")),
        ("  qwen2.5:7b\n", ModelRef(OLLAMA, "qwen2.5:7b")),
        ("hf.co/User/Model-GGUF:Q4_K_M", ModelRef(OLLAMA, "hf.co/User/Model-GGUF:Q4_K_M")),
        ("ollama:hf.co/User/Model-GGUF", ModelRef(OLLAMA, "hf.co/User/Model-GGUF:latest")),
        ("MFDoom/x:1", ModelRef(OLLAMA, "MFDoom/x:1")),
        ("mfdoom/x:1", ModelRef(OLLAMA, "mfdoom/x:1")),
        ("ollama:localhost:5000/team/x:7b", ModelRef(OLLAMA, "localhost:5000/team/x:7b")),
        ("ollama:qwen2.5:7b@gpu-box", ModelRef(OLLAMA, "qwen2.5:7b", host="gpu-box")),
        ("qwen2.5:7b@GPU_1", ModelRef(OLLAMA, "qwen2.5:7b", host="gpu_1")),
        (
            "ollama:hf.co/unsloth/Llama-3.2-1B:Q4_K_M@1gpu",
            ModelRef(OLLAMA, "hf.co/unsloth/Llama-3.2-1B:Q4_K_M", host="1gpu"),
        ),
        ("ollama:qwen2.5:7b@localhost", ModelRef(OLLAMA, "qwen2.5:7b", "http://localhost:11434")),
        ("ollama:qwen2.5:7b@10", ModelRef(OLLAMA, "qwen2.5:7b", "http://10:11434")),
        ("ollama:qwen2.5:7b@gpu.example", ModelRef(OLLAMA, "qwen2.5:7b", "http://gpu.example:11434")),
        ("qwen2.5:7b@gpu-box:8080", ModelRef(OLLAMA, "qwen2.5:7b", "http://gpu-box:8080")),
        ("ollama:qwen2.5@https://Gpu-Box/ollama", ModelRef(OLLAMA, "qwen2.5:latest", "https://gpu-box:443/ollama")),
        ("ollama:qwen2.5:7b@[::1]", ModelRef(OLLAMA, "qwen2.5:7b", "http://[::1]:11434")),
        ("llama_cpp:/models/x.Q4_K_M.gguf", ModelRef(LLAMA_CPP, "/models/x.Q4_K_M.gguf")),
        (r"llama_cpp:C:\models\x.gguf", ModelRef(LLAMA_CPP, r"C:\models\x.gguf")),
        ("llama_cpp:smollm2:135m", ModelRef(LLAMA_CPP, "smollm2:135m")),
        ("openai:http://localhost:8000/v1#m", ModelRef(OPENAI, "m", "http://localhost:8000/v1")),
        ("openai:https://gpu-1/v1/#org/m:7b#x", ModelRef(OPENAI, "org/m:7b#x", "https://gpu-1/v1")),
        ("openai:http://[::1]:8000/v1#m", ModelRef(OPENAI, "m", "http://[::1]:8000/v1")),
    ],
)
def test_an_execution_path_names_the_runtime_and_the_model(path: str, ref: ModelRef) -> None:
    assert parse_execution_path(path) == ref


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="empty"),
        pytest.param("   ", id="blank"),
        pytest.param("qwen2.5", id="bare name without a tag"),
        pytest.param("scripts/report.py", id="script"),
        pytest.param("/usr/bin/python3", id="program"),
        pytest.param(r"C:\models\x.gguf", id="Windows path"),
        pytest.param("http://localhost:11434", id="address"),
        pytest.param("https://api.openai.com/v1#gpt", id="address without openai:"),
        pytest.param("human", id="person"),
        pytest.param("ollama:", id="ollama without a model"),
        pytest.param("ollama:a:7b@", id="no host after the sign"),
        pytest.param("ollama:a:7b@me:hunter2@gpu-box", id="a password in the database"),
        pytest.param("ollama:a:7b@gpu-box:port", id="a port in words"),
        pytest.param("openai:http://[::1/v1#m", id="a bracket without its partner"),
        pytest.param("openai:http://gpu-box:port/v1#m", id="a port of a server in words"),
        pytest.param("ollama:a b:7b", id="space in the name"),
        pytest.param("ollama:../../etc/passwd", id="name that climbs"),
        pytest.param("ollama:qwen;rm -rf:7b", id="shell"),
        pytest.param("ollama:qwen:7b\nx", id="line break"),
        pytest.param("ollama:a:b:c", id="two tags"),
        pytest.param("ollama:-x:1", id="name that is an option"),
        pytest.param("llama_cpp:", id="llama_cpp without a file"),
        pytest.param("openai:", id="openai without an address"),
        pytest.param("openai:http://localhost:8000/v1", id="openai without a model"),
        pytest.param("openai:http://localhost:8000/v1#", id="openai with an empty model"),
        pytest.param("openai:localhost:8000/v1#m", id="openai without http"),
        pytest.param("openai:file:///etc/passwd#m", id="openai with a file"),
        pytest.param("openai:http://#m", id="openai without a host"),
        pytest.param("openai:http://user:key@gpu/v1#m", id="openai with a password"),
        pytest.param("openai:http://localhost@evil.example/v1#m", id="openai with a host that pretends"),
        pytest.param("openai:http://gpu/v1?key=secret#m", id="openai with a key in the query"),
        pytest.param("openai:http://gpu/v 1#m", id="openai with a space"),
    ],
)
def test_every_other_text_is_refused(path: str) -> None:
    with pytest.raises(UnknownExecutionPath):
        parse_execution_path(path)


@pytest.mark.parametrize("path", ["scripts/report.py", "openai:gpu#m", "ollama:a b"])
def test_the_refusal_is_one_line_with_the_text_and_the_forms_that_are_read(path: str) -> None:
    with pytest.raises(UnknownExecutionPath) as refused:
        parse_execution_path(path)
    message = str(refused.value)
    assert path.removeprefix("ollama:") in message
    assert "write" in message or "must have the form" in message
    assert "\n" not in message


names = st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,8}(/[A-Za-z0-9_.\-]{1,8}){0,2}(:[A-Za-z0-9_.\-]{1,8})?", fullmatch=True
)
addresses = st.from_regex(r"https?://[a-z0-9.\-]{1,9}(:[1-5][0-9]{0,4})?(/[a-z0-9]{1,4}){0,2}", fullmatch=True)
visible_text = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=20)
ollama_urls = st.builds(lambda host: parse_ollama_host(host).url, addresses)
host_names = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,8}[a-z0-9])?", fullmatch=True).filter(is_host_name)
refs = (
    names.map(ollama_ref)
    | st.builds(ModelRef, st.just(OLLAMA), names.map(lambda name: ollama_ref(name).address), ollama_urls)
    | st.builds(lambda name, host: ollama_ref(name).at(host), names, host_names)
    | st.builds(ModelRef, st.just(LLAMA_CPP), visible_text)
    | st.builds(ModelRef, st.just(OPENAI), visible_text, addresses)
)


@given(refs)
def test_the_canonical_form_is_read_back_as_the_same_model(ref: ModelRef) -> None:
    assert parse_execution_path(ref.execution_path) == ref


@given(st.text(max_size=30) | st.text(alphabet="ollama:openihttp/#.@ ", max_size=30))
def test_every_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        ref = parse_execution_path(text)
    except UnknownExecutionPath:
        return
    assert parse_execution_path(ref.execution_path) == ref


def test_every_name_of_the_ollama_library_is_read_with_and_without_its_scheme() -> None:
    file = SHARED_DATA / "ollama_library_names.txt"
    if not file.is_file():
        pytest.skip(f"{file} is absent; set BENCH_SHARED_DATA to the folder that holds it")
    library = file.read_text(encoding="utf-8").split()
    assert len(library) > 7000
    assert [parse_execution_path(name).address for name in library] == library
    assert [parse_execution_path(f"ollama:{name}").address for name in library] == library
    assert len({parse_execution_path(name).execution_path for name in library}) == len(set(library))
