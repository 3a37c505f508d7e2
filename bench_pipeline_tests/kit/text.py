"""Small helpers that read what the program printed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def lines_of(text: str, *beginnings: str) -> list[str]:
    """The lines that begin with one of these."""
    return [line for line in text.splitlines() if line.startswith(beginnings)]


def is_calm(text: str) -> bool:
    """Whether the text is free of characters that control a terminal."""
    return all(character.isprintable() or character == "\n" for character in text)


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def only(items: Sequence[Any]) -> Any:  # noqa: ANN401 - the type depends on the sequence
    (item,) = items
    return item
