"""Who a model is: enough to tell whether two measurements were made of the same weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ModelIdentity(BaseModel):
    """What a runtime says of a model; `None` where the runtime cannot say.

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
    """Where a model is while it answers; `None` where the runtime cannot say.

    `memory_bytes`: held for the model; `vram_bytes`: the part of it on the GPU; `context_length`: tokens that
    were really allocated; `others`: models beside it in the runtime's memory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_bytes: int | None = None
    vram_bytes: int | None = None
    context_length: int | None = None
    others: tuple[str, ...] = ()


class LoadReport(Placement):
    """What loading cost, and where the model is now."""

    load_ns: int
