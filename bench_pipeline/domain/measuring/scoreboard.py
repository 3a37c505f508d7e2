"""From samples to ranks, by the formulae in docs/reference/formulae.md. Further statistics are in statistics.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import fmean

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.statistics import (
    PairedComparison,
    coefficient_of_variation,
    compare_cases,
    compare_passes,
    holm,
    median,
    p90,
    pass_means,
)
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.tasks.outcome import DISQUALIFYING, Outcome

TIE_LEVEL = 0.95
# One pass does not show how much passes vary. A mean that is more than this share higher is then taken as slower; noise
# of the main passes rarely hides a gain behind it: benchmarks/decisions.py.
_NEAR = 0.10


class Standing(StrEnum):
    """The standing of a model after its run. `OUTPACED`: a race stopped it because it could not reach rank 2."""

    QUALIFIED = "qualified"
    DISQUALIFIED = "disqualified"
    INCONCLUSIVE = "inconclusive"
    EXCLUDED = "excluded"
    OUTPACED = "outpaced"


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """A case that a model did not pass, and why."""

    case_id: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One line of a scoreboard; latencies are in milliseconds and include only valid ones.

    `cases_correct` counts cases that were right in every pass. `avg_latency_ms` is the mean over the cases of
    each case's mean, None without a latency. `rank` and `speed_score` are None unless the model qualifies.
    `cv` is the coefficient of variation within cases. `case_medians_ms` and `pass_means_ms` are from the main passes:
    one value per case, and one per pass. `final_case_medians_ms` and `final_latencies_ms`, one mapping by case per
    pass, are from the final and empty without one. `flaky` names the cases that were right in one pass and not in
    another; `cases_seen` counts those with a call.
    """

    model: str
    standing: Standing
    cases: int
    cases_correct: int
    correctness_score: float
    calls: int = 0
    actor_id: ActorId | None = None
    avg_latency_ms: float | None = None
    speed_score: float | None = None
    rank: int | None = None
    tied_with: tuple[str, ...] = ()
    failures: tuple[CaseFailure, ...] = ()
    reason: str = ""
    size_bytes: int | None = None
    family: str | None = None
    digest: str | None = None
    valid_calls: int = 0
    median_ms: float | None = None
    p90_ms: float | None = None
    cv: float | None = None
    case_medians_ms: Mapping[str, float] = field(default_factory=dict)
    final_case_medians_ms: Mapping[str, float] = field(default_factory=dict)
    final_passes: int = 0
    flaky: tuple[str, ...] = ()
    memory_bytes: int | None = None
    cases_seen: int = 0
    pass_means_ms: tuple[float, ...] = ()
    final_latencies_ms: tuple[Mapping[str, float], ...] = ()

    @property
    def qualified(self) -> bool:
        """Whether the model may be ranked."""
        return self.standing is Standing.QUALIFIED

    @property
    def only_unreadable(self) -> bool:
        """Whether nothing but unreadable answers disqualifies the model: none of its verdicts was wrong."""
        outcomes = {failure.outcome for failure in self.failures}
        return self.standing is Standing.DISQUALIFIED and Outcome.INVALID in outcomes and Outcome.WRONG not in outcomes

    @property
    def why(self) -> str:
        """Why the model does not qualify: what stopped it, or its first failed cases."""
        cases = [f"{failure.case_id}: {failure.reason}" for failure in self.failures]
        more = f"; and {len(cases) - 3} more" if len(cases) > 3 else ""
        return self.reason or "; ".join(cases[:3]) + more


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """The ranked results of one benchmark, in the order of `rank`.

    `invalid` says why nothing may be concluded from the benchmark; empty when it is valid.
    """

    results: tuple[ModelResult, ...]
    invalid: str = ""

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
        """Return the result of `model`, or None."""
        return next((result for result in self.results if result.model == model), None)


def correctness_score(cases_correct: int, cases: int) -> float:
    """Return correct cases / all cases x 100. Raises `ValueError` without cases: 0 of 0 is not 100 %."""
    if cases < 1:
        raise ValueError("a correctness score needs at least one case")
    return cases_correct / cases * 100


