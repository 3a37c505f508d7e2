"""Readers of prose replies: a leading tag, a final line, or a pattern for the whole reply.

Readers of JSON and of templates are in structured.py.
"""

from __future__ import annotations

import re

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.contracts import VERDICT, Pattern
from bench_pipeline.domain.tasks.readers.text import NoVerdict, folded, without_emphasis

_SHOWN = 40

# ASCII, because Turkish İ and ı match I when case is ignored, as in [FAİL] and [FAıL].
_TAG = re.compile(r"\[\s*(PASS|FAIL)\s*\]", re.IGNORECASE | re.ASCII)
_ALONE = re.compile(r"(?:\[\s*(?P<tag>PASS|FAIL)\s*\]|(?P<word>PASS|FAIL))\.?", re.IGNORECASE | re.ASCII)
_CONDITION = re.compile(r"[\s,;:/|(–—-]*\b(if|unless|when|or|provided|assuming|only|except)\b", re.IGNORECASE)
_LEADS_IN = re.compile(r"\b(not|never|nor|or|if|unless|than|instead of)\W*\Z", re.IGNORECASE)


def read_leading_tag(text: str) -> Gold:
    """Return the verdict at the start of `text`. Raises `NoVerdict`."""
    plain = without_emphasis(text).lstrip()
    found = _TAG.match(plain)
    if not found:
        raise NoVerdict("does not start with [PASS] or [FAIL]")
    verdict = Gold(found[1].upper())
    rest = plain[found.end() :]
    _refuse_other_tag(rest, verdict)
    if _CONDITION.match(rest):
        raise NoVerdict("the verdict has a condition")
    return verdict


def read_final_line(text: str) -> Gold:
    """Return the verdict in the last line of `text`, which must be the only one. Raises `NoVerdict`."""
    lines = [line for line in (part.strip() for part in without_emphasis(text).split("\n")) if line]
    verdict = _alone(lines[-1]) if lines else None
    if verdict is None:
        raise NoVerdict("the last line is not just PASS or FAIL")
    before = "\n".join(lines[:-1])
    _refuse_other_tag(before, verdict)
    if any(_alone(line) not in (None, verdict) for line in lines[:-1]):
        raise NoVerdict("contains both verdicts")
    if _LEADS_IN.search(before[-_SHOWN:]):
        raise NoVerdict("the line before the verdict negates it or makes it conditional")
    return verdict


def read_pattern(contract: Pattern, text: str) -> Gold:
    """Return the verdict that the contract's pattern finds in `text`. Raises `NoVerdict`."""
    flags = re.DOTALL if contract.dotall else re.NOFLAG
    found = re.compile(contract.pattern, flags).fullmatch(without_emphasis(text).strip())
    if not found:
        raise NoVerdict("does not match the pattern")
    # Only the matched word counts: an unlisted word must not make the search fall back to an earlier one.
    said = found[VERDICT] or ""
    for verdict, words in contract.words.items():
        if folded(said) in {folded(word) for word in words}:
            return verdict
    raise NoVerdict(f"{said[:_SHOWN]!r} is not a word of the contract")


def _alone(line: str) -> Gold | None:
    found = _ALONE.fullmatch(line)
    return Gold((found["tag"] or found["word"]).upper()) if found else None


def _refuse_other_tag(text: str, verdict: Gold) -> None:
    if any(Gold(tag.upper()) is not verdict for tag in _TAG.findall(text)):
        raise NoVerdict("contains both verdicts")
