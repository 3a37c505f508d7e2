"""A place in a text that holds personal data. Who finds places is in contacts.py, addresses.py and people.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of personal data; the values are shown."""

    NAME = "name"
    ADDRESS = "address"
    POSTCODE = "postcode"
    PHONE = "phone"
    EMAIL = "e-mail"
    LOGIN = "login"
    HANDLE = "handle"
    IBAN = "IBAN"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class NamePart:
    """A word of a name, as offsets in the text; the words of a name are replaced one by one."""

    start: int
    end: int
    is_family: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text: offsets, kind, a key that is equal for equal values, and the words of a name."""

    start: int
    end: int
    kind: Kind
    key: str
    parts: tuple[NamePart, ...] = ()

    def overlaps(self, other: Span) -> bool:
        """Whether the two places share a character."""
        return self.start < other.end and other.start < self.end
