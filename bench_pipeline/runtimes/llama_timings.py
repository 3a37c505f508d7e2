"""The account that llama.cpp gives of a call, in this process and over HTTP."""

from __future__ import annotations

from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt

from bench_pipeline.domain.models.reply import ServerTimings


class LlamaTimings(BaseModel):
    """The object `timings` of llama.cpp: tokens, and milliseconds."""

    cache_n: NonNegativeInt = 0
    prompt_n: NonNegativeInt
    prompt_ms: NonNegativeFloat
    predicted_n: NonNegativeInt
    predicted_ms: NonNegativeFloat

    def server_timings(self, thinking_tokens: int | None) -> ServerTimings:
        """Return the same in nanoseconds; the prompt's tokens include those that were cached."""
        return ServerTimings(
            prompt_ns=round(self.prompt_ms * 1e6),
            generation_ns=round(self.predicted_ms * 1e6),
            prompt_tokens=self.cache_n + self.prompt_n,
            cached_prompt_tokens=self.cache_n,
            generated_tokens=self.predicted_n,
            thinking_tokens=thinking_tokens,
        )
