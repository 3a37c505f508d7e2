"""Ids of production as opaque keys: they are passed on, compared and shown, nothing else. Ids of our own are not here.

A key has the type of its column: `int` for whole numbers, `str` for every other type, such as uuid and text.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr

Key = StrictInt | Annotated[StrictStr, Field(min_length=1)]
ActorId = Key
ConversationId = Key
WorkflowId = Key

MAX_NAME = 300
"""The longest name of a model that our tables hold, in characters."""
_NUMBER = re.compile(r"0|-?[1-9][0-9]*")


def key_text(key: Key) -> str:
    """Return a key as text that `key_of` reads back with its type.

    Only a text that looks like a whole number, or begins with a quotation mark, gets quotation marks, as in JSON.
    """
    if isinstance(key, str) and (_NUMBER.fullmatch(key) or key.startswith('"')):
        return json.dumps(key, ensure_ascii=False)
    return str(key)


def key_of(text: str) -> Key:
    """Return the key that `key_text` wrote."""
    if _NUMBER.fullmatch(text):
        return int(text)
    return str(json.loads(text)) if text.startswith('"') else text


def short_name(name: str) -> str:
    """Return a name that can be stored as a model's: itself, or with a hash in place of what is too long."""
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{name[: MAX_NAME - 13]}~{digest}"


def key_order(key: Key) -> tuple[bool, int, str]:
    """Return what keys are sorted by: numbers by value, before texts."""
    return (False, key, "") if isinstance(key, int) else (True, 0, key)
