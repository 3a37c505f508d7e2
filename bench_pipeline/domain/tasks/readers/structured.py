"""Readers of replies with values: one JSON object, or the lines of a template. Prose is in lines.py."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench_pipeline.domain.strict_json import JsonRefused, strict_json
from bench_pipeline.domain.tasks.readers.contracts import FieldType, JsonFields, JsonVerdict, Template
from bench_pipeline.domain.tasks.readers.text import MAX_REPLY_CHARS, NoVerdict, comparable

Values = dict[str, str | None]


def begins_with_json(text: str) -> bool:
    """Whether `text` begins as a JSON object does, in a code fence or not."""
    return text.lstrip()[:3] in ("```", "~~~") or text.lstrip()[:1] == "{"


def read_json_verdict(contract: JsonVerdict, text: str) -> str:
    """Return the verdict in the JSON object `text`. Raises `NoVerdict`."""
    value = _object(text)
    known = {contract.verdict_field, *contract.fields}
    if missing := known - value.keys() - set(contract.optional):
        raise NoVerdict(f"lacks {min(missing)}")
    if unknown := value.keys() - known:
        raise NoVerdict(f"contains {min(unknown)[:40]!r}, which is not a field of the contract")
    for name, kind in contract.fields.items():
        if name in value and not _is_of(kind, value[name]):
            raise NoVerdict(f"{name} is not of the type {kind}")
    verdict = contract.vocabulary.class_of(_as_word(value[contract.verdict_field]))
    if verdict is None:
        raise NoVerdict(f"{contract.verdict_field} is not {contract.vocabulary.words}")
    return verdict


def read_json_fields(contract: JsonFields, text: str) -> Values:
    """Return the fields of the JSON object `text`. Raises `NoVerdict`."""
    value = _object(text)
    if value.keys() != set(contract.fields):
        raise NoVerdict(f"is not an object with exactly {', '.join(contract.fields)}")
    stated: Values = {name: item for name, item in value.items() if item is None or isinstance(item, str)}
    if odd := value.keys() - stated.keys():
        raise NoVerdict(f"{min(odd)} is neither text nor null")
    return stated


def begins_with_template(contract: Template, text: str) -> bool:
    """Whether the first line of `text` follows the first rule."""
    first = text.strip().split("\n", 1)[0].strip()
    return bool(first and re.fullmatch(contract.lines[0].pattern, first))


def read_template(contract: Template, text: str) -> Values:
    """Return the named groups of the lines of `text`. Raises `NoVerdict`."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if contract.max_words and (words := len(text.split())) > contract.max_words:
        raise NoVerdict(f"has {words} words, more than {contract.max_words}")
    values: Values = dict.fromkeys(contract.fields)  # an optional line may be absent
    position = 0
    for rule in contract.lines:
        count = 0
        while count < rule.max and position < len(lines):
            match = re.fullmatch(rule.pattern, lines[position])
            if not match:
                break
            values |= match.groupdict()
            position, count = position + 1, count + 1
        if count < rule.min:
            raise NoVerdict(f"line {position + 1} does not follow {rule.pattern!r}")
    if position < len(lines):
        raise NoVerdict(f"line {position + 1} is not part of the template")
    missing = comparable(contract.missing)
    return {k: None if v is None or comparable(v) == missing else v for k, v in values.items()}


def _object(text: str) -> Mapping[str, object]:
    try:
        value = strict_json(_without_fence(text), MAX_REPLY_CHARS)
    except JsonRefused as error:
        raise NoVerdict(str(error)) from None
    if not isinstance(value, dict):
        raise NoVerdict("is not a JSON object")
    return value


_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(?:json)?[ \t]*\n", re.IGNORECASE)


def _without_fence(text: str) -> str:
    fence = _FENCE.match(text)
    return text[fence.end() :].removesuffix(fence[1]) if fence and text.endswith(fence[1]) else text


def _as_word(value: object) -> str:
    """Return a JSON value as a word: labels may be 1 and 0, or true and false."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case _:
            return ""


def _is_of(kind: FieldType, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "strings":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
