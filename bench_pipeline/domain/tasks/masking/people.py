"""Finds the names of persons: after titles, contacts, greetings and signatures, and by given names of dictionaries.

A name that is found once is known: its words are found in every text of the same import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bench_pipeline.domain.tasks.masking.dictionaries import (
    DEGREES,
    EMPLOYERS,
    FAMILIES_TOO,
    ORGANIZATION_WORDS,
    PARTICLES,
    PLACE_BEGINNINGS,
    is_family,
    is_given,
    is_ordinary,
)
from bench_pipeline.domain.tasks.masking.spans import Kind, NamePart, Span

_WORD = re.compile(r"[^\W\d_]+(?:(?:['’](?!s\b)|-)[^\W\d_]+)*")
_TITLE = (
    r"(?:(?:Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Hr|Fr|Mme|Mlle|Sra?|Sig|Dhr|Mevr|Dipl\.-Ing|Ing|Mag|Capt|Col|Lt|Maj|Sgt|Cpl|MAJ|"
    r"LTC|COL|CPT|SGT|MSG|CW\d)\b\.?|(?:Miss|Professor|Sir|Dame|Lord|Lady|Reverend|Herrn?|Frau|Monsieur|Madame|Señora?|"
    r"Signora?|Mevrouw|Doña|Don|Pan|Pani|Captain|Colonel)\b)"
)
_AFTER_TITLE = re.compile(rf"(?<![\w&]){_TITLE}[ \u00a0]+(?=[^\W\d_])")
_AFTER_CONTACT = re.compile(
    r"(?:\b(?:contact(?: person)?|point of contact|poc|attn|attention|c/o|recruiter|hiring manager|line manager|"
    r"supervisor|interviewer|reports? to|reporting to|managed by|signed(?: by)?|written by|posted by|candidate|"
    r"applicant|name|first name|last name|surname|full name|referee|ansprechpartner(?:in)?|kontakt(?:person)?|"
    r"bewerber(?:in)?|vorname|nachname|z\. ?hd\.|zu händen|contacto|referente|contactpersoon)"
    r"(?: is| ist| est| es)?[ ]?[:\-–][ ]?|\bhead of [a-z]+, |\b(?:contact|email|e-mail|ask for|speak to|talk to) )",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"(?:^|[\n.!?]\s*)(?:dear|hi|hello|hey|hallo|liebe[rs]?|sehr geehrte[rs]?|guten tag|bonjour|cher|chère|hola|"
    r"estimad[oa]|ciao|gentile|caro|cara|beste|geachte)[ ]",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"(?:\bregards|\bsincerely|\byours|\bcheers|\bthanks|\bthank you|\bbest wishes|\bgrüßen?|\bmfg|\bcordialement|"
    r"\bsaludos|\bsaluti|\bgroeten?)(?:[ ][a-z]+)?[,.!]?[ ]*\n\s*",
    re.IGNORECASE,
)
_LONE_BEFORE = re.compile(
    r"\b(?:ask|call|phone|e-?mail|contact|tell|meet|thank|thanks|text|reach|"
    r"(?:speak|talk|write|report|reports) (?:to|with)|frag(?:en)?(?: Sie)?|sich (?:an|bei))[ ]$",
    re.IGNORECASE,
)
_LONE_AFTER = re.compile(
    r"^(?:['’]s[ ](?=[a-z])|[ ](?:said|says|asked|told|wrote|called|replied|"
    r"will (?:be|interview|call|contact|show|help|meet|answer)|hilft|zeigt|beantwortet)\b)"
)
_AMOUNT = re.compile(r"\d[ \u00a0]$")  # before a noun, as in "30 Tage Urlaub"
_EMAIL_LOCAL = re.compile(r"\b([^\W\d_]{2,40})[._]([^\W\d_]{2,40})@")
_MOST_WORDS = 4
_NEARBY = 40  # characters that say whether a given name alone is a person


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    starts_name: bool
    """Whether it is joined to the next word by a blank, or by a full stop and a blank after an initial."""

    @property
    def is_capital(self) -> bool:
        return self.text[0].isupper()

    @property
    def is_initial(self) -> bool:
        return len(self.text) == 1 and self.text.isupper()

    @property
    def is_acronym(self) -> bool:
        return len(self.text) > 1 and self.text.isupper()

    def is_acronym_after(self, run: Sequence[_Word]) -> bool:
        """Whether the word is in capitals and the name before it is not."""
        return self.is_acronym and any(not word.text.isupper() for word in run)

    @property
    def key(self) -> str:
        return self.text.lower()


@dataclass(slots=True)
class KnownNames:
    """The words of the names that were found in the texts of an import, in lower case."""

    given: set[str] = field(default_factory=set)
    families: set[str] = field(default_factory=set)


def known_names(texts: Iterable[str]) -> KnownNames:
    """Return the names that stand in the texts with evidence of their own."""
    known = KnownNames()
    for text in texts:
        for span in _evident(text):
            for part in span.parts:
                names = known.families if part.is_family else known.given
                names.add(text[part.start : part.end].lower())
    return known


def name_spans(text: str, known: KnownNames) -> Iterator[Span]:
    """Return the places of names: evident ones first, then known ones in small letters, then words of known ones."""
    yield from _evident(text)
    words = _words_of(text)
    yield from _in_small_letters(text, words, known)
    for index, word in enumerate(words):
        if not word.is_capital or word.is_initial or is_ordinary(word.text):
            continue
        if any(_belongs_to_organization(words, index, last) for last in _last_words(words, index)):
            continue
        if word.key in known.families or word.key in known.given:
            yield _span(text, [word], word.key in known.families and word.key not in known.given)


def _in_small_letters(text: str, words: Sequence[_Word], known: KnownNames) -> Iterator[Span]:
    """Find whole known names that are written small, as in chats, or joined by a hyphen, as in the path of a URL."""
    for first, last in pairwise(words):
        if first.starts_name and first.key in known.given and last.key in known.families:
            yield _span(text, [first, last])
    for word in words:
        given, hyphen, family = word.key.partition("-")
        if hyphen and given in known.given and family in known.families:
            middle = word.start + len(given)
            halves = NamePart(word.start, middle, False), NamePart(middle + 1, word.end, True)
            yield Span(word.start, word.end, Kind.NAME, word.key, halves)


def _evident(text: str) -> Iterator[Span]:
    words = _words_of(text)
    at = {word.start: index for index, word in enumerate(words)}
    for match in _AFTER_TITLE.finditer(text):
        if (index := at.get(match.end())) is not None and (run := _run(words, index)):
            yield _span(text, run, True if len(run) == 1 else None)
    for pattern in (_AFTER_CONTACT, _GREETING, _CLOSING):
        for match in pattern.finditer(text):
            index = at.get(match.end())
            run = _run(words, index) if index is not None else []
            if index is None or not run or _belongs_to_organization(words, index, index + len(run) - 1):
                continue
            if len(run) > 1:
                yield _span(text, run)
            elif is_given(run[0].text):
                yield _span(text, run, False)
    yield from _by_dictionary(text, words)
    yield from _by_email(text, words)


def _by_dictionary(text: str, words: Sequence[_Word]) -> Iterator[Span]:
    for index, word in enumerate(words):
        if not word.is_capital or not is_given(word.text) or _AMOUNT.search(_before(text, word)):
            continue
        run = _run(words, index, first_may_be_ordinary=True)
        if len(run) >= 2 and _is_person(run) and not _belongs_to_organization(words, index, index + len(run) - 1):
            yield _span(text, run)
        elif _is_reversed(text, words, index):
            yield _span(text, [words[index - 1]], True)
            yield _span(text, [word], False)
        elif not is_ordinary(word.text) and (
            _LONE_BEFORE.search(_before(text, word)) or _LONE_AFTER.match(text[word.end : word.end + _NEARBY])
        ):
            yield _span(text, [word], False)


def _before(text: str, word: _Word) -> str:
    return text[max(0, word.start - _NEARBY) : word.start]


def _is_person(run: Sequence[_Word]) -> bool:
    """Whether a run that begins with a given name is a person's: the more ordinary its words, the more it takes."""
    first, last = run[0], run[-1]
    if last.key.rpartition("-")[2] in ORGANIZATION_WORDS - FAMILIES_TOO:
        return False
    listed = is_family(last.text)
    if first.text.isupper() and not (listed and not is_ordinary(first.text)):
        return False
    if is_ordinary(first.text):
        return listed and not is_ordinary(last.text)
    return listed or not is_ordinary(last.text)


