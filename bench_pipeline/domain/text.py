"""Text from models, servers and people: storable, cut, listed. Normalizing replies is in tasks/readers/text.py."""

from __future__ import annotations

import re
from collections.abc import Sequence

_REFUSED = re.compile("[\x00\ud800-\udfff]")


def first_line(message: object) -> str:
    """Return the first line of an error or a message; the others are hints or quote the input."""
    return next(iter(str(message).strip().splitlines()), "")


def storable(text: str) -> str:
    """Replace what databases refuse with U+FFFD: NUL (PostgreSQL) and lone surrogates (UTF-8)."""
    return _REFUSED.sub("\ufffd", text)


def listed(parts: Sequence[str], most: int = 3) -> str:
    """Return the first of these texts, separated by semicolons, and the number of the others."""
    more = len(parts) - most
    return "; ".join(parts[:most]) + (f"; and {more:,} more" if more > 0 else "")


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters; an ellipsis stands for what was cut off."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def in_the_middle(text: str, most: int) -> str:
    """Return a text of at most `most` characters; an ellipsis stands for what was cut from its middle."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
