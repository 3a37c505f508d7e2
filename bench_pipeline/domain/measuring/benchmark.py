"""The stored states of a run: its purpose, its status, and the role of a model in it. Rows are in storage."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """The purpose of a run. Only a benchmark is ranked; a validation judges a promoted champion."""

    BENCHMARK = "benchmark"
    VALIDATION = "validation"


class RunStatus(StrEnum):
    """The status of a run. An interrupted one stays `running`."""

    RUNNING = "running"
    FINISHED = "finished"


class Role(StrEnum):
    """The role of a model in a run. The anchor is measured before and after all candidates and is not ranked."""

    CANDIDATE = "candidate"
    ANCHOR_FIRST = "anchor_first"
    ANCHOR_LAST = "anchor_last"
