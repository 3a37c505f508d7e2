"""Which models wait for a benchmark: a difference of what is eligible and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench_pipeline.domain.models.actor import Candidate

MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a model of one digest was run on a task under its present evidence, and whether it came to an end."""

    begun: int = 0
    measured: bool = False


@dataclass(frozen=True, slots=True)
class WaitingModel:
    """A model that should be benchmarked alone. `attempt` counts from 1."""

    model: str
    digest: str
    attempt: int


def waiting_models(eligible: Iterable[Candidate], attempts: Mapping[tuple[str, str], Attempts]) -> list[WaitingModel]:
    """Return the models that were never measured to the end, while fewer than three attempts were made.

    `attempts` is keyed by model and digest. Dagster never repeats a spent run key, so the attempt is part
    of it; our own rows say how many there were.
    """
    waiting = []
    for candidate in eligible:
        digest = (candidate.identity.digest if candidate.identity else None) or candidate.name
        so_far = attempts.get((candidate.name, digest), Attempts())
        if not so_far.measured and so_far.begun < MAX_ATTEMPTS:
            waiting.append(WaitingModel(candidate.name, digest, so_far.begun + 1))
    return waiting
