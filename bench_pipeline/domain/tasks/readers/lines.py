"""Readers of prose replies: a leading tag, a final line, or a pattern for the whole reply.

Readers of JSON and of templates are in structured.py. The words that take a verdict back are in wording.py.
"""

from __future__ import annotations

import re

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.contracts import VERDICT, FinalLine, LeadingTag, Pattern
from bench_pipeline.domain.tasks.readers.labels import APPROVING, REFUSING, SIGN, Vocabulary
from bench_pipeline.domain.tasks.readers.text import NoVerdict, plain
from bench_pipeline.domain.tasks.readers.wording import taken_back_at_once, taken_back_before, taken_back_later

_SHOWN = 40
_SIGN = re.compile(SIGN)


def begins_with_tag(contract: LeadingTag, text: str) -> bool:
    """Whether `text` begins with a tag, after emphasis."""
    return _leading_tag(contract.vocabulary, plain(text).lstrip()) is not None


def read_leading_tag(contract: LeadingTag, text: str) -> str:
    """Return the verdict at the start of `text`. Raises `NoVerdict`."""
    vocabulary = contract.vocabulary
    said = plain(text).lstrip()
    found = _leading_tag(vocabulary, said)
    if found is None:
        raise NoVerdict(f"does not start with {vocabulary.named}")
    verdict = vocabulary.meaning(found[1])
    _refuse_contrary_sign(said, verdict)
    rest = said[found.end() :]
    _refuse_other_tag(vocabulary, rest, verdict)
    reason = taken_back_at_once(rest, vocabulary, verdict) or taken_back_later(rest, vocabulary, verdict)
    if reason:
        raise NoVerdict(reason)
    return verdict


def holds_verdict_line(contract: FinalLine, text: str) -> bool:
    """Whether a line of `text` is only a verdict."""
    return any(_alone(contract.vocabulary, line) for line in _lines(text))


def read_final_line(contract: FinalLine, text: str) -> str:
    """Return the verdict in the last line of `text`, which must be the only one. Raises `NoVerdict`."""
    vocabulary = contract.vocabulary
    lines = _lines(text)
    verdict = _alone(vocabulary, lines[-1]) if lines else None
    if verdict is None:
        raise NoVerdict(f"the last line is not just {vocabulary.words}")
    _refuse_contrary_sign(lines[-1], verdict)
    before = "\n".join(lines[:-1])
    _refuse_other_tag(vocabulary, before, verdict)
    if any(_alone(vocabulary, line) not in (None, verdict) for line in lines[:-1]):
        raise NoVerdict(_OTHERS)
    if reason := taken_back_before(before):
        raise NoVerdict(reason)
    return verdict


def begins_with_pattern(contract: Pattern, text: str) -> bool:
    """Whether `text` or a line of it begins as the pattern says."""
    expression = contract.expression
    return any(expression.match(part) for part in (plain(text).strip(), *_lines(text)))


def read_pattern(contract: Pattern, text: str) -> str:
    """Return the verdict that the contract's pattern finds in `text`. Raises `NoVerdict`."""
    found = contract.expression.fullmatch(plain(text).strip())
    if not found:
        raise NoVerdict("does not match the pattern")
    # Only the matched word counts: an unlisted word must not make the search fall back to an earlier one.
    said = found[VERDICT] or ""
    verdict = contract.vocabulary.class_of(said)
    if verdict is None:
        raise NoVerdict(f"{said[:_SHOWN]!r} is not a word of the contract")
    return verdict


_OTHERS = "contains different verdicts"


def _leading_tag(vocabulary: Vocabulary, said: str) -> re.Match[str] | None:
    sign = _SIGN.match(said)
    return vocabulary.tag.match(said, sign.end() if sign else 0)


def _lines(text: str) -> list[str]:
    return [line for line in (part.strip() for part in plain(text).split("\n")) if line]


def _alone(vocabulary: Vocabulary, line: str) -> str | None:
    found = vocabulary.alone.fullmatch(line)
    return vocabulary.meaning(found["tag"] or found["word"]) if found else None


def _refuse_contrary_sign(said: str, verdict: str) -> None:
    sign = said[:1]
    if (sign in REFUSING and verdict != Gold.FAIL) or (sign in APPROVING and verdict == Gold.FAIL):
        raise NoVerdict(f"the sign {sign} contradicts the verdict")


def _refuse_other_tag(vocabulary: Vocabulary, text: str, verdict: str) -> None:
    if any(vocabulary.meaning(tag) != verdict for tag in vocabulary.tag.findall(text)):
        raise NoVerdict(_OTHERS)
