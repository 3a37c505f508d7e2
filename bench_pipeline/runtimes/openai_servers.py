"""The servers that offer OpenAI's API: how each is recognised, and what it understands beyond that API.

One table, from the servers' own sources. What a call looks like is in openai_wire.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel

from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.runtimes import openai_memory as memory
from bench_pipeline.runtimes import openai_queue as queues
from bench_pipeline.runtimes.openai_memory import Memory
from bench_pipeline.runtimes.openai_queue import Queue
from bench_pipeline.runtimes.wire import LLAMA_CPP_OPTIONS, unknown_options

Thinking = Literal["template", "top_level", "effort", "levels"]


class Listed(BaseModel):
    """A model of `/models`; `status` is there where the server loads models on demand."""

    id: str
    owned_by: str | None = None
    created: object = None
    status: object = None


@dataclass(frozen=True, slots=True)
class OpenAIServer:
    """What one kind of server understands.

    `options` are the names that it honours; it ignores or refuses others. `thinking` is how it is asked for:
    `template`: arguments of the chat template; `top_level`: the same as fields of the request; `effort`:
    `reasoning_effort`, where `none` means off; `levels`: `reasoning_effort` for a level, nothing else. `schema` is the
    field of `response_format` that holds a schema, `grammar` the path of the field for a grammar; None where the
    server has none. `completes` says whether `/completions` sends a prompt without a chat template, `suffix` whether
    it takes the text after the reply. `patterns` is the path of a list that has names with `*` in it; `queue` tells how
    many requests the server has.
    """

    name: str
    options: frozenset[str]
    thinking: Thinking = "levels"
    schema: str | None = "json_schema"
    json_mode: bool = True
    grammar: tuple[str, ...] | None = None
    completes: bool = True
    suffix: bool = False
    memory: Memory | None = None
    patterns: str | None = None
    queue: Queue | None = None

    def refusal(self, decoding: DecodingOptions) -> str | None:
        """Return what of `decoding` this server cannot be asked for, and what to do; None if it can do all."""
        return next(filter(None, self._refusals(decoding)), None)

    def _refusals(self, decoding: DecodingOptions) -> Iterator[str | None]:
        if decoding.keep_alive is not None:
            yield "keep_alive exists only in Ollama's own API; remove decoding.keep_alive, or write ollama:NAME@HOST"
        if decoding.endpoint == "generate":
            yield self._refusal_of_prompt(decoding)
        if decoding.think == "on" and self.thinking == "levels":
            yield f"{self.name} cannot be told to think; set decoding.think to default, or to low, medium or high"
        if decoding.grammar is not None and self.grammar is None:
            yield f"{self.name} has no grammar; constrain the reply by decoding.json_schema"
        if decoding.json_schema is not None and self.schema is None:
            yield f"{self.name} has no JSON schema; constrain the reply by decoding.grammar"
        if decoding.format is not None and not self.json_mode:
            remedy = "decoding.json_schema: {type: object}" if self.schema else "decoding.grammar"
            yield f"{self.name} has no JSON mode; constrain the reply by {remedy}"
        yield unknown_options(decoding, self.options, self.name)

    def _refusal_of_prompt(self, decoding: DecodingOptions) -> str | None:
        if not self.completes:
            return f"{self.name} has no prompt without a chat template; set decoding.endpoint: chat"
        if not decoding.raw:
            return (
                f"{self.name} completes a prompt without the model's chat template; set decoding.raw: true, or "
                "decoding.endpoint: chat"
            )
        if decoding.json_schema or decoding.format or decoding.think not in ("default", "off"):
            return f"{self.name} takes JSON and thinking only in a chat; set decoding.endpoint: chat"
        return None


OPENAI_OPTIONS = frozenset({"frequency_penalty", "logit_bias", "presence_penalty", "stop", "top_p"})

UNRECOGNISED = OpenAIServer("an unrecognised OpenAI-compatible server", OPENAI_OPTIONS, suffix=True)
# vllm/entrypoints/openai/chat_completion/protocol.py of vllm-project/vllm, 002032e. `truncate_prompt_tokens` is left
# out: a shortened prompt is another question.
VLLM = OpenAIServer(
    "vLLM",
    OPENAI_OPTIONS
    | {
        "allowed_token_ids", "bad_words", "chat_template_kwargs", "ignore_eos", "include_stop_str_in_output",
        "length_penalty", "min_p", "min_tokens", "repetition_penalty", "skip_special_tokens",
        "spaces_between_special_tokens", "stop_token_ids", "thinking_token_budget", "top_k",
    },
    thinking="template",
    grammar=("structured_outputs", "grammar"),
    queue=queues.VLLM,
)  # fmt: skip
# python/sglang/srt/entrypoints/openai/protocol.py of sgl-project/sglang, 004c82e
SGLANG = OpenAIServer(
    "SGLang",
    OPENAI_OPTIONS
    | {
        "chat_template_kwargs", "ignore_eos", "min_p", "min_tokens", "no_stop_trim", "repetition_penalty",
        "skip_special_tokens", "stop_regex", "stop_token_ids", "top_k",
    },
    thinking="template",
    grammar=("ebnf",),
    queue=queues.SGLANG,
)  # fmt: skip
# tools/server/README.md of ggml-org/llama.cpp, 00dc805
LLAMA_CPP = OpenAIServer(
    "llama.cpp's server",
    LLAMA_CPP_OPTIONS | {"cache_prompt", "chat_template_kwargs", "reasoning_format"},
    thinking="template",
    grammar=("grammar",),
    queue=queues.LLAMA_CPP,
)
# It passes requests on, usually to llama.cpp's server.
LLAMA_SWAP = replace(LLAMA_CPP, name="llama-swap", memory=memory.LLAMA_SWAP, queue=None)
# 1_developer/3_openai-compat/{chat-completions,structured-output}.md of lmstudio-ai/docs, c6854fb. JSON mode is
# refused: lmstudio-ai/lmstudio-bug-tracker #189.
LM_STUDIO = OpenAIServer(
    "LM Studio",
    OPENAI_OPTIONS | {"repeat_penalty", "top_k"},
    thinking="effort",
    json_mode=False,
    memory=memory.LM_STUDIO,
)
# router/src/lib.rs of huggingface/text-generation-inference, db931fc: `logit_bias` is read and ignored.
TGI = OpenAIServer("TGI", OPENAI_OPTIONS - {"logit_bias"}, schema="value", json_mode=False, queue=queues.TGI)
# modules/api/typing.py of oobabooga/text-generation-webui, 2dad203: it has no `response_format`.
TEXT_GENERATION_WEBUI = OpenAIServer(
    "text-generation-webui",
    OPENAI_OPTIONS
    | {
        "add_bos_token", "ban_eos_token", "custom_token_bans", "do_sample", "dry_allowed_length", "dry_base",
        "dry_multiplier", "dry_sequence_breakers", "dynamic_temperature", "dynatemp_exponent", "dynatemp_high",
        "dynatemp_low", "encoder_repetition_penalty", "epsilon_cutoff", "eta_cutoff", "guidance_scale", "min_p",
        "mirostat_eta", "mirostat_mode", "mirostat_tau", "no_repeat_ngram_size", "penalty_alpha", "repetition_penalty",
        "repetition_penalty_range", "sampler_priority", "skip_special_tokens", "smoothing_curve", "smoothing_factor",
        "temperature_last", "tfs", "top_a", "top_k", "top_n_sigma", "typical_p", "xtc_probability", "xtc_threshold",
    },
    thinking="top_level",
    schema=None,
    json_mode=False,
    grammar=("grammar_string",),
    memory=memory.TEXT_GENERATION_WEBUI,
)  # fmt: skip
# docs/api/openai-compatibility.mdx of ollama/ollama; its `/v1/completions` uses the chat template.
OLLAMA = OpenAIServer(
    "Ollama's /v1",
    OPENAI_OPTIONS - {"logit_bias"},
    thinking="effort",
    completes=False,
    memory=memory.OLLAMA,
    queue=queues.OLLAMA,
)
# A proxy for servers of every kind; it makes a chat of a prompt where its server has no completions. Version 1.108.
LITELLM = OpenAIServer("LiteLLM", OPENAI_OPTIONS, completes=False, patterns="/models?return_wildcard_routes=true")

_OWNERS: Mapping[str, OpenAIServer] = {
    "vllm": VLLM,
    "sglang": SGLANG,
    "llamacpp": LLAMA_CPP,
    "llama-swap": LLAMA_SWAP,
    "organization_owner": LM_STUDIO,
    "user": TEXT_GENERATION_WEBUI,
    "library": OLLAMA,
}
_CREATED_BY_LITELLM = 1677610602  # what LiteLLM says of every model


def recognised(models: Sequence[Listed]) -> OpenAIServer:
    """Return the kind of server that lists these models."""
    owners = {model.owned_by for model in models}
    found = next((server for owner, server in _OWNERS.items() if owner in owners), UNRECOGNISED)
    if found is LLAMA_CPP and any(model.status is not None for model in models):
        name = "llama.cpp's server in router mode"  # it has slots of each model, and would load the one that is asked
        return replace(LLAMA_CPP, name=name, memory=memory.LLAMA_CPP_ROUTER, queue=None)
    if found is UNRECOGNISED and any(model.owned_by == model.id for model in models):
        return TGI
    if found is UNRECOGNISED and models and all(model.created == _CREATED_BY_LITELLM for model in models):
        return LITELLM
    return found
