"""Text from models, servers and people, made storable. Normalizing replies is in tasks/readers/text.py."""

from __future__ import annotations

import re

_REFUSED = re.compile("[\x00\ud800-\udfff]")


def first_line(message: object) -> str:
    """Return the first line of an error or a message; the others are hints or quote the input."""
    return next(iter(str(message).strip().splitlines()), "")


def storable(text: str) -> str:
    """Replace what databases refuse with U+FFFD: NUL (PostgreSQL) and lone surrogates (UTF-8)."""
    return _REFUSED.sub("\ufffd", text)
