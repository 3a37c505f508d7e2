"""Whether the latency of a call may rank: the screen of named rules. Says nothing of whether the reply is right."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import exp, log

from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.identity import Placement
from bench_pipeline.domain.models.reply import Reply, ServerTimings

# A call to a loaded model reports up to 0.1 s of load; more is a load, or a queue behind another model's.
LOAD_IN_CALL_NS = 500_000_000
# total - load - prompt - generation is waiting inside the runner; tokenizing stays far below both bounds.
CONTENTION_NS = 100_000_000
CONTENTION_SHARE = 0.2
# No tokenizer packs more characters into a token on average, in any language of words.
CHARS_PER_TOKEN = 16
# A prompt that fills half of its window by chance has fewer characters for each token of the whole window.
CHARS_THAT_OVERFLOW = 3
# Beyond the share of the prompt's characters that stand before the first field, for tokens are no characters.
CACHE_SLACK_SHARE, CACHE_SLACK_TOKENS = 0.1, 32
# A repeat whose prompt is read in less than half the time of its first pass was not read.
COLLAPSED_SHARE = 0.5


class ValidityRule(StrEnum):
    """Why a call's latency does not rank, in the order of looking. Stored with the sample, counted in the report.

    The last two are no finding of `screen`: there was no verdict to time, or the whole run is void.
    """

    INCOMPLETE = "incomplete"
    CUT_OFF = "cut_off"
    PROMPT_TRUNCATED = "prompt_truncated"
    PLACEMENT_UNKNOWN = "placement_unknown"
    ANOTHER_MODEL_RESIDENT = "another_model_resident"
    NOT_ON_GPU = "not_on_gpu"
    LOADED_IN_CALL = "loaded_in_call"
    CONTENTION = "contention"
    CACHED_PROMPT = "cached_prompt"
    NO_VERDICT = "no_verdict"
    IDENTITY_CHANGED = "identity_changed"


MEANING = {
    ValidityRule.INCOMPLETE: "the runtime ended the reply without saying that it was finished",
    ValidityRule.CUT_OFF: "the reply was cut off at its longest length",
    ValidityRule.PROMPT_TRUNCATED: "the model did not see all of the prompt",
    ValidityRule.PLACEMENT_UNKNOWN: "the runtime failed to say where the model was",
    ValidityRule.ANOTHER_MODEL_RESIDENT: "another model was in the runtime's memory",
    ValidityRule.NOT_ON_GPU: "the model was, in part, not on the GPU",
    ValidityRule.LOADED_IN_CALL: "the runtime loaded for more than 0.5 s within the call",
    ValidityRule.CONTENTION: "the call waited within the runtime",
    ValidityRule.CACHED_PROMPT: "more of the prompt came from a cache than the template's beginning",
    ValidityRule.NO_VERDICT: "no verdict could be read",
    ValidityRule.IDENTITY_CHANGED: "the model may have been another after its run than before",
}
"""Each rule in words."""


def screen(
    reply: Reply,
    prompt_chars: int,
    shared_chars: int,
    protocol: Protocol,
    placement: Placement | None,
    first_pass: ServerTimings | None = None,
) -> ValidityRule | None:
    """Return the first rule by which the latency of `reply` does not rank, None when it does.

    `shared_chars` of the `prompt_chars` sent are the same for every case. `placement` is what the runtime
    says of the model after the call, None when it failed to. `first_pass` is the same case's account in an
    earlier pass. What a runtime cannot say excludes nothing.
    """
    if not reply.complete:
        return ValidityRule.INCOMPLETE
    if reply.done_reason == "length":
        return ValidityRule.CUT_OFF
    if truncation(reply, prompt_chars, protocol, placement):
        return ValidityRule.PROMPT_TRUNCATED
    if placement is None:
        return ValidityRule.PLACEMENT_UNKNOWN
    if placement.others:
        return ValidityRule.ANOTHER_MODEL_RESIDENT
    if misplaced(placement, protocol):
        return ValidityRule.NOT_ON_GPU
    if (reply.timings.load_ns or 0) > LOAD_IN_CALL_NS:
        return ValidityRule.LOADED_IN_CALL
    if _is_contended(reply.timings):
        return ValidityRule.CONTENTION
    if _is_cached(reply.timings, prompt_chars, shared_chars, first_pass):
        return ValidityRule.CACHED_PROMPT
    return None


def truncation(reply: Reply, prompt_chars: int, protocol: Protocol, placement: Placement | None) -> str | None:
    """Return how the runtime's count shows that the model did not see all of the prompt, or None.

    A runtime that cuts keeps half the window and two tokens, and answers as if nothing had happened.
    """
    tokens = reply.timings.prompt_tokens
    if not tokens:
        return None
    asked = protocol.decoding.num_ctx
    window = (placement.context_length if placement else None) or asked
    if tokens * CHARS_PER_TOKEN < prompt_chars:
        return f"{tokens} tokens were read of a prompt of {prompt_chars} characters"
    for cut in {asked, window}:
        if abs(tokens - (cut // 2 + 2)) <= 1 and prompt_chars > CHARS_THAT_OVERFLOW * cut:
            return f"{tokens} tokens were read, half of the window of {cut}"
    if tokens + (reply.timings.generated_tokens or 0) > window:
        return f"{tokens} tokens were read, and the window has {window}"
    return None


def misplaced(placement: Placement, protocol: Protocol) -> bool:
    """Whether the model is, in part, not on the GPU although the protocol asks for it."""
    if protocol.placement != "gpu" or placement.vram_bytes is None or placement.memory_bytes is None:
        return False
    return placement.vram_bytes < placement.memory_bytes


def _is_contended(timings: ServerTimings) -> bool:
    total_ns, load_ns = timings.total_ns, timings.load_ns
    prompt_ns, generation_ns = timings.prompt_ns, timings.generation_ns
    if total_ns is None or load_ns is None or prompt_ns is None or generation_ns is None:
        return False
    residue_ns = total_ns - load_ns - prompt_ns - generation_ns
    return residue_ns > CONTENTION_NS and residue_ns > CONTENTION_SHARE * total_ns


def _is_cached(timings: ServerTimings, prompt_chars: int, shared_chars: int, first: ServerTimings | None) -> bool:
    """Compare what came from a cache with the template's beginning, which alone is warm in production."""
    if timings.cached_prompt_tokens is not None and timings.prompt_tokens:
        share = shared_chars / prompt_chars if prompt_chars else 0.0
        allowed = (share + CACHE_SLACK_SHARE) * timings.prompt_tokens + CACHE_SLACK_TOKENS
        return timings.cached_prompt_tokens > allowed
    if first is None or not first.prompt_ns or timings.prompt_ns is None:
        return False
    return timings.prompt_ns < COLLAPSED_SHARE * first.prompt_ns


def drift(first: Sequence[float], last: Sequence[float]) -> float | None:
    """Return how much slower the anchor model ended than it began, as a share; None without a common case.

    `first` and `last` are its latencies (ms) of the same cases in the same order: exp(mean ln(last/first)) - 1.
    """
    if not first or len(first) != len(last):
        return None
    return exp(sum(log(b / a) for a, b in zip(first, last, strict=True)) / len(first)) - 1
