"""How OpenAI-compatible servers that can unload a model tell which ones are loaded, and unload one.

The API has no such requests; each server has its own routes, outside of it. When they are used is in
openai_compatible.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

Handles = dict[str, str]
"""What is loaded: how the server is told to unload it, and the name of the model."""
Release = tuple[str, object]
"""The path and the body of the request that unloads a model."""


class Loaded(BaseModel):
    """The answer to the question what is loaded; each server fills one of the fields."""

    running: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    data: list[dict[str, Any]] = []
    model_name: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """The routes of one kind of server; paths begin at its root, where `/v1` begins too.

    `select` is the request that loads a model, for servers that answer with the loaded one whichever is asked for.
    """

    listing: str
    handles: Callable[[Loaded], Handles]
    release: Callable[[str], Release]
    select: Callable[[str], Release] | None = None


def _of_llama_swap(loaded: Loaded) -> Handles:
    return {str(entry["model"]): str(entry["model"]) for entry in loaded.running if "model" in entry}


def _of_lm_studio(loaded: Loaded) -> Handles:
    return {
        str(instance["id"]): str(entry["key"])
        for entry in loaded.models
        for instance in entry.get("loaded_instances") or []
    }


def _of_llama_cpp(loaded: Loaded) -> Handles:
    return {
        str(entry["id"]): str(entry["id"])
        for entry in loaded.data
        if (entry.get("status") or {}).get("value") in ("loaded", "loading", "sleeping")
    }


def _of_ollama(loaded: Loaded) -> Handles:
    return {str(entry["name"]): str(entry["name"]) for entry in loaded.models}


def _of_webui(loaded: Loaded) -> Handles:
    name = loaded.model_name
    return {name: name} if name and name != "None" else {}


# internal/server/server.go of mostlygeek/llama-swap, 0bdb372
LLAMA_SWAP = Memory("/running", _of_llama_swap, lambda handle: (f"/api/models/unload/{quote(handle, safe='/')}", {}))
# 1_developer/2_rest/{list,unload}.md of lmstudio-ai/docs, c6854fb; since LM Studio 0.4
LM_STUDIO = Memory("/api/v1/models", _of_lm_studio, lambda handle: ("/api/v1/models/unload", {"instance_id": handle}))
# tools/server/README.md of ggml-org/llama.cpp, 00dc805: the server without a model of its own ("router mode")
LLAMA_CPP_ROUTER = Memory("/models", _of_llama_cpp, lambda handle: ("/models/unload", {"model": handle}))
# docs/api.md of ollama/ollama
OLLAMA = Memory(
    "/api/ps", _of_ollama, lambda handle: ("/api/generate", {"model": handle, "keep_alive": 0, "stream": False})
)
# modules/api/script.py of oobabooga/text-generation-webui, which ignores the model of a request
TEXT_GENERATION_WEBUI = Memory(
    "/v1/internal/model/info",
    _of_webui,
    lambda _: ("/v1/internal/model/unload", {}),
    lambda name: ("/v1/internal/model/load", {"model_name": name}),
)
