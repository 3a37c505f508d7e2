"""Finds e-mail addresses, logins in URLs, phone numbers, accounts and handles. Postal addresses are in addresses.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.tasks.masking.spans import Kind, Span

# Numbers that are written without +NN are tried in these regions.
DEFAULT_REGIONS = ("GB", "US", "DE", "FR", "NL", "AT", "CH", "IE", "ES", "IT")

_LOGIN = re.compile(r"(?<=://)[^\s/@?#]+@")
# The bounds, those of RFC 5321 for a local part, keep the search linear in texts made to slow it down.
_HOST = r"(?:[^\W_]|-){1,63}"
_EMAIL = re.compile(rf"(?<!\w)\w[\w.!#$%&'*+/=?^`{{|}}~-]{{0,63}}@{_HOST}(?:\.{_HOST})*(?!\w)")
_UNUSUAL_EMAIL = re.compile(rf"[\w.!#$%&'*+/=?^`{{|}}~-]{{1,64}}@{_HOST}(?:\.{_HOST})+(?!\w)")
_SPELLED_EMAIL = re.compile(
    r"[\w.+-]{1,64}\s{0,3}[(\[{]\s?at\s?[)\]}]\s{0,3}[\w-]{1,63}"
    r"(?:\s{0,3}(?:\.|[(\[{]\s?(?:dot|punkt)\s?[)\]}])\s{0,3}[\w-]{1,63})+",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@/.])@[^\W\d]\w*(?:\.\w+)*")
_PROFILE = re.compile(
    r"(?:linkedin\.com/(?:in|pub)|xing\.com/profile|(?:github|gitlab|twitter|x|instagram|facebook|tiktok|t)\.(?:com|me))"
    r"/(?P<handle>@?[\w.-]*\w)",
    re.IGNORECASE,
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.,])[3-6](?:[ -]?\d){12,18}(?![\d])")
_CUED_PHONE = re.compile(
    r"\b(?:tel(?:efon|ephone)?|phone|call|text|fax|mobile|mobil|cell|handy|whatsapp|ruf(?:nummer)?|tél|teléfono|hotline)"
    r"\b[^\d\n+(]{0,20}(?P<number>[+(]?\d(?:[ ()/.\-]{0,3}\d){5,15})(?![\w/])",
    re.IGNORECASE,
)
_FEWEST_DIGITS = 9


def contact_spans(text: str, regions: Sequence[str]) -> Iterator[Span]:
    """Return the places, the more certain kinds first. Raises `InputError` for an unknown region."""
    yield from _matches(_LOGIN, text, Kind.LOGIN)
    for pattern in (_EMAIL, _UNUSUAL_EMAIL, _SPELLED_EMAIL):
        yield from _matches(pattern, text, Kind.EMAIL)
    for match in _IBAN.finditer(text):
        if is_iban(match[0]):
            yield Span(match.start(), match.end(), Kind.IBAN, match[0].replace(" ", ""))
    for match in _CARD.finditer(text):
        if is_card(match[0]):
            yield Span(match.start(), match.end(), Kind.CARD, digits_of(match[0]))
    yield from _phones(text, regions)
    for match in _PROFILE.finditer(text):
        handle = match["handle"]
        yield Span(match.start("handle"), match.end("handle"), Kind.HANDLE, handle.lower().lstrip("@"))
    for match in _HANDLE.finditer(text):
        yield Span(match.start(), match.end(), Kind.HANDLE, match[0].lower().lstrip("@"))


def digits_of(text: str) -> str:
    """Return the digits of a number that is written in groups."""
    return re.sub(r"\D", "", text)


def is_iban(text: str) -> bool:
    """Whether the check digits are right (ISO 13616)."""
    code = text.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in code[4:] + code[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Whether the check digit is right (Luhn)."""
    digits = [int(digit) for digit in reversed(digits_of(text))]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def checked_regions(regions: Iterable[str]) -> tuple[str, ...]:
    """Return the regions in capitals, each once. Raises `InputError` for one that has no phone numbers."""
    from phonenumbers import SUPPORTED_REGIONS

    named = dict.fromkeys(region.strip().upper() for region in regions)
    if unknown := [region for region in named if region not in SUPPORTED_REGIONS]:
        raise InputError(f"unknown region {', '.join(unknown)}; use two-letter codes, such as GB,US,DE")
    return tuple(named)


def _matches(pattern: re.Pattern[str], text: str, kind: Kind) -> Iterator[Span]:
    for match in pattern.finditer(text):
        yield Span(match.start(), match.end(), kind, re.sub(r"\s", "", match[0]).lower())


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a number is not part of a code such as GS-0457-09, and long or marked enough for a phone number."""
    if text[start] == "+":
        return True
    number = text[start:end]
    if _is_list_of_figures(number):
        return False
    glued = re.match(r"[\w/.$€£-]", text[max(0, start - 1) : start]) or re.match(r"[\w/-]", text[end : end + 1])
    grouped = number[0] in "(0" or re.search(r"\d\D+\d", number)
    return not glued and bool(grouped) and len(digits_of(number)) >= _FEWEST_DIGITS


def _is_list_of_figures(number: str) -> bool:
    """Whether the text is figures divided by slashes, such as 0.88 / 1.32 / 0.27."""
    return number.count("/") > 1 or ("/" in number and "." in number)


def _phones(text: str, regions: Sequence[str]) -> Iterator[Span]:
    """Find numbers with +NN, then those that are valid in a region, then whatever follows a word such as "Tel."."""
    from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher, format_number

    for region in (None, *regions):
        for match in PhoneNumberMatcher(text, region, Leniency.VALID):
            if _stands_alone(text, match.start, match.end):
                key = format_number(match.number, PhoneNumberFormat.E164)
                yield Span(match.start, match.end, Kind.PHONE, key)
    for found in _CUED_PHONE.finditer(text):
        if _is_list_of_figures(found["number"]):
            continue
        yield Span(found.start("number"), found.end("number"), Kind.PHONE, digits_of(found["number"]))
