"""The terms of a measurement, which must be equal for two results to be compared. Prompt and suite are in tasks/."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.decoding import DecodingOptions

CacheRegime = Literal["as_production", "cold"]
PlacementRule = Literal["auto", "gpu", "any"]
Strategy = Literal["full", "race"]
MAX_DRIFT = 0.05
"""Share by which the anchor's latency may change during a benchmark; beyond it the benchmark is invalid."""


class Protocol(BaseModel):
    """How a suite is run: everything except the suite, the prompt and the model."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    decoding: DecodingOptions = DecodingOptions()
    time_limit_s: float = Field(
        default=120.0,
        gt=0,
        allow_inf_nan=False,
        description="time limit for one call, from sending to the last byte, seconds",
    )
    load_time_limit_s: float = Field(
        default=600.0, gt=0, allow_inf_nan=False, description="time limit for loading one model, seconds"
    )
    repeats: int = Field(default=1, ge=1, le=100, description="passes over the suite")
    batch_size: int = Field(default=5, ge=1, le=1000, description="cases per batch")
    warm_up_calls: int = Field(default=1, ge=0, le=10, description="calls before the first that counts")
    cache_regime: CacheRegime = Field(
        default="as_production",
        description="as_production: the template's prefix is cached; cold: the model is unloaded before every pass",
    )
    order_seed: int | None = Field(
        default=None,
        description="seed that shuffles the cases of every pass, the same way for all models; "
        "None: the order of the suite",
    )
    strategy: Strategy = Field(
        default="full",
        alias="policy",  # the stored and hashed name, so that older measurements stay comparable
        description="full: every model makes all calls; race: a model stops once its place is decided",
    )
    confirm_wrong: bool = Field(
        default=False, description="a race asks a failed case once more before it stops the model"
    )
    final_passes: int = Field(
        default=20, ge=0, le=40, description="maximum passes of the final between challenger and incumbent"
    )
    retries: int = Field(default=2, ge=0, le=10, description="retries of a call after an infrastructure failure")
    retry_pause_s: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="pause before the first retry, seconds; doubled before each further one",
    )
    error_budget: int = Field(default=0, ge=0, description="failed calls a model may have before it is inconclusive")
    placement: PlacementRule = Field(
        default="auto",
        description="auto: a model must be entirely on the GPU if its server has one; gpu: it must; any: no such check",
    )
    anchor: str | None = Field(default=None, description="model measured first and last to detect drift")

    @property
    def hash(self) -> str:
        """SHA-256 of all terms."""
        return content_hash(self.model_dump(mode="json"))
