"""How a model samples its reply. The other terms of a measurement are in measuring/protocol.py."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class DecodingOptions(BaseModel):
    """How the model samples its reply; sent with every call, because servers' defaults differ."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = 42
    num_ctx: int = Field(default=4096, ge=256, description="context window, tokens")
    num_predict: int = Field(default=256, ge=1, description="longest reply, tokens")
    json_schema: dict[str, Any] | None = Field(default=None, description="constrains the reply")
