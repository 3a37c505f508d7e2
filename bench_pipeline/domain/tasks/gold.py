"""The two gold labels. What carries them is in suite.py, how a reply is judged by them in verdict.py."""

from __future__ import annotations

from enum import StrEnum


class Gold(StrEnum):
    """The two verdicts."""

    PASS = "PASS"  # noqa: S105 - a verdict, no password
    FAIL = "FAIL"