def _is_reversed(text: str, words: Sequence[_Word], index: int) -> bool:
    """Whether a given name follows a family name and a comma."""
    if index == 0:
        return False
    family, given = words[index - 1], words[index]
    return (
        text[family.end : given.start] == ", "
        and family.is_capital
        and is_family(family.text)
        and not is_ordinary(family.text)
        and not is_ordinary(given.text)
        and not is_given(family.text)
        and not any(_belongs_to_organization(words, one, one) for one in (index - 1, index))
    )


def _by_email(text: str, words: Sequence[_Word]) -> Iterator[Span]:
    """Find the names in the words that an e-mail address of the text is made of."""
    pairs = {(first.lower(), last.lower()) for first, last in _EMAIL_LOCAL.findall(text)}
    for first, last in pairwise(words):
        joined = first.starts_name and first.is_capital and last.is_capital
        if joined and (first.key, last.key) in pairs and not (is_ordinary(first.text) or is_ordinary(last.text)):
            yield _span(text, [first, last])


def _run(words: Sequence[_Word], index: int, *, first_may_be_ordinary: bool = False) -> list[_Word]:
    """Return the words of a name from here: capitalised, joined by blanks, ended by an ordinary word."""
    run: list[_Word] = []
    for word in words[index : index + _MOST_WORDS + 2]:
        ordinary = is_ordinary(word.text) and not is_family(word.text) and not word.is_initial
        if word.key in PARTICLES and run and not word.is_capital:
            ordinary = False
        elif (
            not word.is_capital or word.is_acronym_after(run) or (ordinary and not (first_may_be_ordinary and not run))
        ):
            break
        run.append(word)
        if not word.starts_name or len(run) > _MOST_WORDS:
            break
    while run and (run[-1].key in PARTICLES or run[-1].is_initial):
        run.pop()
    return run


