"""A prompt template and its filling. The texts that are filled in are data: what they contain is never a field."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench_pipeline.domain.errors import InputError

PROMPT_FIELDS = ("posting", "summary", "input", "posting_id")
_FIELD = re.compile(r"\{(" + "|".join(PROMPT_FIELDS) + r")\}")


def fields_of(template: str) -> frozenset[str]:
    """Return the fields that `template` names; other braces are text."""
    return frozenset(_FIELD.findall(template))


def shared_beginning(template: str) -> str:
    """Return what stands before the template's first field: the part of every prompt that is the same."""
    first = _FIELD.search(template)
    return template[: first.start()] if first else template


def render_prompt(template: str, fields: Mapping[str, str]) -> str:
    """Fill every field of `template` in one pass. Raises `InputError` when one is not given."""
    if missing := fields_of(template) - fields.keys():
        raise InputError(f"the prompt needs {', '.join(sorted(missing))}, which the case does not have")
    return _FIELD.sub(lambda match: fields[match.group(1)], template)
