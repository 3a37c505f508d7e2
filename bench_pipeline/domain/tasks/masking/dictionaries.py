"""Words by which names are told from other words: dictionaries of Faker, and what they lack in words.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Literal

import yaml

_LANGUAGES_OF_NAMES = (
    "en_US", "en_GB", "en_IE", "en_IN", "de_DE", "de_AT", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_PT",
    "pt_BR", "sv_SE", "no_NO", "da_DK", "fi_FI", "tr_TR", "hr_HR", "cs_CZ", "ro_RO", "hu_HU",
    "en_NG", "en_KE", "en_PK", "yo_NG", "ig_NG", "tw_GH", "id_ID", "ga_IE", "is_IS", "sk_SK", "sl_SI", "lt_LT", "et_EE",
    "ru_RU", "uk_UA", "bg_BG", "el_GR",
)  # fmt: skip
_ORDINARY_WORDS = (
    ("job", ("en_US", "de_DE", "fr_FR"), ("jobs", "jobs_female")),
    ("lorem", ("en_US", "de_DE"), ("word_list",)),
    ("address", ("en_US", "de_DE", "fr_FR"), ("cities", "states", "countries", "regions", "departments")),
)
_LISTS: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
_WORD = re.compile(r"[^\W\d_]+")

ORGANIZATION_WORDS = frozenset(_LISTS["organization_words"])
PLACE_BEGINNINGS = frozenset(_LISTS["place_beginnings"])
DEGREES = frozenset(_LISTS["degrees"])
FAMILIES_TOO = frozenset(_LISTS["families_too"])
PARTICLES = frozenset(_LISTS["particles"])
EMPLOYERS = frozenset(_LISTS["employers"])
POSTCODE_AREAS = frozenset(_LISTS["postcode_areas"])
_TOWNS = frozenset(_LISTS["towns"])
_OTHER_WORDS = frozenset(_LISTS["other_words"])


@cache
def _given() -> dict[str, set[str]]:
    """The given names of the dictionaries, in lower case, with their genders."""
    found: dict[str, set[str]] = {name: set() for name in _LISTS["given_names"]}
    for language in _LANGUAGES_OF_NAMES:
        for gender, lists in (
            ("f", ("first_names_female", "first_names_women")),
            ("m", ("first_names_male", "first_names_men")),
            ("", ("first_names",)),
        ):
            for name in _words("person", language, lists):
                found.setdefault(name.lower(), set()).update(gender)
    return found


@cache
def _families() -> frozenset[str]:
    lists = ("last_names", "last_names_female", "last_names_male")
    return frozenset(name.lower() for language in _LANGUAGES_OF_NAMES for name in _words("person", language, lists))


@cache
def _ordinary() -> frozenset[str]:
    listed = (
        word.lower()
        for kind, languages, lists in _ORDINARY_WORDS
        for language in languages
        for phrase in _words(kind, language, lists)
        for word in _WORD.findall(phrase)
    )
    return frozenset(listed) | ORGANIZATION_WORDS | _TOWNS | _OTHER_WORDS


def _words(kind: str, language: str, lists: tuple[str, ...]) -> Iterator[str]:
    """Return the entries of a provider's lists; a provider lacks some of them."""
    provider = import_module(f"faker.providers.{kind}.{language}").Provider
    for name in lists:
        entries = getattr(provider, name, ())
        yield from (str(entry) for entry in entries)


def is_given(word: str) -> bool:
    """Whether the word is a given name in a dictionary; of a double one, both halves must be."""
    return word.lower() in _given() or all(part in _given() for part in word.lower().split("-"))


def is_family(word: str) -> bool:
    """Whether the word is a family name in a dictionary; of a double one, one half is enough."""
    return any(part in _families() for part in (word.lower(), *word.lower().split("-")))


def is_ordinary(word: str) -> bool:
    """Whether the word also has another use: in general language, in job titles, as a place or an organization."""
    return word.lower() in _ordinary()


def gender_of(given: str) -> Literal["f", "m", ""]:
    """Return the gender of a given name, or of its first half, if the dictionaries agree on one."""
    genders = _given().get(given.lower()) or _given().get(given.lower().partition("-")[0], set())
    return "" if len(genders) != 1 else "f" if "f" in genders else "m"
