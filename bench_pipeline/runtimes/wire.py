"""What the runtimes share about the form of a call: its JSON, options and thinking. Sending it is in deadline.py."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.decoding import DecodingOptions, Think


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A call as it is sent: `body` is JSON. A secret in `headers` is the name of its variable, as in `$OPENAI_API_KEY`.

    `url` is empty for a runtime in this process, to which nothing is sent.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def encoded(body: object) -> bytes:
    """Return `body` as JSON, as it is sent: ASCII, because its escapes can carry a lone surrogate and UTF-8 cannot."""
    return json.dumps(body).encode("ascii")


# The sampling options of llama.cpp's server (tools/server/README.md of llama.cpp, 2026-11).
LLAMA_CPP_OPTIONS = frozenset(
    {
        "dry_allowed_length", "dry_base", "dry_multiplier", "dry_penalty_last_n", "dry_sequence_breakers",
        "dynatemp_exponent", "dynatemp_range", "frequency_penalty", "ignore_eos", "logit_bias", "min_keep", "min_p",
        "mirostat", "mirostat_eta", "mirostat_tau", "n_keep", "presence_penalty", "repeat_last_n", "repeat_penalty",
        "samplers", "stop", "top_k", "top_n_sigma", "top_p", "typical_p", "xtc_probability", "xtc_threshold",
    }
)  # fmt: skip


def thinking_arguments(think: Think) -> dict[str, object] | None:
    """Return the arguments of a chat template that switch thinking, as llama.cpp, vLLM and SGLang take them."""
    if think == "default":
        return None
    return {"enable_thinking": think == "on"} if think in ("on", "off") else {"reasoning_effort": think}


def check_key(api_key: str | None, variable: str) -> None:
    """Raise `InputError` naming the key's variable, never the key, if no HTTP header can carry it."""
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise InputError(f"{variable} contains characters that HTTP headers cannot carry; correct it")


def unknown_options(decoding: DecodingOptions, known: Collection[str], server: str) -> str | None:
    """Return which options `server` does not know, with the nearest ones that it does; None if it knows all."""
    unknown = [name for name in decoding.options if name not in known]
    if not unknown:
        return None
    near = [found[0] for name in unknown if (found := get_close_matches(name, known, n=1))]
    remedy = f"did you mean {', '.join(near)}?" if near else f"it knows {', '.join(sorted(known))}"
    return f"{server} would ignore decoding.options: {', '.join(unknown)}; {remedy}"
