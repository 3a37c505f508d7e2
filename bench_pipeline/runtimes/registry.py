"""Which runtime answers for a model. Each is created once, on first use, and closed with the registry."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
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
        self._open: dict[tuple[RuntimeKind, str | None], Runtime] = {}

    def of(self, model: ModelRef) -> Runtime:
        """Return the runtime of `model`. Raises `HostNotAllowed` before anything is sent."""
        key = (model.runtime, model.base_url)
        if key not in self._open:
            self._open[key] = self._make(model)
        return self._open[key]

    def _make(self, model: ModelRef) -> Runtime:
        settings = self._settings
        if model.runtime is RuntimeKind.OLLAMA:
            from bench_pipeline.runtimes.ollama import OllamaRuntime

            if model.base_url is not None:
                self._allow(model.base_url)
                return OllamaRuntime(model.base_url)
            key = settings.ollama_api_key
            return OllamaRuntime(settings.ollama_host, api_key=key.get_secret_value() if key else None)
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
