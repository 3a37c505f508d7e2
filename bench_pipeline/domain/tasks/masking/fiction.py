"""The fictional values that replace personal data: natural to read, and reserved, so that they belong to nobody.

Equal values get equal fiction. A fictional value is recognized, so that masking a masked text changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

from bench_pipeline.domain.tasks.masking.addresses import FICTIONAL, FICTIONAL_STREETS
from bench_pipeline.domain.tasks.masking.contacts import digits_of
from bench_pipeline.domain.tasks.masking.dictionaries import gender_of
from bench_pipeline.domain.tasks.masking.spans import Kind, Span

FICTIONAL_WOMEN = (
    "Elowen", "Tamsin", "Ysolde", "Ottoline", "Perdita", "Rosalba", "Sidonie", "Evadne", "Ianthe", "Calantha",
    "Amabel", "Verity", "Linnet", "Mirabel", "Oriel", "Ysmay", "Theodosia", "Zelie", "Clemency", "Philomel",
)  # fmt: skip
FICTIONAL_MEN = (
    "Leofric", "Corwyn", "Evander", "Caspian", "Lucan", "Peregrine", "Auberon", "Lysander", "Osric", "Tancred",
    "Alaric", "Benedick", "Crispin", "Fenwick", "Ivander", "Jolyon", "Orson", "Quentin", "Rafferty", "Torquil",
)  # fmt: skip
_BEGINNINGS = (
    "Pell", "Quill", "Thistle", "Bracken", "Tarn", "Merri", "Rook", "Sorrel", "Umber", "Vesper", "Ember", "Larkin",
    "Cobb", "Wexa", "Dray", "Ilver",
)  # fmt: skip
_ENDINGS = ("combe", "mere", "fold", "wick", "ridge", "stead", "thorne", "holt", "marsh", "bourne")
# In an order in which neighbours differ in beginning and ending; each combination occurs once.
FICTIONAL_FAMILIES = tuple(_BEGINNINGS[number % 16] + _ENDINGS[(number + number // 16) % 10] for number in range(160))
_FICTIONAL_WORDS = frozenset(name.lower() for name in FICTIONAL_WOMEN + FICTIONAL_MEN + FICTIONAL_FAMILIES)

# Ranges that the regulators reserve for drama: Ofcom, NANPA, Bundesnetzagentur, ARCEP.
_FICTIONAL_PHONE = re.compile(
    r"(?:44|0)?0?1632960\d{3}|1?[2-9]\d\d55501\d\d|(?:49|0)?0?3023125\d{3}|(?:33|0)?0?19900\d{4}"
)
_FICTIONAL_EMAIL = re.compile(r".*@(?:[\w-]+\.)*(?:example\.(?:com|net|org)|example)", re.IGNORECASE | re.DOTALL)
_CARDS = (
    "4111111111111111", "5555555555554444", "4012888888881881", "4242424242424242", "5105105105105100",
    "2223003122003222", "6011111111111117", "3530111333300000",
)  # fmt: skip
_ACCOUNT = "BUKB202015555555"  # of the example in the registry of IBANs


def is_fictional(span: Span, text: str) -> bool:
    """Whether what stands at the place is fictional already."""
    match span.kind:
        case Kind.NAME:
            return all(is_fictional_name(text[part.start : part.end]) for part in span.parts)
        case Kind.EMAIL:
            return _FICTIONAL_EMAIL.fullmatch(span.key) is not None
        case Kind.PHONE:
            return _FICTIONAL_PHONE.fullmatch(digits_of(text[span.start : span.end])) is not None
        case Kind.ADDRESS:
            return span.key == FICTIONAL
        case Kind.POSTCODE:
            return text[span.start : span.end] == "9ZZ"
        case Kind.LOGIN:
            return span.key == "user@"
        case Kind.HANDLE:
            return re.fullmatch(r"reader\d+", span.key) is not None
        case Kind.IBAN:
            return _ACCOUNT in span.key
        case Kind.CARD:
            return span.key in _CARDS


def is_fictional_name(word: str) -> bool:
    """Whether the word is one of the fictional names, or several joined by hyphens."""
    return all(part in _FICTIONAL_WORDS for part in word.lower().split("-"))


class Fiction:
    """Assigns fictional values. Values that the texts hold already are not assigned again."""

    def __init__(self, taken: str) -> None:
        self._taken = taken
        self._assigned: dict[tuple[str, str], str] = {}

    def of(self, span: Span, text: str) -> str:
        """Return what replaces the place."""
        original = text[span.start : span.end]
        match span.kind:
            case Kind.NAME:
                return self._name(span, text)
            case Kind.EMAIL:
                return self._next("email", span.key, lambda number: f"contact{number}@example.com")
            case Kind.PHONE:
                return self._phone(span.key, original)
            case Kind.ADDRESS:
                language = span.key.partition(":")[0]
                return self._next("address", span.key, lambda number: FICTIONAL_STREETS[language].format(number))
            case Kind.POSTCODE:
                return "9ZZ"
            case Kind.LOGIN:
                return "user@"
            case Kind.HANDLE:
                handle = self._next("handle", span.key, lambda number: f"reader{number}")
                return f"@{handle}" if original.startswith("@") else handle
            case Kind.IBAN:
                return self._next("iban", span.key, _iban, may_repeat=True)
            case Kind.CARD:
                return self._next("card", span.key, lambda number: _CARDS[number % len(_CARDS)], may_repeat=True)

    def _name(self, span: Span, text: str) -> str:
        replaced, end = "", span.start
        for part in span.parts:
            replaced += text[end : part.start] + self._name_word(text[part.start : part.end], part.is_family)
            end = part.end
        return replaced + text[end : span.end]

    def _name_word(self, word: str, is_family: bool) -> str:
        if is_fictional_name(word):
            return word
        choices = FICTIONAL_FAMILIES if is_family else FICTIONAL_MEN if gender_of(word) == "m" else FICTIONAL_WOMEN
        chosen = self._next("family" if is_family else "given", word.lower(), lambda number: _joined(choices, number))
        if word.islower():
            return chosen.lower()
        return chosen.upper() if word.isupper() and len(word) > 1 else chosen

    def _phone(self, key: str, original: str) -> str:
        """Return a number of the same country, with its code if the original has one."""
        country = next((code for code in ("+44", "+49", "+33", "+1") if key.startswith(code)), "")
        number = self._next("phone", key, lambda number: f"{number % 1000:03}", may_repeat=True)
        abroad = original.strip().startswith("+")
        match country:
            case "+1":
                national = f"{201 + int(number) // 100} 555-01{int(number) % 100:02}"
                return f"+1 {national}" if abroad else national
            case "+49":
                return f"+49 30 23125 {number}" if abroad else f"030 23125 {number}"
            case "+33":
                return f"+33 1 99 00 0{number[0]} {number[1:]}" if abroad else f"01 99 00 0{number[0]} {number[1:]}"
        return f"+44 1632 960{number}" if abroad else f"01632 960{number}"

    def _next(self, kind: str, key: str, make: Callable[[int], str], *, may_repeat: bool = False) -> str:
        """Return the value of the key; a new key gets the next value that neither a key nor the texts have."""
        if (kind, key) not in self._assigned:
            used = {value for (other, _), value in self._assigned.items() if other == kind}
            values = (make(number) for number in count(len(used) if may_repeat else 1))
            self._assigned[kind, key] = next(
                value for value in values if may_repeat or (value not in used and not self._is_taken(value))
            )
        return self._assigned[kind, key]

    def _is_taken(self, value: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", self._taken, re.IGNORECASE) is not None


def _joined(names: tuple[str, ...], number: int) -> str:
    """Return the name with this number from 1; past the last one, two names joined."""
    first, second = (number - 1) % len(names), (number - 1) // len(names)
    return names[first] if second == 0 else f"{names[first]}-{names[(first + second) % len(names)]}"


def _iban(number: int) -> str:
    account = f"{_ACCOUNT}{number % 100:02}"
    rest = int("".join(str(int(char, 36)) for char in account + "GB00"))
    code = f"GB{98 - rest % 97:02}{account}"
    return " ".join(code[start : start + 4] for start in range(0, len(code), 4))