def speed_score(avg_latency_ms: float) -> float:
    """Return 1000 / (latency_ms / 1000): thousandths of a case per second."""
    return 1000 / (avg_latency_ms / 1000)


def score_model(
    model: str,
    case_ids: Sequence[str],
    samples: Iterable[Sample],
    passes: int,
    *,
    main_passes: int | None = None,
    error_budget: int = 0,
) -> ModelResult:
    """Return the unranked result of a model after `passes` passes over the suite.

    The passes after `main_passes` are the final's. A case is correct when it is right in every pass; an
    infrastructure error is neither right nor wrong, and up to `error_budget` of them in total are ignored where
    the case was right in another pass. One wrong or invalid sample disqualifies. Otherwise a missing sample, an
    error beyond the budget or a case without a valid latency makes the model inconclusive; so does a change of
    the model during the measurement, whatever it answered.

    The mean over the cases of each case's mean equals the mean over all calls when every pass is complete. When
    latencies are excluded, it does not favour a model whose slow cases lack some.
    """
    if passes < 1:
        raise ValueError("a result needs at least one pass over the suite")
    taken: dict[str, list[Sample]] = {case_id: [] for case_id in case_ids}
    for sample in samples:
        if sample.case_id in taken and not sample.failed_again:
            taken[sample.case_id].append(sample)
    everything = [sample for of_case in taken.values() for sample in of_case]
    tolerant = sum(sample.outcome is Outcome.ERROR for sample in everything) <= error_budget
    failed = {case_id: _failure_of(case_id, of_case, passes, tolerant) for case_id, of_case in taken.items()}
    failures = tuple(f for case_id, of_case in taken.items() if (f := failed[case_id] or _unranked(case_id, of_case)))
    correct = sum(found is None for found in failed.values())
    # Any answer, including a wrong one, may have come from another model.
    void = any(sample.exclusion == ValidityRule.IDENTITY_CHANGED for sample in everything)
    standing = Standing.INCONCLUSIVE if void else _standing(failures)
    result = ModelResult(
        model=model,
        standing=standing,
        cases=len(case_ids),
        cases_correct=correct,
        correctness_score=correctness_score(correct, len(case_ids)),
        calls=len(everything),
        failures=failures,
        flaky=tuple(case_id for case_id, of_case in taken.items() if _flaky(of_case)),
        cases_seen=sum(bool(of_case) for of_case in taken.values()),
    )
    return _timed(result, everything, passes if main_passes is None else main_passes)


def _timed(result: ModelResult, samples: Sequence[Sample], main_passes: int) -> ModelResult:
    final = {sample.repeat for sample in samples if sample.repeat > main_passes}
    by_case = _latencies_ms(samples)
    if not by_case:
        return replace(result, final_passes=len(final))
    latencies = [latency for of_case in by_case.values() for latency in of_case]
    avg_latency_ms = fmean(fmean(of_case) for of_case in by_case.values())
    ranking, deciding = [s for s in samples if s.ranks], [s for s in samples if s.decides]
    main = [one for one in _by_pass(ranking, range(1, main_passes + 1)) if one]
    return replace(
        result,
        avg_latency_ms=avg_latency_ms,
        speed_score=speed_score(avg_latency_ms) if result.qualified else None,
        valid_calls=len(latencies),
        median_ms=median(latencies),
        p90_ms=p90(latencies),
        cv=coefficient_of_variation(by_case.values()),
        case_medians_ms=case_medians_ms(sample for sample in samples if sample.repeat not in final),
        final_case_medians_ms=case_medians_ms(sample for sample in samples if sample.repeat in final),
        final_passes=len(final),
        pass_means_ms=tuple(pass_means(main, {case_id for one in main for case_id in one})),
        final_latencies_ms=tuple(_by_pass(deciding, range(main_passes + 1, max(final, default=main_passes) + 1))),
    )


