"""Prompt templates and their rendering. Inserted texts are data: fields inside them are not expanded.

Where a template comes from is in task.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench_pipeline.domain.errors import InputError

PROMPT_FIELDS = ("posting", "summary", "input", "posting_id")
_FIELD = re.compile(r"\{(" + "|".join(PROMPT_FIELDS) + r")\}")


def fields_of(template: str) -> frozenset[str]:
    """Return the fields that occur in `template`; other braces are literal."""
    return frozenset(_FIELD.findall(template))


def shared_beginning(template: str) -> str:
    """Return the text before the template's first field, which all prompts share."""
    first = _FIELD.search(template)
    return template[: first.start()] if first else template


def render_prompt(template: str, fields: Mapping[str, str]) -> str:
    """Fill every field of `template` in one pass. Raises `InputError` when a value is missing."""
    if missing := fields_of(template) - fields.keys():
        raise InputError(f"the prompt needs {', '.join(sorted(missing))}, which the case does not have")
    return _FIELD.sub(lambda match: fields[match.group(1)], template)
