"""Normalization of text before any reader compares it: NFKC, invisible characters, Markdown.

What of a reply is its answer is in answer.py.
"""

from __future__ import annotations

import re
import unicodedata

MAX_REPLY_CHARS = 100_000
_STRUCK = "\N{OBJECT REPLACEMENT CHARACTER}"


class NoVerdict(Exception):
    """No verdict can be read from the reply; the message says why."""


def visible(text: str) -> str:
    """Return `text` in NFKC without zero-width, bidi and other invisible characters; line breaks stay."""
    return without_invisible(unicodedata.normalize("NFKC", text))


def without_invisible(text: str) -> str:
    """Return `text` with simple line breaks and without control, format and private characters."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    hidden = {ord(c) for c in set(lines) if c not in "\n\t" and unicodedata.category(c) in ("Cf", "Cc", "Cs", "Co")}
    return lines.translate(dict.fromkeys(hidden)) if hidden else lines


def comparable(text: str) -> str:
    """Return `text` in NFKC, casefolded, with collapsed white space, without surrounding quotes and final full stop."""
    collapsed = " ".join(visible(text).casefold().split())
    return collapsed.strip("\"'“”„’").removesuffix(".").strip()


_STRUCK_OUT = re.compile(r"(?<!~)~~(?!~)[^~]++~~(?!~)")
_EMPHASIS = "*_`#>~"
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def plain(text: str) -> str:
    """Return `text` without Markdown: no emphasis, headings, quotations and code, brackets without backslashes.

    Text that is struck through becomes one character that no reader takes for a word.
    """
    text = _STRUCK_OUT.sub(_STRUCK, text).replace("\\[", "[").replace("\\]", "]")
    for mark in _EMPHASIS:
        text = text.replace(mark, "")
    return text


def folded(word: str) -> str:
    """Return a verdict word for comparison: in NFKC, plain, single blanks, A to Z in lower case.

    Other letters keep their case, because Turkish İ and ı would otherwise equal I.
    """
    return " ".join(plain(visible(word)).split()).translate(_ASCII_LOWER)