def _last_words(words: Sequence[_Word], index: int) -> Iterator[int]:
    """Return the indexes of the words that may end the name of an organization which a word begins."""
    yield index
    if words[index].starts_name and index + 1 < len(words) and words[index + 1].is_capital:
        yield index + 1


def _belongs_to_organization(words: Sequence[_Word], first: int, last: int) -> bool:
    """Whether the words around make a name that of an organization or a place."""
    pair = [word.key for word in words[max(0, first - 1) : last + 2]]
    if any(" ".join(two) in EMPLOYERS for two in pairwise(pair)):
        return True
    before = words[first - 1] if first and words[first - 1].starts_name else None
    after = words[last + 1] if last + 1 < len(words) and words[last].starts_name else None
    if before is not None and before.key in PLACE_BEGINNINGS:
        return True
    if after is None or not after.is_capital:
        return False
    return after.key in ORGANIZATION_WORDS or (
        after.is_acronym_after(words[first : last + 1]) and after.key not in DEGREES
    )


def _span(text: str, words: Sequence[_Word], family: bool | None = None) -> Span:
    """Return the place of a name; `family` says whether its words are the family's, by default the last of several."""
    parts = tuple(
        NamePart(word.start, word.end, index == len(words) - 1 and len(words) > 1 if family is None else family)
        for index, word in enumerate(words)
        if not word.is_initial and word.key not in PARTICLES
    )
    start, end = words[0].start, words[-1].end
    return Span(start, end, Kind.NAME, text[start:end].lower(), parts)


def _words_of(text: str) -> list[_Word]:
    found = list(_WORD.finditer(text))
    words = []
    for index, match in enumerate(found):
        gap = text[match.end() : found[index + 1].start()] if index + 1 < len(found) else "\n"
        initial = len(match[0]) == 1 and match[0].isupper()
        joined = gap in (" ", "\u00a0") or (initial and gap in (". ", ".", ".\u00a0"))
        words.append(_Word(match[0], match.start(), match.end(), joined))
    return words
