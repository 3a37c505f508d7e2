"""What a model is asked in one call, with all fields filled. How it samples its reply is in decoding.py.

Templates and their fields are in tasks/prompt.py; what a runtime makes of a request is in runtimes/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["system", "user", "assistant"]
IMAGE_FIELDS = frozenset({"image", "images", "image_url"})
"""Names under which a request or a case would hold images, which this program does not send."""
NO_IMAGES = "images are not supported, only text"


class Message(BaseModel):
    """One turn of a conversation; in a task its content is a template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    content: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _has_no_images(cls, value: Any) -> Any:  # noqa: ANN401 - what a file contains
        if isinstance(value, dict) and (IMAGE_FIELDS & value.keys() or isinstance(value.get("content"), list)):
            raise ValueError(f"{NO_IMAGES}; write content as one text")
        return value


@dataclass(frozen=True, slots=True)
class Request:
    """The messages of one call in order; `suffix` is the text after the reply, for the endpoint `generate`."""

    messages: tuple[Message, ...]
    suffix: str = ""

    @property
    def chars(self) -> int:
        """The number of characters that the model reads, without what its chat template adds."""
        return sum(len(message.content) for message in self.messages) + len(self.suffix)

    @property
    def system(self) -> str:
        """The system message, empty if there is none."""
        return next((message.content for message in self.messages if message.role == "system"), "")

    @property
    def prompt(self) -> str:
        """The last message, which is the whole prompt for the endpoint `generate`."""
        return self.messages[-1].content


def user_request(text: str) -> Request:
    """Return the request of a single user message."""
    return Request((filled_message("user", text),))


def filled_message(role: Role, text: str) -> Message:
    """Return a message with any text: a case's may be empty, or contain what no file can."""
    return Message.model_construct(role=role, content=text)
