"""How a model is asked to generate its reply. The messages are in request.py, other terms in measuring/protocol.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

Think = Literal["default", "off", "on", "low", "medium", "high"]
Endpoint = Literal["chat", "generate"]

_DURATION = re.compile(r"-?\d+(\.\d+)?(ns|us|ms|s|m|h)?")
_FIRST_FIELDS = frozenset({"temperature", "seed", "num_ctx", "num_predict", "json_schema"})
# Other names that servers have for what is a field here.
_OTHER_NAMES = {
    "n_ctx": "num_ctx",
    "n_predict": "num_predict",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "reasoning_effort": "think",
    "response_format": "format",
}
_FORMATS = ("json_schema", "format", "grammar")


class DecodingOptions(BaseModel):
    """How the model generates its reply; sent with every call, because servers' defaults differ."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(default=0.0, ge=0, le=2, description="null: the server's default")
    seed: int | None = Field(default=42, description="null: none is sent")
    num_ctx: int = Field(default=4096, ge=256, description="context window, tokens")
    num_predict: int = Field(default=256, ge=1, description="longest reply, tokens")
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="further options of the runtime, passed on as they are: top_p, stop, num_gpu"
    )
    json_schema: dict[str, Any] | None = Field(default=None, description="constrains the reply to this JSON Schema")
    format: Literal["json"] | None = Field(default=None, description="json: constrains the reply to JSON")
    grammar: str | None = Field(default=None, min_length=1, description="constrains the reply to this GBNF grammar")
    think: Think = Field(
        default="off", description="whether and how long the model thinks; default: the server decides"
    )
    keep_alive: str | None = Field(
        default=None, description="how long an Ollama server keeps the model loaded after a call, such as 30m"
    )
    endpoint: Endpoint = Field(default="chat", description="chat: messages; generate: one prompt")
    raw: bool = Field(default=False, description="endpoint generate: without the model's chat template")

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later fields at their default, so that protocols from before they existed stay equal."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in handler(self).items()
            if name in _FIRST_FIELDS or value != fields[name].get_default(call_default_factory=True)
        }

    @property
    def constrains(self) -> bool:
        """Whether the reply must be JSON or follow a grammar."""
        return bool(self.json_schema or self.format or self.grammar)

    @field_validator("think", mode="before")
    @classmethod
    def _is_not_boolean(cls, value: object) -> object:
        return ("on" if value else "off") if isinstance(value, bool) else value  # YAML's on and off

    @field_validator("keep_alive", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("keep_alive")
    @classmethod
    def _keeps_the_model(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _DURATION.fullmatch(value):
            raise ValueError("must be a duration such as 10m, or -1 for ever")
        if float(re.match(r"-?[\d.]+", value)[0]) == 0:  # type: ignore[index]
            raise ValueError("0 unloads the model after every call, so that each call would load it; write 10m")
        return value

    @field_validator("options")
    @classmethod
    def _repeats_no_field(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        repeated = [f"{name} (write {_field_of(name)})" for name in value if _field_of(name) is not None]
        if repeated:
            raise ValueError(f"repeats fields of decoding: {', '.join(repeated)}")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if sum(getattr(self, name) is not None for name in _FORMATS) > 1:
            raise ValueError("json_schema, format and grammar exclude each other")
        if self.raw and self.endpoint != "generate":
            raise ValueError("raw needs endpoint: generate")
        return self

    def with_options(self, options: Mapping[str, object]) -> DecodingOptions:
        """Return this with production's options, under the names that servers have for them.

        What has a field here sets it, everything else is passed on. Raises `ValidationError`.
        """
        given = {name: value for name, value in options.items() if value is not None}
        fields = {field: given.pop(name) for name in list(given) if (field := _field_of(name)) is not None}
        if isinstance(fields.get("format"), dict):
            fields["json_schema"] = fields.pop("format")
        kept = self.model_dump()
        if fields.keys() & set(_FORMATS):
            kept = {name: value for name, value in kept.items() if name not in _FORMATS}
        return DecodingOptions.model_validate({**kept, **fields, "options": {**self.options, **given}})


def _field_of(name: str) -> str | None:
    field = _OTHER_NAMES.get(name, name)
    return field if field in DecodingOptions.model_fields and field != "options" else None
