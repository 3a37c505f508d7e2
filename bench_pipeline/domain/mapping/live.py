"""What a database holds: its tables with columns and references. Reading them is in storage/live_tables.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ColumnKind = Literal["number", "uuid", "text", "boolean", "moment", "any", "other"]


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """A column. `labels` are those of an enum, empty for other types; `key` tells that it alone is the primary key."""

    name: str
    kind: ColumnKind
    type: str
    key: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table or a view. `references` are the tables, with their schemas, that single columns refer to."""

    schema: str | None
    name: str
    columns: tuple[LiveColumn, ...]
    references: Mapping[str, tuple[str | None, str]] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str | None, str]:
        """Schema and name."""
        return self.schema, self.name

    def refers(self, column: LiveColumn, other: LiveTable) -> bool:
        """Whether a foreign key leads from the column to the other table."""
        return self.references.get(column.name) == other.place


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, each as a singular: `LlmModels` is `llm`, `model`."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", re.sub(r"[^A-Za-z0-9]+", "_", name))
    return tuple(_singular(part.lower()) for part in parts)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word
