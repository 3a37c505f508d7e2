"""Masks the texts of an import together, so that equal values are replaced equally in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench_pipeline.domain.tasks.masking.addresses import address_spans
from bench_pipeline.domain.tasks.masking.contacts import DEFAULT_REGIONS, checked_regions, contact_spans
from bench_pipeline.domain.tasks.masking.fiction import Fiction, is_fictional
from bench_pipeline.domain.tasks.masking.people import KnownNames, known_names, name_spans
from bench_pipeline.domain.tasks.masking.spans import Kind, Span

# Replacing a value may bring another to light; what is left then is found in the next round.
_MOST_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Replacement:
    """A value that was replaced. `original` is for the person at the terminal and is never stored."""

    kind: Kind
    original: str
    surrogate: str
    count: int
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Masked:
    """The masked texts under the keys and in the order that they were given in, and what was replaced."""

    texts: Mapping[str, tuple[str, ...]]
    replacements: tuple[Replacement, ...]


def mask(texts: Mapping[str, Sequence[str]], regions: Iterable[str] = DEFAULT_REGIONS) -> Masked:
    """Replace personal data in the texts, which are grouped by case.

    `regions` are those of phone numbers without a country's code. Masking a masked text changes nothing. Raises
    `InputError` for an unknown region.
    """
    tried = checked_regions(regions)
    current = {case: tuple(group) for case, group in texts.items()}
    fiction = Fiction("\n".join(_all(current)))
    found: dict[tuple[Kind, str, str], list[str]] = {}
    for _ in range(_MOST_ROUNDS):
        known = known_names(_all(current))
        before, current = current, {}
        for case, group in before.items():
            done = [_masked(text, _spans(text, known, tried), fiction) for text in group]
            current[case] = tuple(text for text, _ in done)
            for replaced in (one for _, all_of_them in done for one in all_of_them):
                found.setdefault(replaced, []).append(case)
        if current == before:
            break
    return Masked(
        current,
        tuple(
            Replacement(kind, original, surrogate, len(cases), tuple(dict.fromkeys(cases)))
            for (kind, original, surrogate), cases in found.items()
        ),
    )


def _all(texts: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [text for group in texts.values() for text in group]


def _spans(text: str, known: KnownNames, regions: Sequence[str]) -> list[Span]:
    """Return the places in their order; of places that overlap, the one of the more certain kind."""
    taken: list[Span] = []
    for span in (*contact_spans(text, regions), *address_spans(text), *name_spans(text, known)):
        if not any(span.overlaps(other) for other in taken):
            taken.append(span)
    return sorted(taken, key=lambda span: span.start)


def _masked(text: str, spans: Iterable[Span], fiction: Fiction) -> tuple[str, list[tuple[Kind, str, str]]]:
    """Return the text with its places replaced, and what was replaced by what."""
    pieces, replaced, end = [], [], 0
    for span in spans:
        if is_fictional(span, text):
            continue
        surrogate = fiction.of(span, text)
        replaced.append((span.kind, text[span.start : span.end], surrogate))
        pieces += [text[end : span.start], surrogate]
        end = span.end
    return "".join([*pieces, text[end:]]), replaced
