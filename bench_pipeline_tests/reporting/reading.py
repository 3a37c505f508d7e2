"""Reads Markdown as a renderer does, to see what is left of hostile text."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_AUTOLINK = re.compile(r"\w://|www\.|[-.\w+]@[-\w]", re.IGNORECASE)
WORD_JOINER = "\u2060"


def tokens(markdown: str) -> list[Token]:
    """All tokens, the ones inside lines too."""
    return [inner for token in _PARSER.parse(markdown) for inner in (token, *(token.children or ()))]


def kinds(markdown: str) -> set[str]:
    return {token.type for token in tokens(markdown)}


def shown(markdown: str) -> str:
    """The text that a reader sees."""
    return "".join(t.content for t in tokens(markdown) if t.type in ("text", "text_special")).replace(WORD_JOINER, "")


def rows(markdown: str) -> list[int]:
    """The number of cells of every table row, as they are written; a renderer hides cells too many."""
    return [line.count("|") - 1 for line in markdown.splitlines() if line.startswith("|")]


def links(markdown: str) -> list[str]:
    """What a renderer would make a link, an image or HTML of, bare addresses too."""
    active = [t.type for t in tokens(markdown) if t.type in ("link_open", "image", "html_inline", "html_block")]
    return active + _AUTOLINK.findall("".join(_read(token) for token in tokens(markdown)))


def _read(token: Token) -> str:
    """A line of a list and the next one are not one word."""
    return token.content if token.type == "text" else "\n" if token.type in ("inline", "softbreak") else ""