def case_medians_ms(samples: Iterable[Sample]) -> dict[str, float]:
    """Return the median of the valid latencies of each case that has any, milliseconds."""
    return {case_id: median(of_case) for case_id, of_case in _latencies_ms(samples).items()}


def _latencies_ms(samples: Iterable[Sample]) -> dict[str, list[float]]:
    """Return the valid latencies of each case that has any."""
    by_case: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        if sample.latency_ns is not None and sample.ranks:
            by_case[sample.case_id].append(sample.latency_ns / 1e6)
    return by_case


def _by_pass(samples: Iterable[Sample], repeats: Iterable[int]) -> list[dict[str, float]]:
    """Return the latencies of each of these passes, by case."""
    by_pass: dict[int, dict[str, float]] = {repeat: {} for repeat in repeats}
    for sample in samples:
        if sample.latency_ns is not None and sample.repeat in by_pass:
            by_pass[sample.repeat][sample.case_id] = sample.latency_ns / 1e6
    return list(by_pass.values())


def _failure_of(case_id: str, samples: Sequence[Sample], passes: int, tolerant: bool) -> CaseFailure | None:
    """Return why a case is not correct, by its worst outcome, or None."""
    right = any(sample.outcome is Outcome.CORRECT for sample in samples)
    for outcome in DISQUALIFYING if tolerant and right else (*DISQUALIFYING, Outcome.ERROR):
        for sample in samples:
            if sample.outcome is outcome:
                return CaseFailure(case_id, outcome, sample.reason or outcome.value)
    made = sum(sample.take == 1 for sample in samples)
    if made < passes:
        return CaseFailure(case_id, Outcome.ERROR, f"{passes - made} of {passes} calls were not made")
    return None


def _unranked(case_id: str, samples: Sequence[Sample]) -> CaseFailure | None:
    if any(sample.ranks for sample in samples):
        return None
    rules = sorted({sample.exclusion for sample in samples if sample.exclusion})
    why = f": excluded by {', '.join(rules)}" if rules else ""
    return CaseFailure(case_id, Outcome.ERROR, f"no reply has a valid latency{why}")


def _flaky(samples: Sequence[Sample]) -> bool:
    return len({sample.outcome is Outcome.CORRECT for sample in samples if sample.outcome is not Outcome.ERROR}) == 2


def _standing(failures: Sequence[CaseFailure]) -> Standing:
    if not failures:
        return Standing.QUALIFIED
    if any(failure.outcome.disqualifies for failure in failures):
        return Standing.DISQUALIFIED
    return Standing.INCONCLUSIVE


def compare_means(challenger: ModelResult, other: ModelResult, level: float) -> PairedComparison | None:
    """Compare the mean latencies of two models over the suite, in pairs of passes.

    The pairs are the final's if both were in it, else the first main passes of both, the second, and so on. None with
    fewer than two pairs: one pass cannot show how much passes vary.
    """
    return compare_passes(paired_means(challenger, other), level)


def paired_means(one: ModelResult, other: ModelResult) -> list[tuple[float, float]]:
    """Return the means of both models over the suite, in ms, pass by pass; see `compare_means`.

    A pass in which a model has valid latencies for less than half of the cases is left out, with its counterpart.
    """
    if not met_in_final(one, other):
        return list(zip(one.pass_means_ms, other.pass_means_ms, strict=False))
    pairs = list(zip(one.final_latencies_ms, other.final_latencies_ms, strict=False))
    shared = _cases_of_both(pairs)
    pairs = [pair for pair in pairs if all(2 * len(made.keys() & shared) >= len(shared) for made in pair)]
    shared = _cases_of_both(pairs)
    if not shared:
        return []
    return list(zip(*(pass_means(passes, shared) for passes in zip(*pairs, strict=True)), strict=True))


