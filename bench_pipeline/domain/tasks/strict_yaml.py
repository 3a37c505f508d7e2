"""YAML without its traps: no key twice, no whole number with a leading zero. What a task.yaml means is in task.py."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from bench_pipeline.domain.text import first_line

LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
"""A whole number that YAML 1.1 does not read as people do; as a text it needs quotes."""


class YamlRefused(ValueError):
    """A document that is not YAML, or that says something other than its author can have meant."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line, name = key.start_mark.line + 1, (key.tag, str(key.value))
            if name in lines:
                raise YamlRefused(
                    f"the key {key.value!r} is in line {lines[name]} and again in line {line}", "remove one"
                )
            lines[name] = line
        return super().construct_mapping(node, deep)


def _refuse_leading_zero(node: yaml.ScalarNode) -> None:
    """Refuse what YAML 1.1 reads as octal, so that 03336 would be 1758, or as text, as it does 089."""
    written = str(node.value)
    if node.style is None and LEADING_ZERO.fullmatch(written):
        plain = re.sub(r"0[0_]*(?=[0-9])", "", written, count=1)
        raise YamlRefused(
            f"the number {written} in line {node.start_mark.line + 1} begins with a zero",
            f"write {plain}, or '{written}' in quotes for a text",
        )


def _number(loader: _StrictLoader, node: yaml.ScalarNode) -> int:
    _refuse_leading_zero(node)
    return int(loader.construct_yaml_int(node))


def _text(loader: _StrictLoader, node: yaml.ScalarNode) -> str:
    _refuse_leading_zero(node)
    return str(loader.construct_yaml_str(node))


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _number)
_StrictLoader.add_constructor("tag:yaml.org,2002:str", _text)


def strict_yaml(raw: bytes | str) -> object:
    """Return the value of a document with plain values only. Raises `YamlRefused`."""
    try:
        return yaml.load(raw, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except YamlRefused:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-13-45
        raise YamlRefused(f"not YAML: {first_line(error)}", "correct it") from None
