"""Readers of replies that are prose: a tag at the beginning, a line at the end, a pattern for all of it."""

from __future__ import annotations

import re

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.contracts import VERDICT, Pattern
from bench_pipeline.domain.tasks.readers.text import NoVerdict, folded, without_emphasis

_SHOWN = 40

# ASCII, because the Turkish letters of [FAİL] and [FAıL] are equal to I when case is ignored.
_TAG = re.compile(r"\[\s*(PASS|FAIL)\s*\]", re.IGNORECASE | re.ASCII)
_ALONE = re.compile(r"(?:\[\s*(?P<tag>PASS|FAIL)\s*\]|(?P<word>PASS|FAIL))\.?", re.IGNORECASE | re.ASCII)
_CONDITION = re.compile(r"[\s,;:/|(–—-]*\b(if|unless|when|or|provided|assuming|only|except)\b", re.IGNORECASE)
_LEADS_IN = re.compile(r"\b(not|never|nor|or|if|unless|than|instead of)\W*\Z", re.IGNORECASE)


def read_leading_tag(text: str) -> Gold:
    """Return the verdict that `text` begins with. Raises `NoVerdict`."""
    plain = without_emphasis(text).lstrip()
    found = _TAG.match(plain)
    if not found:
        raise NoVerdict("does not begin with [PASS] or [FAIL]")
    verdict = Gold(found[1].upper())
    rest = plain[found.end() :]
    _refuse_other_tag(rest, verdict)
    if _CONDITION.match(rest):
        raise NoVerdict("the verdict has a condition")
    return verdict


def read_final_line(text: str) -> Gold:
    """Return the verdict that is the last line of `text` and the only one in it. Raises `NoVerdict`."""
    lines = [line for line in (part.strip() for part in without_emphasis(text).split("\n")) if line]
    verdict = _alone(lines[-1]) if lines else None
    if verdict is None:
        raise NoVerdict("the last line is not PASS or FAIL alone")
    before = "\n".join(lines[:-1])
    _refuse_other_tag(before, verdict)
    if any(_alone(line) not in (None, verdict) for line in lines[:-1]):
        raise NoVerdict("holds both verdicts")
    if _LEADS_IN.search(before[-_SHOWN:]):
        raise NoVerdict("the line before the verdict negates it or makes it depend on something")
    return verdict


def read_pattern(contract: Pattern, text: str) -> Gold:
    """Return the verdict that the contract's expression finds in `text`. Raises `NoVerdict`."""
    flags = re.DOTALL if contract.dotall else re.NOFLAG
    found = re.compile(contract.pattern, flags).fullmatch(without_emphasis(text).strip())
    if not found:
        raise NoVerdict("does not match the pattern")
    # Only what the match holds counts: an unlisted word never sends the search back to an earlier one.
    said = found[VERDICT] or ""
    for verdict, words in contract.words.items():
        if folded(said) in {folded(word) for word in words}:
            return verdict
    raise NoVerdict(f"{said[:_SHOWN]!r} is no word of the contract")


def _alone(line: str) -> Gold | None:
    found = _ALONE.fullmatch(line)
    return Gold((found["tag"] or found["word"]).upper()) if found else None


def _refuse_other_tag(text: str, verdict: Gold) -> None:
    if any(Gold(tag.upper()) is not verdict for tag in _TAG.findall(text)):
        raise NoVerdict("holds both verdicts")