def _cases_of_both(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> set[str]:
    """Return the cases for which both models have a latency in some pass."""
    ours, theirs = ({case_id for pair in pairs for case_id in pair[side]} for side in range(2))
    return ours & theirs


def compare_by_case(challenger: ModelResult, other: ModelResult, level: float) -> PairedComparison | None:
    """Compare two models case by case; None with fewer than two common cases.

    It describes where models differ; nothing is decided by it.
    """
    return compare_cases(*comparable_medians_ms(challenger, other), level)


def comparable_medians_ms(one: ModelResult, other: ModelResult) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the medians by case of both models: the final's if both were in it, else those of the main passes."""
    if met_in_final(one, other):
        return one.final_case_medians_ms, other.final_case_medians_ms
    return one.case_medians_ms, other.case_medians_ms


def is_near(one: ModelResult, other: ModelResult) -> bool:
    """Whether the mean of `one` is lower than that of `other`, or so little higher that chance may explain it."""
    return (one.avg_latency_ms or 0) <= (1 + _NEAR) * (other.avg_latency_ms or 0)


def met_in_final(one: ModelResult, other: ModelResult) -> bool:
    """Whether both models have passes of a final."""
    return one.final_passes > 0 and other.final_passes > 0


def rank(results: Iterable[ModelResult], incumbents: frozenset[str] = frozenset()) -> Scoreboard:
    """Rank the qualified models by mean latency, fastest first.

    Models whose means are the same whole millisecond are ordered by: incumbent, lower p90, less memory, name.
    Each model is compared in the mean with the one directly ahead and with the champion; it is tied with those that
    the comparison does not separate. The disqualified models follow, the most correct first, then the inconclusive
    and the outpaced ones.
    """
    everyone = list(results)
    qualified = [result for result in everyone if result.qualified]
    qualified.sort(key=lambda result: _order(result, incumbents))
    tied = _ties(qualified)
    ranked = [
        replace(
            result,
            rank=position,
            tied_with=tuple(other.model for other in qualified if frozenset((result.model, other.model)) in tied),
        )
        for position, result in enumerate(qualified, start=1)
    ]
    rest = [result for result in everyone if not result.qualified]
    rest.sort(key=lambda result: (result.standing, -result.cases_correct, result.model))
    return Scoreboard((*ranked, *rest))


def _whole_ms(result: ModelResult) -> int:
    return round(result.avg_latency_ms or 0)


def ahead_by(ahead: ModelResult, behind: ModelResult, incumbents: frozenset[str] = frozenset()) -> str:
    """Return what ranks one model ahead of another: `mean latency`, or the deciding tie-break."""
    pairs = zip(_ORDER, _order(ahead, incumbents), _order(behind, incumbents), strict=True)
    return next((name for name, one, other in pairs if one != other), _ORDER[-1])


_ORDER = ("mean latency", "incumbent", "p90", "memory", "name")


def _order(result: ModelResult, incumbents: frozenset[str]) -> tuple[int, bool, float, float, str]:
    """Return the sort key of a model, in the order of `_ORDER`; unknown values come last."""
    unknown = float("inf")
    memory = result.memory_bytes or result.size_bytes or unknown
    return _whole_ms(result), result.model not in incumbents, result.p90_ms or unknown, memory, result.model


def _ties(qualified: Sequence[ModelResult]) -> set[frozenset[str]]:
    """Return the pairs that are not separated at `TIE_LEVEL` over the whole family of comparisons (Holm).

    Two models with fewer than two pairs of passes are tied when their means are near.
    """
    pairs = {frozenset((i - 1, i)): (i - 1, i) for i in range(1, len(qualified))}
    pairs |= {frozenset((0, i)): (0, i) for i in range(1, len(qualified))}
    tied: set[frozenset[str]] = set()
    names, p_values = [], []
    for first, second in pairs.values():
        ahead, behind = qualified[first], qualified[second]
        comparison = compare_means(ahead, behind, TIE_LEVEL)
        if comparison is not None:
            names.append(frozenset((ahead.model, behind.model)))
            p_values.append(comparison.p_value)
        elif is_near(behind, ahead):
            tied.add(frozenset((ahead.model, behind.model)))
    return tied | {pair for pair, p in zip(names, holm(p_values), strict=True) if p >= 1 - TIE_LEVEL}
