"""The kinds of runs that are stored: what a run is for, how far it came, and which part a model plays in it."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """What a run is for. Only a benchmark is ranked; a validation judges a promoted champion."""

    BENCHMARK = "benchmark"
    VALIDATION = "validation"


class RunStatus(StrEnum):
    """How far a run came. One that was interrupted stays `running`."""

    RUNNING = "running"
    FINISHED = "finished"


class Role(StrEnum):
    """The part of a model in a run. The anchor is measured before and after all candidates and is not ranked."""

    CANDIDATE = "candidate"
    ANCHOR_FIRST = "anchor_first"
    ANCHOR_LAST = "anchor_last"
