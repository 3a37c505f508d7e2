"""Real TLS connections that fail: what is wrong and what to do."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.runtimes.ollama import OllamaRuntime
from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime
from bench_pipeline_tests.fakes.recorded_server import Recorded, RecordedServer

MODEL = ModelRef(RuntimeKind.OPENAI_COMPATIBLE, "m")
ANSWERS = {"/v1/models": {"data": [{"id": "m"}]}}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def failure_of(action: Callable[[], object]) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as caught:
        action()
    return caught.value


def described(address: str) -> RuntimeFailure:
    with OpenAICompatibleRuntime(f"{address}/v1", None) as runtime:
        return failure_of(lambda: runtime.describe(MODEL))


def test_a_certificate_that_is_not_trusted_is_told_with_the_remedy(authority: trustme.CA) -> None:
    """Jeffser/Alpaca #1008, BerriAI/litellm #3794."""
    with RecordedServer(ANSWERS, tls(authority)) as server:
        failure = described(server.url)
        assert str(failure).startswith(f"{server.url}/v1: its certificate is not trusted (")
    assert str(failure).endswith("; name the file of its authority in SSL_CERT_FILE")
    assert failure.kind is FailureKind.UNAVAILABLE


def test_the_remedy_works(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with (
        RecordedServer(ANSWERS, tls(authority)) as server,
        OpenAICompatibleRuntime(f"{server.url}/v1", None) as runtime,
    ):
        assert runtime.describe(MODEL).name == "m"


def test_a_certificate_for_another_name_is_told(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with RecordedServer(ANSWERS, tls(authority, "elsewhere.example")) as server:
        assert "certificate is not valid for '127.0.0.1'" in str(described(server.url))


def test_https_to_a_port_that_speaks_http_is_told() -> None:
    with RecordedServer(ANSWERS) as server:
        failure = described(f"https://127.0.0.1:{server.port}")
    assert str(failure).endswith("it does not speak https; write http://")
    assert failure.kind is FailureKind.UNAVAILABLE


def test_http_to_a_port_that_speaks_https_is_told(authority: trustme.CA) -> None:
    with RecordedServer(ANSWERS, tls(authority)) as server:
        failure = described(f"http://127.0.0.1:{server.port}")
    assert str(failure).endswith("speaks https; write https:// in its address")
    assert failure.kind is FailureKind.UNAVAILABLE


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("Client sent an HTTP request to an HTTPS server.\n", id="Go"),
        pytest.param("<title>400 The plain HTTP request was sent to HTTPS port</title>", id="nginx"),
    ],
)
def test_a_server_that_says_that_it_speaks_https_is_believed(body: str) -> None:
    with RecordedServer({"/v1/models": Recorded(body, 400)}) as server:
        assert str(described(server.url)).endswith("speaks https; write https:// in its address")


@pytest.mark.parametrize("open_runtime", [lambda: OllamaRuntime("https://127.0.0.1"), lambda: described("https://h")])
def test_a_certificate_file_that_does_not_exist_is_named(
    open_runtime: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    failure = failure_of(open_runtime)
    assert str(failure) == (
        "SSL_CERT_FILE names /nowhere/ca.pem, which cannot be read as certificates; correct the path or unset it"
    )


def test_a_certificate_file_that_does_not_exist_is_no_matter_for_an_ollama_server_without_tls() -> None:
    """The package `ollama` reads the file when it is imported, so this needs a process of its own."""
    opened = "from bench_pipeline.runtimes.ollama import OllamaRuntime; OllamaRuntime('http://127.0.0.1').close()"
    environment = os.environ | {"SSL_CERT_FILE": "/nowhere/ca.pem"}
    done = subprocess.run([sys.executable, "-c", opened], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
