"""The HTTP client of the `ollama` package, without its own reading of the environment.

The package reads `OLLAMA_HOST` and `SSL_CERT_FILE` when it is imported, and fails on forms that Ollama itself accepts
and on a file that does not exist; it sends `OLLAMA_API_KEY` to every host.
"""

from __future__ import annotations

import os
from base64 import b64encode
from types import ModuleType

import httpx

from bench_pipeline.domain.models.server_address import ServerAddress
from bench_pipeline.runtimes.deadline import TotalTimeoutTransport
from bench_pipeline.runtimes.wire import check_key

_READ_ON_IMPORT = ("OLLAMA_HOST", "SSL_CERT_FILE")


def ollama_client(address: ServerAddress, api_key: str | None) -> httpx.Client:
    """Return a client for this address, which sends the address's user and password, else the API key.

    Raises `InputError` for an unusable API key, `RuntimeFailure` for an unusable certificate file.
    """
    check_key(api_key, "BENCH_OLLAMA_API_KEY")
    package = _package().Client(
        address.url,
        transport=TotalTimeoutTransport(tls=address.scheme == "https"),
        trust_env=False,  # HTTP_PROXY must never see a private address.
        follow_redirects=False,  # A redirect could carry prompts to another host.
    )
    client: httpx.Client = package._client  # noqa: SLF001 - the only way to raw answers
    client.base_url = httpx.URL(address.url)
    client.headers.pop("authorization", None)
    if address.user or address.password:
        pair = f"{address.user}:{address.password}".encode()
        client.headers["authorization"] = f"Basic {b64encode(pair).decode()}"
    elif api_key:
        client.headers["authorization"] = f"Bearer {api_key}"
    return client


def _package() -> ModuleType:
    """Import the package while the variables that it would read are not set."""
    hidden = {name: value for name in _READ_ON_IMPORT if (value := os.environ.pop(name, None)) is not None}
    try:
        import ollama
    finally:
        os.environ.update(hidden)
    return ollama
