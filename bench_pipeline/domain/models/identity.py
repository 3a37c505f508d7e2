"""The identity of a model, enough to decide whether two measurements used the same weights, and where it is loaded.

How a model is addressed is in model_ref.py.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ModelIdentity(BaseModel):
    """What a runtime says about a model; `None` where it does not know.

    `size_bytes` is the size of the weights, `context_length` in tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    runtime: str
    runtime_version: str | None = None
    digest: str | None = None
    size_bytes: int | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    template_hash: str | None = None
    capabilities: tuple[str, ...] = ()
    remote: bool = False


class Placement(BaseModel):
    """Where a loaded model is; `None` where the runtime does not know.

    `memory_bytes` is held for the model, `vram_bytes` the part of it on the GPU, `context_length` the allocated
    tokens; `others` are further models in the runtime's memory. `accelerated` says whether the server has a GPU, as
    far as it has shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_bytes: int | None = None
    vram_bytes: int | None = None
    context_length: int | None = None
    others: tuple[str, ...] = ()
    accelerated: bool | None = None


class LoadReport(Placement):
    """How long loading took, and where the model is now."""

    load_ns: int
