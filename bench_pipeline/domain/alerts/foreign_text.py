"""Text of models, people and other programs made safe for a message: no secret, no control character, no markup."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import quote, unquote

HIDDEN = "(hidden)"
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*(?:@[^\s/@]*)*@")
_SHORT = 6  # a shorter secret is also part of many words
# What chat services and mail programs read as formatting, mentions or links, and what is written in its place.
_MARKUP = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")", "`": "'", "*": "·", "~": "-", "|": "/", "\\": "/",
                         "@": "＠", "#": "＃"})  # fmt: skip
_LINK = re.compile(r"(?<=\w):(?=//)")
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is part of a name


def plain(text: object, limit: int = 200) -> str:
    """Return text as one line of at most `limit` characters that no receiver formats, links or obeys."""
    visible = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in str(text)[: 20 * limit])
    line = " ".join(visible.translate(_MARKUP).split())
    line = _EMPHASIS.sub("-", _LINK.sub(": ", line))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def without_secrets(text: object, secrets: Collection[str]) -> str:
    """Return text without these secrets, in any form in which a program writes them, and without logins in URLs."""
    pattern = _pattern(frozenset(secrets))
    hidden = pattern.sub(HIDDEN, str(text)) if pattern else str(text)
    return _CREDENTIALS.sub(f"{HIDDEN}@", hidden)


@lru_cache(maxsize=4)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets for form in _forms(secret) if form}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(_expression, longest_first))) if forms else None


def _forms(secret: str) -> set[str]:
    bare = unquote(secret)
    return {secret, bare, quote(bare, safe=""), quote(bare), repr(bare)[1:-1], bare.replace('"', '\\"')}


def _expression(form: str) -> str:
    return re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
