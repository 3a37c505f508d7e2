"""The prompt of a task: templates of its messages, filled per case.

Where the templates come from is in task.py, the syntax of their fields in placeholders.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.request import Message, Request, filled_message
from bench_pipeline.domain.tasks.placeholders import BRACES, Placeholders

PROMPT_FIELDS = ("posting", "summary", "input", "posting_id")
"""The fields of every case; a case adds the keys under its `input`."""


@dataclass(frozen=True)
class PromptTemplate:
    """The messages as templates; `suffix` is the template of the text after the reply."""

    messages: tuple[Message, ...]
    suffix: str = ""
    syntax: str = BRACES
    literal: tuple[str, ...] = ()

    @property
    def text(self) -> str | None:
        """The only message if it is the whole prompt, a user message in braces; else None."""
        plain = not self.suffix and self.syntax == BRACES and not self.literal
        return self.messages[0].content if plain and [m.role for m in self.messages] == ["user"] else None

    @property
    def hash(self) -> str:
        """SHA-256 of the templates; for a single user message that of its text, as production stores it."""
        if self.text is not None:
            return content_hash(self.text)
        messages = [message.model_dump() for message in self.messages]
        rest = {"suffix": self.suffix, "syntax": self.syntax, "literal": sorted(self.literal)}
        return content_hash({"messages": messages, **rest})

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields that occur. Raises `InputError` for an invalid syntax."""
        return frozenset().union(*(self._placeholders.fields(text) for text in self._texts))

    @cached_property
    def foreign(self) -> list[str]:
        """What looks like placeholders of another syntax, which would be sent as they are."""
        return [found for text in self._texts for found in self._placeholders.foreign(text)]

    @property
    def shared_chars(self) -> int:
        """The number of characters before the first field, which all prompts share."""
        shared = 0
        for message in self.messages:
            beginning = len(self._placeholders.beginning(message.content))
            shared += beginning
            if beginning < len(message.content):
                break
        return shared

    def render(self, values: Mapping[str, str]) -> Request:
        """Return the request with every field filled. Raises `InputError` when a value is missing."""
        return Request(
            messages=tuple(
                filled_message(message.role, self._placeholders.filled(message.content, values))
                for message in self.messages
            ),
            suffix=self._placeholders.filled(self.suffix, values),
        )

    def with_production(self, template: str, system: str | None = None) -> PromptTemplate:
        """Return the prompt with production's template as its last user message, and production's system message."""
        last = max((place for place, one in enumerate(self.messages) if one.role == "user"), default=None)
        messages = [
            Message(role="user", content=template) if place == last else message
            for place, message in enumerate(self.messages)
        ]
        if system:
            others = [message for message in messages if message.role != "system"]
            messages = [Message(role="system", content=system), *others]
        return replace(self, messages=tuple(messages))

    @cached_property
    def _placeholders(self) -> Placeholders:
        return Placeholders(self.syntax, self.literal)

    @property
    def _texts(self) -> tuple[str, ...]:
        return (*(message.content for message in self.messages), self.suffix)


def user_prompt(text: str) -> PromptTemplate:
    """Return the prompt of a single user message with fields in braces."""
    return PromptTemplate((Message(role="user", content=text),))
