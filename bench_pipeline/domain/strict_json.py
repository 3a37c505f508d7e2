"""Strict parsing of JSON from people and models: limits size and depth, refuses duplicate keys and NaN.

Writing canonical JSON is in hashing.py.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

MAX_JSON_BYTES = 8 * 1024 * 1024
_JSON_BEGINS = re.compile(r'\s*((\[\s*)+(\]|$|(?=[{"\d\-]|true|false|null))|\{\s*(["}]|$)|["\-\d]|true|false|null|$)')
_MAX_DEPTH = 64  # Above 255 pydantic can read a value and not write it.


class JsonRefused(ValueError):
    """The text is not JSON that this program accepts; the message says why."""


def begins_like_json(text: str) -> bool:
    """Whether `text`, which may be cut off, may be the beginning of a JSON document; `[PASS]` is not."""
    return _JSON_BEGINS.match(text) is not None


def strict_json(text: str | bytes, max_bytes: int = MAX_JSON_BYTES) -> object:
    """Return the value of a JSON document. Raises `JsonRefused`.

    Python's parser keeps the last of two equal keys, accepts NaN and 1e999, and fails on deep nesting; a gold label or
    a verdict must not depend on that.
    """
    if len(text) > max_bytes:
        raise JsonRefused(f"larger than {max_bytes} bytes")
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite_float)
    except JsonRefused:
        raise
    except json.JSONDecodeError as error:
        raise JsonRefused(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise JsonRefused("nested too deeply") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise JsonRefused(f"not JSON: {error}") from None
    _refuse_depth(value)
    return value


def _refuse_depth(value: object) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [item for c in containers for item in (c.values() if isinstance(c, dict) else c)]
        if not containers:
            return
    raise JsonRefused("nested too deeply")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise JsonRefused(f"key {key!r} occurs twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise JsonRefused(f"{name} is not a JSON number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise JsonRefused(f"{digits} is out of range")
    return value
