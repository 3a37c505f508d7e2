"""Normalization of a reply's text before any reader sees it: NFKC, invisible characters, thinking.

Refuses unfinished replies. Contracts are in contracts.py.
"""

from __future__ import annotations

import re
import unicodedata

from bench_pipeline.domain.models.reply import Reply

MAX_REPLY_CHARS = 100_000


class NoVerdict(Exception):
    """No verdict can be read from the reply; the message says why."""


def normal_text(reply: Reply) -> str:
    """Return the text of a finished reply in NFKC, without invisible characters and thinking.

    Raises `NoVerdict` for a reply that is unfinished, too long or empty.
    """
    return _said(reply, visible(_finished(reply)))


def written_text(reply: Reply) -> str:
    """Return the same without NFKC, for JSON, where a full-width quotation mark must not end a value."""
    return _said(reply, _without_invisible(_finished(reply)))


def visible(text: str) -> str:
    """Return `text` in NFKC without zero-width, bidi and other invisible characters; line breaks stay."""
    return _without_invisible(unicodedata.normalize("NFKC", text))


def comparable(text: str) -> str:
    """Return `text` in NFKC, casefolded, with collapsed white space, without surrounding quotes and final full stop."""
    collapsed = " ".join(visible(text).casefold().split())
    return collapsed.strip("\"'“”„’").removesuffix(".").strip()


_EMPHASIS = re.compile(r"[*_`#>~]+")
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def without_emphasis(text: str) -> str:
    """Return `text` without the characters of Markdown emphasis, headings, quotations and code."""
    return _EMPHASIS.sub("", text)


def folded(word: str) -> str:
    """Return a verdict word for comparison: in NFKC, without emphasis, A to Z in lower case.

    Other letters keep their case, because Turkish İ and ı would otherwise equal I.
    """
    return without_emphasis(visible(word)).strip().translate(_ASCII_LOWER)


def _finished(reply: Reply) -> str:
    if not reply.complete:
        raise NoVerdict("incomplete: the runtime did not mark the reply as finished")
    if reply.done_reason == "length":
        raise NoVerdict("cut off: the reply reached num_predict or the end of the context")
    if reply.done_reason != "stop":
        raise NoVerdict(f"the runtime ended the reply with {reply.done_reason[:40]!r}")
    if len(reply.text) > MAX_REPLY_CHARS:
        raise NoVerdict(f"longer than {MAX_REPLY_CHARS} characters")
    return reply.text


def _said(reply: Reply, text: str) -> str:
    said = _without_thinking(text).strip()
    if not said:
        raise NoVerdict("empty reply" + (", only thinking" if reply.thinking or reply.text.strip() else ""))
    return said


def _without_invisible(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in lines if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc", "Cs", "Co"))


_THINKING_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)


def _without_thinking(text: str) -> str:
    """Drop what is between thinking tags, however deep; a space remains, so that words are not joined."""
    kept: list[str] = []
    depth = position = 0
    for tag in _THINKING_TAG.finditer(text):
        if depth == 0:
            kept.append(text[position : tag.start()])
        depth += -1 if tag[1] else 1
        if depth < 0:
            raise NoVerdict("a thinking tag is not opened")
        position = tag.end()
    if depth:
        raise NoVerdict("a thinking tag is not closed")
    return " ".join([*kept, text[position:]])
