"""Which models wait for a first benchmark: the eligible ones without a finished run. A Dagster sensor runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench_pipeline.domain.models.actor import Candidate

MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a model of one digest was run on a task under its current evidence, and whether any run finished."""

    begun: int = 0
    measured: bool = False


@dataclass(frozen=True, slots=True)
class WaitingModel:
    """A model to benchmark on its own. `attempt` counts from 1."""

    model: str
    digest: str
    attempt: int


def waiting_models(eligible: Iterable[Candidate], attempts: Mapping[tuple[str, str], Attempts]) -> list[WaitingModel]:
    """Return the models without a finished run and with fewer than `MAX_ATTEMPTS` attempts.

    `attempts` is keyed by model and digest. Dagster runs each run key only once, so the attempt becomes part of it.
    """
    waiting = []
    for candidate in eligible:
        digest = (candidate.identity.digest if candidate.identity else None) or candidate.name
        so_far = attempts.get((candidate.name, digest), Attempts())
        if not so_far.measured and so_far.begun < MAX_ATTEMPTS:
            waiting.append(WaitingModel(candidate.name, digest, so_far.begun + 1))
    return waiting
