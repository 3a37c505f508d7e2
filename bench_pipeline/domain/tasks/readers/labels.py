"""The classes that a task tells apart, and the words that say each of them in a reply.

The default classes are PASS and FAIL. What prose around a word takes it back is in wording.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from bench_pipeline.domain.tasks.gold import ClassName, Gold
from bench_pipeline.domain.tasks.readers.text import folded

# The forms in which prose uses a word. Words that are not listed have no other form: their language is not known.
_FORMS = {
    "pass": ("passes", "passed", "passing"),
    "fail": ("fails", "failed", "failing", "failure"),
    "accept": ("accepts", "accepted", "accepting"),
    "reject": ("rejects", "rejected", "rejecting"),
    "approve": ("approves", "approved", "approving"),
}
# Words that have other meanings in prose, such as "no" in "there are no errors".
_ORDINARY = frozenset(
    {"yes", "no", "ja", "nein", "ok", "okay", "true", "false", "good", "bad", "other", "none", "unknown"}
)
# Signs that models put before or after a verdict; U+FE0F only asks for the coloured sign.
APPROVING, REFUSING = "✅✔☑🟢👍", "❌✖✗✘❎🔴👎🚫⛔🛑"
SIGN = rf"(?P<sign>[{APPROVING}{REFUSING}])?+\uFE0F?+\s*+"


def _texts(value: object) -> object:
    """Write PASS and FAIL in capitals, and numbers as text."""
    if not isinstance(value, Mapping):
        return value
    texts = {
        _class(name): [_word(word) for word in words] if isinstance(words, list | tuple) else words
        for name, words in value.items()
    }
    if len(texts) < len(value):
        raise ValueError("a class is listed twice")
    return texts


def _class(name: object) -> object:
    text = _word(name)
    return text.upper() if isinstance(text, str) and text.upper() in tuple(Gold) else text


def _word(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("put yes, no, true and false in quotation marks: YAML reads them as booleans")
    return str(value) if isinstance(value, int) else value


def _unambiguous(labels: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    if len(labels) < 2:
        raise ValueError("must list at least two classes")
    meanings: dict[str, str] = {}
    for name, words in labels.items():
        if not words or "" in map(_bare, words):
            raise ValueError(f"must list at least one word for {name}, and no empty one")
        for word in map(_bare, words):
            if meanings.setdefault(word, name) != name:
                raise ValueError(f"{word!r} is listed for both {meanings[word]} and {name}")
    return labels


Labels = Annotated[Mapping[ClassName, tuple[str, ...]], BeforeValidator(_texts), AfterValidator(_unambiguous)]
DEFAULT_LABELS: Mapping[str, tuple[str, ...]] = {gold.value: (gold.value,) for gold in Gold}
_MOST_LISTED = 8


class Vocabulary:
    """The labels of a contract, ready for reading."""

    def __init__(self, labels: Mapping[str, tuple[str, ...]]) -> None:
        self._classes = {_bare(word): name for name, words in labels.items() for word in words}
        self._labels = labels

    def class_of(self, said: str) -> str | None:
        """Return the class of a word, with or without square brackets; None for an unlisted word."""
        return self._classes.get(_bare(said))

    def meaning(self, word: str) -> str:
        """Return the class of a word that an expression of this vocabulary found."""
        return self._classes[_bare(word)]

    @cached_property
    def named(self) -> str:
        """The words in brackets, for messages."""
        return _listed(f"[{word}]" for words in self._labels.values() for word in words)

    @cached_property
    def words(self) -> str:
        """The words, for messages."""
        return _listed(word for words in self._labels.values() for word in words)

    @cached_property
    def tag(self) -> re.Pattern[str]:
        """Any word in square brackets; its group is the word."""
        return re.compile(rf"\[\s*+({_any_of(self._classes)})\s*+\]")

    @cached_property
    def alone(self) -> re.Pattern[str]:
        """A text that is only one word: with brackets in group `tag`, without in group `word`."""
        any_word = _any_of(self._classes)
        return re.compile(rf"(?:{SIGN}\[\s*+(?P<tag>{any_word})\s*+\]|(?P<word>{any_word}))\.?")

    def spoken(self, text: str, verdict: str, *, own: bool) -> Iterator[re.Match[str]]:
        """Yield the bare words of the class `verdict` in `text`, or those of all other classes, in all their forms.

        PASS and FAIL also say so by these names, whatever their labels.
        """
        named = {gold.value.lower(): gold.value for gold in Gold if gold.value in self._labels}
        words = tuple(word for word, name in (named | self._classes).items() if (name == verdict) is own)
        small = text.lower()
        if any(word.split()[0].lower() in small for word in words):
            yield from _bare_words(words).finditer(text)

    def shouts(self, word: str) -> bool:
        """Whether `word` is written exactly as a label in capitals, so that it can hardly be an ordinary word."""
        return word.isupper() and any(word in words for words in self._labels.values())

    def is_ordinary(self, word: str) -> bool:
        """Whether `word` is a label that prose uses in other senses too."""
        return word.lower() in _ORDINARY


def vocabulary_of(labels: Mapping[str, tuple[str, ...]]) -> Vocabulary:
    """Return the vocabulary of `labels`."""
    return _vocabulary(tuple(labels.items()))


@lru_cache(maxsize=64)
def _vocabulary(labels: tuple[tuple[str, tuple[str, ...]], ...]) -> Vocabulary:
    return Vocabulary(dict(labels))


@lru_cache(maxsize=256)
def _bare_words(words: tuple[str, ...]) -> re.Pattern[str]:
    forms = [form for word in words for form in (word, *_FORMS.get(word, ()))]
    return re.compile(rf"(?<!\w)(?<!\w-)({_any_of(forms)})(?!\w|-\w)")


def _bare(word: str) -> str:
    text = folded(word)
    return text[1:-1].strip() if text.startswith("[") and text.endswith("]") else text


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    if len(most) >= _MOST_LISTED:
        return f"{', '.join(most[:3])}, … or {last} ({len(most) + 1} words)"
    return f"{', '.join(most)} or {last}"


def _any_of(words: Iterable[str]) -> str:
    """Return an expression for any of the words, the longest first, that ignores the case of A to Z only."""
    return "|".join(_expression(word) for word in sorted(words, key=len, reverse=True))


def _expression(word: str) -> str:
    return r"\s+".join("".join(map(_letter, part)) for part in word.split())


def _letter(char: str) -> str:
    return f"[{char.lower()}{char.upper()}]" if char.isascii() and char.isalpha() else re.escape(char)
