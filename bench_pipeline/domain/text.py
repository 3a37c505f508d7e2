"""Text that a model, a server or a person wrote, made fit to be kept."""

from __future__ import annotations

import re

_REFUSED = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Return text with U+FFFD for what databases refuse: PostgreSQL takes no NUL, UTF-8 no lone surrogate."""
    return _REFUSED.sub("\ufffd", text)
