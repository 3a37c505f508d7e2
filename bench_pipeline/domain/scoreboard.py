"""From samples to ranks, by the formulae that the user fixed. No statistics beyond them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bench_pipeline.domain.sample import Outcome, Sample


class Standing(StrEnum):
    """Where a model stands after its run."""

    QUALIFIED = "qualified"
    DISQUALIFIED = "disqualified"
    INCONCLUSIVE = "inconclusive"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """A case that a model did not get right, and why."""

    case_id: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One line of a scoreboard.

    `cases_correct` counts cases that were right in every repeat. `avg_latency_ms` is the mean over all
    complete replies, None without one. `rank` and `speed_score` are None unless the model qualifies.
    """

    model: str
    standing: Standing
    cases: int
    cases_correct: int
    correctness_score: float
    calls: int = 0
    actor_id: int | None = None
    avg_latency_ms: float | None = None
    speed_score: float | None = None
    rank: int | None = None
    tied_with: tuple[str, ...] = ()
    failures: tuple[CaseFailure, ...] = ()
    reason: str = ""
    size_bytes: int | None = None
    family: str | None = None
    digest: str | None = None

    @property
    def qualified(self) -> bool:
        """Whether the model may be ranked."""
        return self.standing is Standing.QUALIFIED

    @property
    def why(self) -> str:
        """Why the model does not qualify: what stopped it, or its first failed cases."""
        cases = [f"{failure.case_id}: {failure.reason}" for failure in self.failures]
        more = f"; and {len(cases) - 3} more" if len(cases) > 3 else ""
        return self.reason or "; ".join(cases[:3]) + more


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """The ranked standings of one benchmark: qualified models first, fastest first, then the rest by name."""

    results: tuple[ModelResult, ...]

    @property
    def ranked(self) -> tuple[ModelResult, ...]:
        """The qualified models, fastest first."""
        return tuple(result for result in self.results if result.qualified)

    @property
    def champion(self) -> ModelResult | None:
        """Rank 1."""
        return next(iter(self.ranked), None)

    @property
    def runner_up(self) -> ModelResult | None:
        """Rank 2."""
        return next(iter(self.ranked[1:]), None)

    def of(self, model: str) -> ModelResult | None:
        """Return the line of `model`, or None."""
        return next((result for result in self.results if result.model == model), None)


def correctness_score(cases_correct: int, cases: int) -> float:
    """Return correct / all cases x 100. Raises `ValueError` for no cases: 0 of 0 is not 100 %."""
    if cases < 1:
        raise ValueError("a correctness needs at least one case")
    return cases_correct / cases * 100


def speed_score(avg_latency_ms: float) -> float:
    """Return 1000 / (latency_ms / 1000): how many thousandths of a case a model does in a second."""
    return 1000 / (avg_latency_ms / 1000)


def score_model(
    model: str,
    case_ids: Sequence[str],
    samples: Iterable[Sample],
    repeats: int,
    failure: str | None = None,
) -> ModelResult:
    """Give a model its standing.

    A case is correct when it is right in every repeat. One wrong or invalid sample disqualifies; otherwise
    a missing sample or an infrastructure error leaves the model inconclusive. `failure` is what stopped
    the whole model run.
    """
    if repeats < 1:
        raise ValueError("a standing needs at least one pass over the suite")
    by_case: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_case[sample.case_id].append(sample)
    correct = sum(_all_correct(by_case[case_id], repeats) for case_id in case_ids)
    failures = tuple(f for case_id in case_ids if (f := _failure_of(case_id, by_case[case_id], repeats)))
    standing = _standing(correct, len(case_ids), failures)
    latencies = [s.latency_ns for case_id in case_ids for s in by_case[case_id] if s.latency_ns is not None]
    avg_latency_ms = sum(latencies) / len(latencies) / 1e6 if latencies else None
    return ModelResult(
        model=model,
        standing=standing,
        cases=len(case_ids),
        cases_correct=correct,
        correctness_score=correctness_score(correct, len(case_ids)),
        calls=sum(len(samples) for samples in by_case.values()),
        avg_latency_ms=avg_latency_ms,
        speed_score=speed_score(avg_latency_ms) if standing is Standing.QUALIFIED and avg_latency_ms else None,
        failures=failures,
        reason=failure or "",
    )


def _all_correct(samples: Sequence[Sample], repeats: int) -> bool:
    return len(samples) == repeats and all(
        sample.outcome is Outcome.CORRECT and sample.latency_ns is not None for sample in samples
    )


_WORST_FIRST = (Outcome.WRONG, Outcome.INVALID, Outcome.ERROR)


def _failure_of(case_id: str, samples: Sequence[Sample], repeats: int) -> CaseFailure | None:
    for outcome in _WORST_FIRST:
        for sample in samples:
            if sample.outcome is outcome:
                return CaseFailure(case_id, outcome, sample.reason or outcome.value)
    if len(samples) < repeats:
        return CaseFailure(case_id, Outcome.ERROR, f"{repeats - len(samples)} of {repeats} calls were not made")
    if any(sample.latency_ns is None for sample in samples):
        return CaseFailure(case_id, Outcome.ERROR, "a reply without a latency cannot be ranked")
    return None


def _standing(correct: int, cases: int, failures: Sequence[CaseFailure]) -> Standing:
    if correct == cases:
        return Standing.QUALIFIED
    if any(failure.outcome in (Outcome.WRONG, Outcome.INVALID) for failure in failures):
        return Standing.DISQUALIFIED
    return Standing.INCONCLUSIVE


def rank(results: Iterable[ModelResult], incumbents: frozenset[str] = frozenset()) -> Scoreboard:
    """Rank the qualified models by mean latency, fastest first.

    Models whose means are the same whole millisecond are tied and stand in the order: incumbent, smaller,
    name. Disqualified models follow, the most correct first, then the inconclusive ones.
    """
    everyone = list(results)
    qualified = [result for result in everyone if result.qualified]
    qualified.sort(key=lambda r: (_whole_ms(r), r.model not in incumbents, r.size_bytes or float("inf"), r.model))
    ranked = [
        replace(
            result,
            rank=position,
            tied_with=tuple(
                other.model for other in qualified if other is not result and _whole_ms(other) == _whole_ms(result)
            ),
        )
        for position, result in enumerate(qualified, start=1)
    ]
    rest = [result for result in everyone if not result.qualified]
    rest.sort(key=lambda r: (r.standing is not Standing.DISQUALIFIED, -r.cases_correct, r.model))
    return Scoreboard((*ranked, *rest))


def _whole_ms(result: ModelResult) -> int:
    return round(result.avg_latency_ms or 0)
