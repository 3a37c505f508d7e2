"""Two benchmarks of a task compared: what each model got wrong or right since, and what counts as a regression.

Decides nothing about production: see domain/promoting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import (
    TIE_LEVEL,
    CaseFailure,
    ModelResult,
    Scoreboard,
    Standing,
    case_medians_ms,
)
from bench_pipeline.domain.measuring.statistics import PairedComparison, compare_cases, compare_passes, pass_means


class RegressionKind(StrEnum):
    """What counts as a regression."""

    INVALID = "invalid"  # nothing may be concluded from the new benchmark
    NOT_QUALIFIED = "not_qualified"  # a model that qualified does not any more
    NOT_MEASURED = "not_measured"  # whether it still qualifies is not known
    SLOWER = "slower"  # the champion's latency interval lies above what is tolerated


@dataclass(frozen=True, slots=True)
class Regression:
    """One regression in words; `model` is empty when it is about the whole benchmark."""

    kind: RegressionKind
    model: str
    why: str


class CaseChangeKind(StrEnum):
    """How the answers to a case changed. `NEW_WRONG`: wrong, and not asked in the earlier benchmark."""

    GOT_WRONG = "got_wrong"
    NEW_WRONG = "new_wrong"
    STILL_WRONG = "still_wrong"
    UNMEASURED = "unmeasured"
    GOT_RIGHT = "got_right"


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A case that a model fails now or failed before; `failure` is the one of now, None if it is right now."""

    case_id: str
    kind: CaseChangeKind
    failure: CaseFailure | None


@dataclass(frozen=True, slots=True)
class LatencyChange:
    """A model's mean latency (ms) over the cases of both benchmarks, and how far chance explains the difference.

    `unjudged` says why the interval does not count as evidence; it is empty when it does. `ratio` is now / before.
    """

    before_ms: float
    now_ms: float
    comparison: PairedComparison | None
    unjudged: str


