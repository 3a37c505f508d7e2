"""The events of a running benchmark. The command line and Dagster's log display them; nothing here does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench_pipeline.domain.measuring.disturbance import Disturbance
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult


@dataclass(frozen=True, slots=True)
class LockAwaited:
    """Another benchmark runs on this machine and is waited for; `why` names its process. Comes every few minutes."""

    why: str


@dataclass(frozen=True, slots=True)
class BenchmarkStarted:
    """The models are about to run; `resumed` means that an interrupted benchmark continues."""

    benchmark_id: str
    task: str
    models: tuple[str, ...]
    cases: int
    repeats: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class ServerOnCpu:
    """The server at `address` runs its models on the CPU. Comes before the benchmark starts."""

    address: str


@dataclass(frozen=True, slots=True)
class HostSkipped:
    """No model, or not this one, is measured on a named host; `why` says so. Comes before the benchmark starts."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class HostStopped:
    """A named host answers no more: its models move to other hosts, or wait if no other has them."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class FinalOmitted:
    """The final does not take place, because no host has all models that would meet."""

    why: str


@dataclass(frozen=True, slots=True)
class ModelStarted:
    """Model `number` of `total` starts; `calls_done` were made before an interruption."""

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
    """The next batch of cases starts; `batch` counts from 1 within a repeat."""

    model: str
    repeat: int
    batch: int
    batches: int


@dataclass(frozen=True, slots=True)
class CallRetried:
    """A call failed for infrastructure reasons for the `attempt`th time and is retried.

    `attempt` is 0 when the server says "not yet" and is waited for, which is told once. `case_id` is `(load)` or
    `(identity)` when the call belongs to no case.
    """

    model: str
    case_id: str
    attempt: int
    failure: str


@dataclass(frozen=True, slots=True)
class SampleTaken:
    """A call ended and its sample is stored."""

    model: str
    sample: Sample


@dataclass(frozen=True, slots=True)
class CallsRepeated:
    """These calls of the model's turn were disturbed, the worst first; each is about to be repeated once."""

    model: str
    calls: tuple[Disturbance, ...]


@dataclass(frozen=True, slots=True)
class ModelFinished:
    """A model is finished; `result.reason` says what stopped it if it made fewer calls.

    `disturbed` holds its disturbed calls with their repetitions, the worst first.
    """

    model: str
    result: ModelResult
    disturbed: tuple[Disturbance, ...] = ()


@dataclass(frozen=True, slots=True)
class AnchorStarted:
    """The anchor model starts its pass, before or after all others; it is not ranked."""

    model: str
    calls: int


@dataclass(frozen=True, slots=True)
class FinalPass:
    """A pass of the final starts: challenger and incumbents run the suite in this order."""

    number: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnHost:
    """An event of a model on a named host; those of several hosts come mixed."""

    host: str
    event: Event


Event = (
    LockAwaited
    | BenchmarkStarted
    | ServerOnCpu
    | HostSkipped
    | HostStopped
    | FinalOmitted
    | OnHost
    | AnchorStarted
    | ModelStarted
    | ModelLoaded
    | BatchStarted
    | CallRetried
    | SampleTaken
    | CallsRepeated
    | ModelFinished
    | FinalPass
)
OnEvent = Callable[[Event], None]
