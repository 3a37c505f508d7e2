"""The servers of models, by the address that people know. Asking them is in runtimes/."""

from __future__ import annotations

from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.server_address import parse_ollama_host
from bench_pipeline.settings import Settings


def address_of(settings: Settings, model: ModelRef) -> str:
    """Return the address of a model's server, without credentials; for a model in this process the runtime."""
    if model.runtime is RuntimeKind.LLAMA_CPP:
        return "llama.cpp in this process"
    return model.base_url or parse_ollama_host(settings.ollama_host).url
