"""The classes of cases. Cases carry them in suite.py, replies are judged by them in verdict.py.

A class is a text. Most tasks have the two of `Gold`; a task's labels may name others, see readers/labels.py.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

_MAX_CLASS_CHARS = 60  # the width of the column that holds a verdict
ClassName = Annotated[str, Field(max_length=_MAX_CLASS_CHARS, pattern=r"^\w[\w .\-]*$")]


class Gold(StrEnum):
    """The two classes of a task that names none."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
