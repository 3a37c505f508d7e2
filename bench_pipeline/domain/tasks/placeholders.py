"""The placeholders of a template: which fields a text names, and how they are filled.

Inserted texts are data: placeholders inside them are not expanded. The messages of a prompt are in prompt.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from jinja2 import StrictUndefined, Template, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bench_pipeline.domain.errors import InputError

BRACES = "braces"
JINJA = "jinja"

_BRACES = re.compile(r"\{([A-Za-z_]\w*)\}")
_DOUBLED = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
_JINJA_BEGINS = re.compile(r"\{[{%]")


class Placeholders:
    """One syntax: `braces` (`{field}`), `jinja`, or a regular expression with one group for the field's name.

    `literal` names what looks like a field in braces and is text. Raises `InputError` for an invalid expression.
    """

    def __init__(self, syntax: str, literal: tuple[str, ...] = ()) -> None:
        self._jinja = syntax == JINJA
        self._pattern = _BRACES if syntax in (BRACES, JINJA) else _compiled(syntax)
        self._in_braces = syntax == BRACES
        self._literal = frozenset(literal)

    def fields(self, text: str) -> frozenset[str]:
        """Return the fields that `text` names. Raises `InputError` for invalid Jinja2."""
        if self._jinja:
            return frozenset(meta.find_undeclared_variables(_parsed(text)))
        return frozenset(name for match in self._pattern.finditer(text) if (name := match[1]) not in self._literal)

    def filled(self, text: str, values: Mapping[str, str]) -> str:
        """Return `text` with every field filled in one pass. Raises `InputError` when a value is missing."""
        if missing := self.fields(text) - values.keys():
            raise InputError(f"the prompt needs {', '.join(sorted(missing))}, which the case does not have")
        if self._jinja:
            return _rendered(text, values)
        return self._pattern.sub(lambda match: match[0] if match[1] in self._literal else values[match[1]], text)

    def beginning(self, text: str) -> str:
        """Return the text before the first field, or all of it without a field."""
        if self._jinja:
            first = _JINJA_BEGINS.search(text)
        else:
            first = next((match for match in self._pattern.finditer(text) if match[1] not in self._literal), None)
        return text[: first.start()] if first else text

    def foreign(self, text: str) -> list[str]:
        """Return what looks like placeholders of another syntax: `{{name}}` where fields are written `{name}`."""
        if not self._in_braces:
            return []
        return [match[0] for match in _DOUBLED.finditer(text) if match[1] not in self._literal]


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise InputError(f"{expression!r} is neither braces nor jinja nor a regular expression: {error}") from None
    if pattern.groups != 1:
        raise InputError(f"{expression!r} must have one group, for the field's name, as in '\\{{\\{{(\\w+)\\}}\\}}'")
    return pattern


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    # Prompts are plain text, so nothing is escaped; the sandbox keeps a template from reaching Python's objects.
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


def _parsed(text: str) -> nodes.Template:
    try:
        return _environment().parse(text)
    except TemplateError as error:
        raise InputError(f"the template is not valid Jinja2: {error}") from None


@cache
def _template(text: str) -> Template:
    return _environment().from_string(text)


def _rendered(text: str, values: Mapping[str, str]) -> str:
    try:
        return str(_template(text).render(values))
    except (TemplateError, ArithmeticError, TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
        # The error may quote a value; its kind is enough to find the expression.
        raise InputError(f"the template cannot be filled: {type(error).__name__}") from None
