"""The validity rules: whether the latency of a call may rank. Whether the reply is right is in tasks/verdict.py."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import exp, log

from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.identity import Placement
from bench_pipeline.domain.models.reply import Reply, ServerTimings

# A call to a loaded model reports up to 0.1 s of load; more means loading, or waiting for another model's load.
LOAD_IN_CALL_NS = 500_000_000
# total - load - prompt - generation is time spent waiting in the runner; tokenizing stays far below both bounds.
CONTENTION_NS = 100_000_000
CONTENTION_SHARE = 0.2
# Ollama counts the host's part of a runner as the model's, and memory-mapped weights twice (ollama/ollama issue 16637).
ON_GPU_SHARE = 0.9
# No tokenizer packs more characters into a token on average, in any language of words.
CHARS_PER_TOKEN = 16
# A prompt that fills half of the window by chance has fewer characters per token of the whole window.
CHARS_THAT_OVERFLOW = 3
# Allowed above the share of characters before the first field, because tokens are not characters.
CACHE_SLACK_SHARE, CACHE_SLACK_TOKENS = 0.1, 32
# A repeated prompt that takes less than half the time of its first pass came from a cache, unless all was faster.
COLLAPSED_SHARE = 0.5


class ValidityRule(StrEnum):
    """Why a call's latency does not rank, in the order of the checks. Stored with the sample, counted in the report.

    `screen` does not return the last three: no verdict was read, the call was repeated (see disturbance.py),
    or the whole run is void.
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
    DISTURBED = "disturbed"
    IDENTITY_CHANGED = "identity_changed"


MEANING = {
    ValidityRule.INCOMPLETE: "the runtime ended the reply without marking it as finished",
    ValidityRule.CUT_OFF: "the reply was cut off at the maximum length",
    ValidityRule.PROMPT_TRUNCATED: "the model did not see all of the prompt",
    ValidityRule.PLACEMENT_UNKNOWN: "the runtime could not report where the model was",
    ValidityRule.ANOTHER_MODEL_RESIDENT: "another model was in the runtime's memory",
    ValidityRule.NOT_ON_GPU: "the model was not entirely on the GPU of its server",
    ValidityRule.LOADED_IN_CALL: "the runtime spent more than 0.5 s of the call loading",
    ValidityRule.CONTENTION: "the call waited within the runtime",
    ValidityRule.CACHED_PROMPT: "more of the prompt than the template's prefix came from a cache",
    ValidityRule.NO_VERDICT: "no verdict could be read",
    ValidityRule.DISTURBED: "it took far longer than its tokens explain; its repetition ranks instead",
    ValidityRule.IDENTITY_CHANGED: "the model may have changed during its run",
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
    """Return the first rule that excludes the latency of `reply` from the ranking, or None.

    `shared_chars` of the `prompt_chars` sent are the same for every case. `placement` is the model's placement after
    the call, None when the runtime failed to report it. `first_pass` holds the timings of the same case in an earlier
    pass. Values that a runtime does not report exclude nothing.
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
    # A thought before a constrained reply is a completion of its own, which the server's durations leave out.
    thinks_first = bool(reply.thinking) and protocol.decoding.constrains
    if not thinks_first and _is_contended(reply.timings):
        return ValidityRule.CONTENTION
    if _is_cached(reply.timings, prompt_chars, shared_chars, first_pass):
        return ValidityRule.CACHED_PROMPT
    return None


def truncation(reply: Reply, prompt_chars: int, protocol: Protocol, placement: Placement | None) -> str | None:
    """Return how the token counts show that the model did not see the whole prompt, or None.

    A runtime that truncates keeps half the window and two tokens, and answers as usual.
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
        return f"{tokens} tokens were read, but the window has only {window}"
    return None


def misplaced(placement: Placement, protocol: Protocol) -> bool:
    """Whether the model is not on the GPU although the protocol requires it.

    With `auto` it is required where the server has shown a GPU; a model of which only a part is on the GPU shows it.
    """
    if protocol.placement == "any" or placement.vram_bytes is None or not placement.memory_bytes:
        return False
    if placement.vram_bytes >= ON_GPU_SHARE * placement.memory_bytes:
        return False
    return protocol.placement == "gpu" or placement.vram_bytes > 0 or placement.accelerated is True


def _is_contended(timings: ServerTimings) -> bool:
    total_ns, load_ns = timings.total_ns, timings.load_ns
    prompt_ns, generation_ns = timings.prompt_ns, timings.generation_ns
    if total_ns is None or load_ns is None or prompt_ns is None or generation_ns is None:
        return False
    residue_ns = total_ns - load_ns - prompt_ns - generation_ns
    return residue_ns > CONTENTION_NS and residue_ns > CONTENTION_SHARE * total_ns


def _is_cached(timings: ServerTimings, prompt_chars: int, shared_chars: int, first: ServerTimings | None) -> bool:
    """Whether more than the template's prefix, which is warm in production too, came from a cache."""
    if timings.cached_prompt_tokens is not None and timings.prompt_tokens:
        share = shared_chars / prompt_chars if prompt_chars else 0.0
        allowed = (share + CACHE_SLACK_SHARE) * timings.prompt_tokens + CACHE_SLACK_TOKENS
        return timings.cached_prompt_tokens > allowed
    if first is None or not first.prompt_ns or timings.prompt_ns is None:
        return False
    return timings.prompt_ns < COLLAPSED_SHARE * first.prompt_ns * min(1.0, _slowdown(first, timings))


def _slowdown(first: ServerTimings, timings: ServerTimings) -> float:
    """Return how much longer a generated token took than in the first pass; 1 if that is not known.

    If the machine was busy in the first pass and is not now, the prompt takes less time without any cache.
    """
    before, now = _ns_per_token(first), _ns_per_token(timings)
    return now / before if before and now else 1.0


def _ns_per_token(timings: ServerTimings) -> float | None:
    if timings.generation_ns is None or not timings.generated_tokens:
        return None
    return timings.generation_ns / timings.generated_tokens


def drift(first: Sequence[float], last: Sequence[float]) -> float | None:
    """Return how much slower the anchor was at the end, as a share: exp(mean ln(last/first)) - 1.

    `first` and `last` are its latencies (ms) for the same cases in the same order. None without a common case.
    """
    if not first or len(first) != len(last):
        return None
    return exp(sum(log(b / a) for a, b in zip(first, last, strict=True)) / len(first)) - 1