@dataclass(frozen=True, slots=True)
class ModelChange:
    """One model in both benchmarks; `before` or `now` is None where it did not take part."""

    model: str
    before: ModelResult | None
    now: ModelResult | None
    cases: tuple[CaseChange, ...] = ()
    latency: LatencyChange | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkChange:
    """What changed between two benchmarks of a task. `champion` is the model of the earlier one that counts as such."""

    before_id: str
    now_id: str
    champion: str | None
    models: tuple[ModelChange, ...]
    added_cases: tuple[str, ...]
    removed_cases: tuple[str, ...]
    regressions: tuple[Regression, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One of the two benchmarks. `samples` maps each model to its calls; `main_passes` excludes those of a final."""

    benchmark_id: str
    scoreboard: Scoreboard
    samples: Mapping[str, Sequence[Sample]]
    case_ids: tuple[str, ...]
    main_passes: int
    hardware: Mapping[str, Any]


def benchmark_change(before: Measured, now: Measured, champion: str | None, tolerated: float) -> BenchmarkChange:
    """Compare two benchmarks of one task; `tolerated` is the share by which the champion may be slower.

    It is a regression when

    * the new benchmark is invalid,
    * a model that qualified is disqualified, or could not be measured to the end,
    * the champion did not take part, or
    * the whole interval of the champion's latency, now / before, lies above 1 + `tolerated`.
    """
    names = [result.model for result in now.scoreboard.results]
    if champion is not None and champion not in names:
        names.append(champion)
    models = tuple(_model_change(before, now, name) for name in names)
    return BenchmarkChange(
        before.benchmark_id,
        now.benchmark_id,
        champion,
        models,
        tuple(case for case in now.case_ids if case not in before.case_ids),
        tuple(case for case in before.case_ids if case not in now.case_ids),
        tuple(_regressions(now, models, champion, tolerated)),
    )


def _model_change(before: Measured, now: Measured, model: str) -> ModelChange:
    old, new = before.scoreboard.of(model), now.scoreboard.of(model)
    if new is None:
        return ModelChange(model, old, None)
    asked = {sample.case_id for sample in before.samples.get(model, ())}
    cases = tuple(_case_changes(old, new, asked, now.case_ids))
    return ModelChange(model, old, new, cases, _latency_change(before, now, model) if old else None)


def _case_changes(
    old: ModelResult | None, new: ModelResult, asked: set[str], case_ids: Sequence[str]
) -> Iterator[CaseChange]:
    wrong_before = {one.case_id for one in old.failures if one.outcome.disqualifies} if old else set()
    failures = {one.case_id: one for one in new.failures}
    for case_id in case_ids:
        failure = failures.get(case_id)
        if failure is None:
            if case_id in wrong_before and new.standing is not Standing.OUTPACED:
                yield CaseChange(case_id, CaseChangeKind.GOT_RIGHT, None)
        elif not failure.outcome.disqualifies:
            yield CaseChange(case_id, CaseChangeKind.UNMEASURED, failure)
        elif case_id in wrong_before:
            yield CaseChange(case_id, CaseChangeKind.STILL_WRONG, failure)
        else:
            kind = CaseChangeKind.GOT_WRONG if case_id in asked else CaseChangeKind.NEW_WRONG
            yield CaseChange(case_id, kind, failure)


def _latency_change(before: Measured, now: Measured, model: str) -> LatencyChange | None:
    old, new = _passes(before, model), _passes(now, model)
    shared = {case for one in old for case in one} & {case for one in new for case in one}
    if not shared:
        return None
    old_means, new_means = pass_means(old, shared), pass_means(new, shared)
    unjudged = ""
    found = compare_passes(zip(new_means, old_means, strict=False), TIE_LEVEL)
    if found is None:
        new_medians, old_medians = (case_medians_ms(_main_samples(side, model)) for side in (now, before))
        found = compare_cases(new_medians, old_medians, TIE_LEVEL)
        unjudged = "one pass does not show how much passes vary; measure both with two or more repeats"
    if before.hardware != now.hardware:
        unjudged = "the two were measured on different hardware"
    return LatencyChange(fmean(old_means), fmean(new_means), found, unjudged)


def _main_samples(side: Measured, model: str) -> list[Sample]:
    return [one for one in side.samples.get(model, ()) if one.repeat <= side.main_passes and one.ranks]


def _passes(side: Measured, model: str) -> list[dict[str, float]]:
    """Return the latencies (ms) of each main pass that has any, by case."""
    found: dict[int, dict[str, float]] = {}
    for sample in _main_samples(side, model):
        if sample.latency_ns is not None:
            found.setdefault(sample.repeat, {})[sample.case_id] = sample.latency_ns / 1e6
    return [found[repeat] for repeat in sorted(found)]


def _regressions(
    now: Measured, models: Sequence[ModelChange], champion: str | None, tolerated: float
) -> Iterator[Regression]:
    if now.scoreboard.invalid:
        yield Regression(RegressionKind.INVALID, "", f"the benchmark is invalid: {now.scoreboard.invalid}")
    for one in models:
        if one.now is None or (one.before is not None and one.before.qualified):
            yield from _no_longer_qualified(one)
        if one.model == champion and (slower := _slower(one, tolerated)) is not None:
            yield slower


def _no_longer_qualified(one: ModelChange) -> Iterator[Regression]:
    if one.now is None:
        yield Regression(RegressionKind.NOT_MEASURED, one.model, "the champion was not measured this time")
    elif one.now.standing is Standing.DISQUALIFIED:
        share = f"{one.now.cases_correct} of {one.now.cases} cases correct"
        yield Regression(RegressionKind.NOT_QUALIFIED, one.model, f"it qualified and does not any more: {share}")
    elif one.now.standing is Standing.INCONCLUSIVE:
        why = f"it could not be measured to the end: {one.now.why}"
        yield Regression(RegressionKind.NOT_MEASURED, one.model, why)


def _slower(one: ModelChange, tolerated: float) -> Regression | None:
    latency = one.latency
    if one.now is None or not one.now.qualified or latency is None or latency.unjudged or latency.comparison is None:
        return None
    found = latency.comparison
    if found.low <= 1 + tolerated:
        return None
    why = (
        f"the champion takes {found.ratio:.2f} times as long as before "
        f"({100 * found.level:.5g} % interval {found.low:.2f} to {found.high:.2f}, n={found.n} {found.unit}); "
        f"{1 + tolerated:.2f} times is tolerated"
    )
    return Regression(RegressionKind.SLOWER, one.model, why)
