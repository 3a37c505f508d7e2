"""The two gold labels. Cases carry them in suite.py, replies are judged by them in verdict.py."""

from __future__ import annotations

from enum import StrEnum


class Gold(StrEnum):
    """The two verdicts."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
