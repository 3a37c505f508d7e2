"""Markdown output: the template environment escapes all foreign text automatically.

What the documents say is in their own modules and templates.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

MAX_CHARS = 300
MAX_SENTENCE_CHARS = 1500
NOTHING = "–"

_INVISIBLE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co"))
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
_SPECIAL = re.compile(r"[\\`*\[\]~&<>|]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK_START = re.compile(r"^(\d+)(?=[.)](?:\s|$))|^(?=[#+=-])")
# Many renderers turn bare addresses into links, escaped or not; an invisible word joiner prevents that.
_BARE_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=\S)(?=@\S)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


class Markdown(str):
    """Text that is already Markdown and is not escaped again."""

    __slots__ = ()


def escape(text: str, max_chars: int = MAX_CHARS) -> Markdown:
    """Return `text` as one line of Markdown that shows it and does nothing else.

    Control and invisible characters are dropped, white space becomes one space, and text longer than `max_chars`
    characters ends in `…`. The result cannot form a table, link, image or HTML.
    """
    shown = _one_line(text)
    if len(shown) > max_chars:
        shown = shown[: max_chars - 1].rstrip() + "…"
    plain = _BARE_ADDRESS.sub(_WORD_JOINER, shown)
    escaped = _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), plain)
    return Markdown(_BLOCK_START.sub(r"\1\\", escaped))


def code(text: str, max_chars: int = MAX_CHARS) -> Markdown:
    """Return `text` as a code span on one line, in which no mention, reference, link or HTML works.

    It is cut as `escape` does. A back quote becomes an apostrophe and a vertical bar a broken one, so that nothing can
    end the span or a cell of a table.
    """
    shown = _one_line(text).replace("`", "'").replace("|", "¦") or NOTHING
    return Markdown(f"`{shown if len(shown) <= max_chars else shown[: max_chars - 1].rstrip() + '…'}`")


def _one_line(text: str) -> str:
    spaced = " ".join(text.split())
    visible = (c for c in spaced if unicodedata.category(c) not in _INVISIBLE_CATEGORIES and c not in _BLANK_LETTERS)
    return " ".join("".join(visible).split())


def render(template: str, **values: object) -> str:
    """Fill a template of this package; an unknown name in it raises `jinja2.UndefinedError`."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(  # noqa: S701 - the output is Markdown, and `finalize` escapes all of it
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "ratio": ratio,
        "times": times,
        "gb": gb,
        "medal": medal,
        "short_hash": short_hash,
        "sentence": sentence,
    }
    return environment


def _finalize(value: Any) -> Any:  # noqa: ANN401 - Jinja passes any kind of value
    if value is None:
        return NOTHING
    return value if isinstance(value, Markdown | int | float) else escape(str(value))


def sentence(text: str) -> Markdown:
    """Escape one of our own sentences, which may contain several foreign names before its figures."""
    return escape(text, MAX_SENTENCE_CHARS)


def number(value: float | None) -> str:
    """Return a measured value as text without its unit: two decimals below 10, none above."""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Return a share of 1 as a percentage with one decimal."""
    return NOTHING if share is None else f"{share:.1%}"


def ratio(value: float | None) -> str:
    """Return a ratio or a p-value with three decimals."""
    return NOTHING if value is None else f"{value:.3f}"


def times(value: float | None) -> str:
    """Return how many times as long something took, such as `3.1 x`."""
    return NOTHING if value is None else f"{value:.1f} ×"


def gb(size_bytes: int | None) -> str:
    """Return bytes as GB (1e9 bytes), without the unit."""
    return NOTHING if size_bytes is None else f"{size_bytes / 1e9:.2f}"


def medal(rank: int) -> str:
    """Return the medal of the first three ranks, else the number."""
    return {1: "🥇", 2: "🥈", 3: "🥉"}.get(rank, str(rank))


def short_hash(digest: str | None) -> str:
    """Return the first 12 characters of a hash, without the name of its algorithm."""
    return NOTHING if digest is None else digest.rpartition(":")[2][:12]
