"""Finds the lines of postal addresses that name a house: street and number, PO boxes, full British postcodes.

Towns and regions stay: they are what a posting is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench_pipeline.domain.tasks.masking.dictionaries import POSTCODE_AREAS
from bench_pipeline.domain.tasks.masking.spans import Kind, Span

_WORD = r"(?:[^\W\d_a-zß-öø-ÿ][\w'’.-]{0,40})"
_HOUSE = r"\d{1,5}(?:\s?[a-zA-Z](?![a-zA-Z]))?(?:\s?[-–/]\s?\d{1,5})?"
_UNIT = r"(?:,?\s(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room|Rm)\.?\s?#?\w{1,6}\b)?"
_SUFFIXES = (
    "Street St Road Rd Avenue Ave Lane Ln Drive Dr Boulevard Blvd Court Ct Way Place Pl Square Sq Terrace Close "
    "Crescent Cres Gardens Parkway Pkwy Highway Hwy Circle Trail Mews Row Quay Hill Alley Esplanade"
)
_ENGLISH = (
    rf"\b{_HOUSE},?\s(?:{_WORD}\s){{1,4}}?(?:{'|'.join((_SUFFIXES + ' ' + _SUFFIXES.upper()).split())})\b" + _UNIT
)
_GERMAN = (
    rf"(?:\b{_WORD}(?:straße|strasse|STRASSE|STRAßE|str\.|STR\.|weg|platz|allee|gasse|ring|damm|ufer|markt|graben)|"
    rf"\b{_WORD}(?:\s|-)(?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse|Ring|Damm|Ufer|Markt|Chaussee)|"
    r"\b(?:Am|Im|An der|Auf der|Zum|Zur|Unter den)\s" + _WORD + rf")\s{_HOUSE}\b"
)
_DUTCH = rf"\b{_WORD}(?:straat|laan|plein|gracht|kade|dijk|singel)\s{_HOUSE}\b(?:,?\s\d{{4}}\s?[A-Z]{{2}}\b)?"
_FRENCH = (
    rf"\b{_HOUSE},?\s(?:bis,?\s|ter,?\s)?(?:rue|avenue|boulevard|place|chemin|allée|quai|impasse|route|cours)\s"
    rf"(?:(?:de\s|du\s|des\s|la\s|le\s|les\s|l['’]|d['’])*{_WORD}\s?-?){{1,4}}"
)
_SPANISH_ITALIAN = (
    r"\b(?:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua)\s?"
    rf"(?:(?:de\s|del\s|la\s|las\s|los\s|di\s|della\s|da\s)*{_WORD}\s?){{1,4}},?\s(?:n[.º°]\s?)?{_HOUSE}\b"
)
_BOX = r"\b(?:P\.?\s?O\.?\sBox|Postfach|Boîte postale|BP|Postbus|Apartado)\s?\d[\d ]{0,8}\d?\b"
FICTIONAL_STREETS = {
    "en": "{0} Example Street",
    "de": "Musterstraße {0}",
    "nl": "Voorbeeldstraat {0}",
    "fr": "{0} rue de l’Exemple",
    "es": "Calle Ejemplo {0}",
    "box": "PO Box {0}",
}
"""What replaces an address, by the language that it was found in."""
FICTIONAL = "fictional"
_FICTIONAL_STREET = re.compile(
    "|".join(rf"\b{re.escape(street).replace(re.escape('{0}'), '[0-9]+')}\b" for street in FICTIONAL_STREETS.values())
)
_BRITISH_POSTCODE = re.compile(r"(?<![\w-])(?P<area>[A-Z]{1,2})\d[A-Z\d]?\s?(?P<inward>\d[ABD-HJLNP-UW-Z]{2})(?![\w-])")
_IN_ONE_LINE = [
    (language, re.compile(pattern.replace(r"\s", "[ \\t\u00a0]"), re.IGNORECASE if language == "box" else 0))
    for language, pattern in (
        ("en", _ENGLISH),
        ("de", _GERMAN),
        ("nl", _DUTCH),
        ("fr", _FRENCH),
        ("es", _SPANISH_ITALIAN),
        ("box", _BOX),
    )
]


def address_spans(text: str) -> Iterator[Span]:
    """Return the places; the key of an address begins with its language, which its fictional one follows.

    Fictional addresses come first, with the key `FICTIONAL`, so that no other place takes a part of them.
    """
    for match in _FICTIONAL_STREET.finditer(text):
        yield Span(match.start(), match.end(), Kind.ADDRESS, FICTIONAL)
    for language, pattern in _IN_ONE_LINE:
        for match in pattern.finditer(text):
            end = match.start() + len(match[0].rstrip(" -\t"))
            yield Span(match.start(), end, Kind.ADDRESS, f"{language}:{' '.join(text[match.start() : end].split())}")
    for match in _BRITISH_POSTCODE.finditer(text):
        if match["area"] not in POSTCODE_AREAS:
            continue
        yield Span(match.start("inward"), match.end(), Kind.POSTCODE, match[0].replace(" ", ""))
