"""What a benchmark tells while it runs; consumed by the command line and by Dagster's log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult


@dataclass(frozen=True, slots=True)
class BenchmarkStarted:
    """The models will now be run; `resumed` when an interrupted benchmark goes on."""

    benchmark_id: str
    task: str
    models: tuple[str, ...]
    cases: int
    repeats: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class ModelStarted:
    """Model `number` of `total` begins; `calls_done` were made before an interruption."""

    model: str
    number: int
    total: int
    calls: int
    calls_done: int


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The model is in memory; `load_ms` is not part of any latency."""

    model: str
    load_ms: float


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """The next cases of the suite begin; `batch` counts from 1 within a repeat."""

    model: str
    repeat: int
    batch: int
    batches: int


@dataclass(frozen=True, slots=True)
class CallRetried:
    """Infrastructure failed a call for the `attempt`th time, and it is made again.

    `case_id` is `(load)` or `(identity)` when it was no case's call.
    """

    model: str
    case_id: str
    attempt: int
    failure: str


@dataclass(frozen=True, slots=True)
class SampleTaken:
    """A call ended and its row is stored."""

    model: str
    sample: Sample


@dataclass(frozen=True, slots=True)
class ModelFinished:
    """All calls of a model are made, or what stopped them is in `result.reason`."""

    model: str
    result: ModelResult


@dataclass(frozen=True, slots=True)
class AnchorStarted:
    """The anchor model makes its pass, before or after all others; it is not ranked."""

    model: str
    calls: int


@dataclass(frozen=True, slots=True)
class FinalPass:
    """The challenger and the incumbents go once more over the suite, in this order."""

    number: int
    models: tuple[str, ...]


Event = (
    BenchmarkStarted
    | AnchorStarted
    | ModelStarted
    | ModelLoaded
    | BatchStarted
    | CallRetried
    | SampleTaken
    | ModelFinished
    | FinalPass
)
OnEvent = Callable[[Event], None]
