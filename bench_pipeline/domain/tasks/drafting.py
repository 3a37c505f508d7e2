"""Drafts of test cases from what production did: which calls are taken, and how a call becomes a case.

Reading production and writing files is in benchmark/case_import.py, masking in masking/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench_pipeline.domain.hashing import canonical_json
from bench_pipeline.domain.tasks.suite import field_name_fault
from bench_pipeline.domain.text import storable

_TAG = re.compile(r"\s*[*_`]*\[\s*([^\[\]\n]{1,60}?)\s*\]")
# Ways to mark a field in a template, with the value for `prompt.syntax`; `{name}` is the default and comes last.
_SYNTAXES = (
    (re.compile(r"\{\{(\w+)\}\}"), r"\{\{(\w+)\}\}"),
    (re.compile(r"\{\{\s*(\w+)\s*\}\}"), r"\{\{\s*(\w+)\s*\}\}"),
    (re.compile(r"\$\{(\w+)\}"), r"\$\{(\w+)\}"),
    (re.compile(r"%\((\w+)\)s"), r"%\((\w+)\)s"),
    (re.compile(r"\{(\w+)\}"), None),
)


@dataclass(frozen=True, slots=True)
class Observation:
    """A call that production made: its input, a text or texts by field, its output, and the posting it was about."""

    interaction_id: int | str
    posting_id: int | str | None
    posting: str | None
    input: str | Mapping[str, object] | None
    output: str | None


@dataclass(frozen=True, slots=True)
class Placeholders:
    """The fields of a prompt, and the pattern that marks them if it is not `{name}`."""

    names: frozenset[str]
    syntax: str | None


@dataclass(slots=True)
class Drafted:
    """The texts of a draft by the fields of a case. `fields` are those of its input."""

    interaction_id: int | str
    posting_id: int | str | None
    texts: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)


def placeholders_of(*templates: str) -> Placeholders:
    """Return the fields that the templates of one prompt contain, by the first way of marking that occurs in them."""
    for pattern, syntax in _SYNTAXES:
        if names := frozenset(name for template in templates for name in pattern.findall(template)):
            return Placeholders(names, syntax)
    return Placeholders(frozenset(), None)


def pick(observations: Sequence[Observation], limit: int) -> list[Observation]:
    """Return at most `limit` observations in their order, without repeated inputs.

    If outputs begin with a tag, such as [PASS], the tags take turns, so that none fills the limit alone.
    """
    newest: list[Observation] = []
    inputs: set[str] = set()
    for seen in observations:
        if (key := canonical_json([seen.input, seen.posting_id])) not in inputs:
            newest.append(seen)
        inputs.add(key)
    turns: list[tuple[int, int]] = []
    counts: Counter[str] = Counter()
    for position, seen in enumerate(newest):
        tag = tag_of(seen.output)
        turns.append((counts[tag], position))
        counts[tag] += 1
    return [newest[position] for position in sorted(position for _, position in sorted(turns)[:limit])]


def tag_of(output: str | None) -> str:
    """Return the tag that an output begins with, in capitals, or an empty text."""
    match = _TAG.match(output or "")
    return match[1].upper() if match else ""


def read_back(template: str, text: str) -> dict[str, str] | None:
    """Return the fields with which the template was filled to give the text, or None if it was not."""
    text, template = text.strip(), template.strip()
    pattern = next((pattern for pattern, _ in _SYNTAXES if pattern.search(template)), None)
    if pattern is None:
        return None
    pieces = pattern.split(template)
    literals, names = pieces[::2], pieces[1::2]
    if not any(literal.strip() for literal in literals) or not text.startswith(literals[0]):
        return None
    values: dict[str, str] = {}
    start = len(literals[0])
    for number, (name, literal) in enumerate(zip(names, literals[1:], strict=True), start=1):
        is_last = number == len(names)
        if not (literal or is_last):  # two fields without a text between them
            return None
        end = len(text) - len(literal) if is_last else text.find(literal, start)
        if end < start or not text.startswith(literal, end):
            return None
        if values.setdefault(name, text[start:end]) != text[start:end]:
            return None
        start = end + len(literal)
    return values


def drafted(seen: Observation, names: frozenset[str], template: str = "") -> Drafted | str:
    """Return the texts of a case for a prompt with these fields, or why the observation cannot be one.

    An input that is the filled `template` is taken apart.
    """
    draft = Drafted(seen.interaction_id, seen.posting_id)
    filled = read_back(template, seen.input) if isinstance(seen.input, str) else None
    given = filled if filled is not None else _given(seen.input, names, seen.posting)
    own: dict[str, str] = {name: given.pop(name) for name in ("posting", "summary") if name in given}
    if seen.posting is not None:
        own["posting"] = seen.posting
    if (posting_id := given.pop("posting_id", None)) and draft.posting_id is None:
        draft.posting_id = posting_id
    if set(given) == {"input"}:
        own["input"] = given.pop("input")
    for name in given:
        if fault := field_name_fault(name):
            return f"of its input, {fault}"
    if not own and not given:
        return "it has neither an input nor a posting"
    if seen.output is not None:
        own["observed_output"] = seen.output
    draft.texts = {name: storable(text) for name, text in own.items()}
    draft.fields = {name: storable(text) for name, text in given.items()}
    return draft


def _given(value: str | Mapping[str, object] | None, names: frozenset[str], posting: str | None) -> dict[str, str]:
    """Return the input by fields. A text is the one field that the prompt has besides those of its posting."""
    if value is None:
        return {}
    if not isinstance(value, str):
        texts = {name: item if isinstance(item, str) else canonical_json(item) for name, item in value.items()}
        return {name: text for name, text in texts.items() if value[name] is not None}
    others = names - {"posting", "posting_id"}
    if len(others) == 1:
        return {next(iter(others)): value}
    if not others and "posting" in names:
        return {} if posting is not None else {"posting": value}
    return {"input": value}
