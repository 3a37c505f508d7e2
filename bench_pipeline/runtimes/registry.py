"""Which runtime answers for a model. Each is created once, on first use, and closed with the registry."""

from __future__ import annotations

from threading import Lock
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.server_address import ServerAddress, parse_ollama_host
from bench_pipeline.runtimes.base import Runtime
from bench_pipeline.settings import Settings


class HostNotAllowed(RuntimeFailure):
    """An actor's address names a host to which texts must not be sent."""

    def __init__(self, host: str) -> None:
        super().__init__(
            FailureKind.UNSUPPORTED, f"host {host} is not in BENCH_ALLOWED_HOSTS; add it if texts may be sent there"
        )


class Runtimes:
    """The runtimes that the settings describe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._named = settings.named_hosts
        self._open: dict[tuple[RuntimeKind, str | None, str | None], Runtime] = {}
        self._opening = Lock()  # each host is measured by a thread of its own

    def of(self, model: ModelRef) -> Runtime:
        """Return the runtime of `model`. Raises `HostNotAllowed` before anything is sent."""
        model = self.places(model)[0]
        key = (model.runtime, model.base_url, model.host)
        with self._opening:
            if key not in self._open:
                self._open[key] = self._make(model)
            return self._open[key]

    def places(self, model: ModelRef) -> tuple[ModelRef, ...]:
        """Return the model on each named host where it may be, or the model itself if its server is known."""
        if model.runtime is not RuntimeKind.OLLAMA or model.base_url or model.host or not self._named:
            return (model,)
        return tuple(model.at(host) for host in self._named)

    def is_named(self, model: ModelRef) -> bool:
        """Whether the model's server is one of the named hosts."""
        return model.host in self._named

    def address_of(self, model: ModelRef) -> ServerAddress | None:
        """Return the address of the model's server; None for a model in this process."""
        if model.runtime is RuntimeKind.LLAMA_CPP:
            return None
        host = self.places(model)[0].host
        return self._named.get(host or "") or parse_ollama_host(model.base_url or host or self._settings.ollama_host)

    def _make(self, model: ModelRef) -> Runtime:
        settings = self._settings
        if model.runtime is RuntimeKind.OLLAMA:
            from bench_pipeline.runtimes.ollama import OllamaRuntime

            token = settings.ollama_api_key.get_secret_value() if settings.ollama_api_key else None
            if model.host in self._named:
                return OllamaRuntime(self._named[model.host], api_key=token, variable="BENCH_OLLAMA_HOSTS")
            if elsewhere := model.base_url or model.host:
                address = parse_ollama_host(elsewhere)
                self._allow(address.url)
                return OllamaRuntime(address)
            return OllamaRuntime(settings.ollama_host, api_key=token)
        if model.runtime is RuntimeKind.LLAMA_CPP:
            from bench_pipeline.runtimes.catalogue import Catalogue
            from bench_pipeline.runtimes.llama_cpp import LlamaCppRuntime

            return LlamaCppRuntime(Catalogue(settings.cache_dir), settings.llama_cpp_threads)
        from bench_pipeline.runtimes.openai_compatible import OpenAICompatibleRuntime

        base_url = model.base_url or ""
        self._allow(base_url)
        key = settings.openai_api_key
        return OpenAICompatibleRuntime(base_url, key.get_secret_value() if key else None, settings.openai_num_ctx)

    def _allow(self, url: str) -> None:
        host = (urlsplit(url).hostname or "").lower()
        if host not in self._settings.hosts:
            raise HostNotAllowed(host)

    def close(self) -> None:
        """Close every runtime that was opened."""
        for runtime in self._open.values():
            runtime.close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
