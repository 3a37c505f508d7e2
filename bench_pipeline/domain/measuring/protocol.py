"""The terms of a measurement. What is in the hash must be equal for two results to be compared."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.decoding import DecodingOptions

CacheRegime = Literal["as_production", "cold"]
Strategy = Literal["full", "race"]
MAX_DRIFT = 0.05
"""Share by which the anchor model may change over a benchmark; beyond it the run is invalid."""


class Protocol(BaseModel):
    """Everything about how a suite is run that is not the suite, the prompt or the model."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    decoding: DecodingOptions = DecodingOptions()
    time_limit_s: float = Field(
        default=120.0, gt=0, allow_inf_nan=False, description="for one call, from send to last byte"
    )
    load_time_limit_s: float = Field(default=600.0, gt=0, allow_inf_nan=False, description="for loading one model")
    repeats: int = Field(default=1, ge=1, le=100, description="passes over the suite")
    batch_size: int = Field(default=5, ge=1, le=1000, description="cases run together")
    warm_up_calls: int = Field(default=1, ge=0, le=10, description="calls before the first that counts")
    cache_regime: CacheRegime = Field(
        default="as_production",
        description="as_production: the template's prefix is warm, the case's text is new; "
        "cold: the model is unloaded before every pass",
    )
    order_seed: int | None = Field(
        default=None, description="shuffles the cases of every pass, alike for all models; None: as written"
    )
    strategy: Strategy = Field(
        default="full",
        alias="policy",  # as it is stored and hashed: what was measured before stays comparable
        description="full: every model makes all calls; race: it stops when its place is decided",
    )
    confirm_wrong: bool = Field(default=False, description="a race asks a case once more before a model stops at it")
    final_passes: int = Field(
        default=20, ge=0, le=20, description="most passes of the final between challenger and incumbent"
    )
    retries: int = Field(default=2, ge=0, le=10, description="retries of a call after an infrastructure failure")
    retry_pause_s: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="pause before the first retry; doubled before each further one",
    )
    error_budget: int = Field(
        default=0, ge=0, description="calls of one model that may end as an error before it is inconclusive"
    )
    placement: Literal["gpu", "any"] = Field(
        default="gpu", description="gpu: a model that its runtime holds outside the GPU is not measured"
    )
    anchor: str | None = Field(default=None, description="model that is measured first and last, to see drift")

    @property
    def hash(self) -> str:
        """SHA-256 over all terms."""
        return content_hash(self.model_dump(mode="json"))
