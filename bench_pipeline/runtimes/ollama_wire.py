"""The JSON of Ollama's native API: what is sent for a call, and the shapes of the answers.

Sending it, and what follows from an answer, is in ollama.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import AliasChoices, BaseModel, Field, NonNegativeInt

from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.reply import Reply, ServerTimings
from bench_pipeline.domain.models.request import Request
from bench_pipeline.runtimes.activity import Activity

# Ollama only logs a name that it does not know, and ignores the option.
OPTIONS = frozenset(
    {
        "draft_num_predict", "frequency_penalty", "main_gpu", "min_p", "num_batch", "num_gpu", "num_keep", "num_thread",
        "presence_penalty", "repeat_last_n", "repeat_penalty", "stop", "top_k", "top_p", "typical_p", "use_mmap",
    }
)  # fmt: skip
PATHS = {"chat": "/api/chat", "generate": "/api/generate"}
# Models of this family think at a level and cannot stop: told not to, they answer with an empty text.
_LEVELS_ONLY = frozenset({"gptoss", "gpt-oss"})
_LEVEL_OF = {"off": "low", "on": "medium"}


class Details(BaseModel):
    """Facts about the weights."""

    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None
    context_length: int | None = None


class Installed(BaseModel):
    """A model of `/api/tags`."""

    name: str
    digest: str | None = None
    size: int | None = None
    remote_host: str | None = None
    remote_model: str | None = None
    details: Details = Details()
    capabilities: list[str] | None = None


class Tags(BaseModel):
    """The answer of `/api/tags`."""

    models: list[Installed] | None


class Version(BaseModel):
    """The answer of `/api/version`."""

    version: str


class Shown(BaseModel):
    """The answer of `/api/show`."""

    template: str = ""
    parameters: str = ""
    system: str = ""
    model_info: dict[str, object] | None = None
    capabilities: list[str] | None = None


class Resident(BaseModel):
    """A model of `/api/ps`; sizes in bytes. Some versions leave out `name`, which `model` repeats."""

    name: str = Field(validation_alias=AliasChoices("name", "model"))
    digest: str | None = None
    size: int | None = None
    size_vram: int | None = None
    context_length: int | None = None
    expires_at: object = None


class Residents(BaseModel):
    """The answer of `/api/ps`."""

    models: list[Resident] | None

    @property
    def activity(self) -> Activity:
        """When each model would be unloaded: the server renews that moment when a call ends.

        While a model is loaded and answers its first call, the moment moves with the clock.
        """
        return Activity(uses={one.name: str(one.expires_at) for one in self.models or [] if one.expires_at})


class Said(BaseModel):
    """The message of a part."""

    content: str = ""
    thinking: str = ""


class Part(BaseModel):
    """A part of a reply: `/api/chat` writes into `message`, `/api/generate` into `response` and `thinking`."""

    message: Said = Said()
    response: str = ""
    thinking: str = ""
    done: bool = False
    done_reason: str | None = None
    load_duration: NonNegativeInt | None = None
    prompt_eval_duration: NonNegativeInt | None = None
    eval_duration: NonNegativeInt | None = None
    total_duration: NonNegativeInt | None = None
    prompt_eval_count: NonNegativeInt | None = None
    prompt_eval_cached_count: NonNegativeInt | None = None
    eval_count: NonNegativeInt | None = None


def call_body(model: ModelIdentity, request: Request, decoding: DecodingOptions, keep_alive: str) -> dict[str, Any]:
    """Return the body of a call; which path takes it says `PATHS`."""
    body = load_body(model.name, decoding, keep_alive)
    if decoding.endpoint == "generate":
        del body["messages"]
        texts = {"system": request.system, "prompt": request.prompt, "suffix": request.suffix}
        body |= {name: text for name, text in texts.items() if text or name == "prompt"}
        if decoding.raw:
            body["raw"] = True
    else:
        body["messages"] = [message.model_dump() for message in request.messages]
    if decoding.json_schema is not None or decoding.format is not None:
        body["format"] = decoding.json_schema or decoding.format
    if (think := _think(model, decoding)) is not None:
        body["think"] = think
    return body


def load_body(name: str, decoding: DecodingOptions, keep_alive: str) -> dict[str, Any]:
    """Return the body of a chat without a message, which only loads the model."""
    options = {
        "num_ctx": decoding.num_ctx,
        "num_predict": decoding.num_predict,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
        **decoding.options,
    }
    return {
        "model": name,
        "messages": [],
        "stream": True,
        # A prompt that does not fit is refused, not truncated. `shift` is a launch option: a call without it
        # would reload the model. Servers that do not know these fields ignore them.
        "truncate": False,
        "shift": False,
        "options": {name: value for name, value in options.items() if value is not None},
        "keep_alive": _duration(decoding.keep_alive or keep_alive),
    }


def _duration(text: str) -> str | float:
    """Return seconds as a number, because Ollama reads only texts with a unit."""
    return text if text[-1].isalpha() else float(text)


def _think(model: ModelIdentity, decoding: DecodingOptions) -> bool | str | None:
    """Return the value of `think`; None leaves it out, because Ollama refuses the field for a model that cannot."""
    wanted = decoding.think
    if wanted == "default" or (wanted == "off" and "thinking" not in model.capabilities):
        return None
    if model.family in _LEVELS_ONLY:
        return _LEVEL_OF.get(wanted, wanted)
    return {"off": False, "on": True}.get(wanted, wanted)


def reply_of(parts: Sequence[tuple[Part, int]], elapsed_ns: int) -> Reply:
    """Return the reply that these parts are, each with the nanoseconds from sending to its arrival."""
    last = parts[-1][0] if parts else Part()
    thinking = [(text, ns) for part, ns in parts if (text := part.message.thinking or part.thinking)]
    texts = [(text, ns) for part, ns in parts if (text := part.message.content or part.response)]
    streamed = len(parts) > 1
    return Reply(
        text="".join(text for text, _ in texts),
        elapsed_ns=elapsed_ns,
        complete=last.done,
        done_reason=last.done_reason or ("stop" if last.done else "unfinished"),
        thinking="".join(text for text, _ in thinking),
        timings=ServerTimings(
            load_ns=last.load_duration,
            prompt_ns=last.prompt_eval_duration,
            generation_ns=last.eval_duration,
            total_ns=last.total_duration,
            prompt_tokens=last.prompt_eval_count,
            cached_prompt_tokens=last.prompt_eval_cached_count,
            generated_tokens=last.eval_count,
            # Ollama counts all tokens together, and sends each in a part of its own.
            thinking_tokens=(len(thinking) if streamed else 0) or None,
        ),
        first_token_ns=min((ns for _, ns in thinking + texts), default=None) if streamed else None,
        first_text_ns=texts[0][1] if streamed and texts else None,
    )
