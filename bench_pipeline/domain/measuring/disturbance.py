"""Calls that took far longer than their tokens explain, against the same model's own rate.

Only measures and names them: repeating is in benchmark/model_run.py, judging an answer in tasks/verdict.py.
The rule never looks at which model it is, and it never picks the smaller of two latencies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import exp, log
from statistics import median, median_high

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.tasks.outcome import Outcome

# Less than half as long again moves no ranking by itself, and a clock that adapts to heat does as much.
MIN_RATIO = 1.5
# A normal value lies beyond five standard deviations once in 3 million calls; the estimate of the deviation from a
# dozen calls is what makes it more often.
SCALES = 5.0
# A busy system lets a process wait for tens of milliseconds at times. The rule `contention` has the same bound.
MIN_EXTRA_NS = 100_000_000
# The spread of fewer calls is hardly known.
MIN_CALLS = 8
# The median absolute deviation of a normal distribution is its standard deviation / 1.4826.
MAD_TO_SD = 1.4826
# A line through more cases costs time, with the square of their number, and is not better.
MAX_CASES_OF_A_LINE = 60
_FIT_ROUNDS = 20

Call = tuple[str, int]
"""A case and a pass."""
_Expected = Mapping[Call, float]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A call that was disturbed, or was repeated because it seemed so.

    `ratio` says how many times longer than expected it took, None if that can no longer be told. `again` is its
    repetition, None if it was not repeated.
    """

    first: Sample
    ratio: float | None
    again: Sample | None = None

    @property
    def ranking(self) -> Sample | None:
        """The one of the two whose latency ranks; None if neither does."""
        return next((one for one in (self.again, self.first) if one is not None and one.ranks), None)


def disturbances(samples: Sequence[Sample]) -> tuple[Disturbance, ...]:
    """Return the disturbed and the repeated calls of one model, the worst first."""
    ratios, limit = _judged(samples)
    again = {_call(sample): sample for sample in samples if sample.take > 1}
    found = [
        Disturbance(sample, ratios.get(_call(sample)), again.get(_call(sample)))
        for sample in samples
        if sample.take == 1 and (_call(sample) in again or _is_disturbed(sample, ratios, limit))
    ]
    return tuple(sorted(found, key=lambda one: (-(one.ratio or 0.0), one.first.repeat, one.first.case_id)))


def due(samples: Sequence[Sample], limit: int) -> tuple[Disturbance, ...]:
    """Return the calls to repeat at the end of a turn of the model, the worst first, at most `limit`.

    Repetitions at the end of `samples` belong to this turn, which an interruption has cut in two.
    """
    of_this_turn = next((n for n, sample in enumerate(reversed(samples)) if sample.take == 1), len(samples))
    waiting = [one for one in disturbances(samples) if one.again is None]
    return tuple(waiting[: max(0, limit - of_this_turn)])


def with_takes_settled(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples so that of each repeated call one latency ranks: the repetition's if it is valid."""
    everything = list(samples)
    ranks = {_call(sample): sample.ranks for sample in everything if sample.take > 1}
    return [_settled(one, ranks.get(_call(one), False)) if one.take == 1 else one for one in everything]


def _settled(first: Sample, superseded: bool) -> Sample:
    if superseded and first.ranks:
        return replace(first, exclusion=ValidityRule.DISTURBED)
    if not superseded and first.exclusion == ValidityRule.DISTURBED:
        return replace(first, exclusion=None)
    return first


def _judged(samples: Sequence[Sample]) -> tuple[_Expected, float]:
    """Return how many times longer than expected each comparable call took, and the log of the ratio that is too much.

    The reference is the quietest pass: the one whose median ratio is the lowest. The spread is that within passes.
    """
    calls = {_call(sample): sample for sample in samples if _is_comparable(sample)}
    expected = _expected(calls) if len(calls) >= MIN_CALLS else {}
    excess = {call: log((calls[call].latency_ns or 0) / ns) for call, ns in expected.items() if ns > 0}
    if len(excess) < MIN_CALLS:
        return {}, 0.0
    passes: dict[int, list[float]] = defaultdict(list)
    for (_, repeat), value in excess.items():
        passes[repeat].append(value)
    middles = {repeat: median(values) for repeat, values in passes.items()}
    most = max(map(len, passes.values()))
    quietest = min(middles[repeat] for repeat, values in passes.items() if 2 * len(values) >= most)
    # The smallest distance of a pass is that of its middle from itself.
    by_pass = [sorted(abs(value - middles[repeat]) for value in values)[1:] for repeat, values in passes.items()]
    distances = [*chain.from_iterable(by_pass)]
    if not distances:
        return {}, 0.0
    limit = max(log(MIN_RATIO), SCALES * MAD_TO_SD * median(distances))
    return {call: exp(value - quietest) for call, value in excess.items()}, limit


def _is_comparable(sample: Sample) -> bool:
    """Whether it is a first take whose latency ranks, or would rank if it had not been repeated."""
    latency = sample.latency_ns is not None and sample.latency_ns > 0 and sample.outcome is not Outcome.ERROR
    return sample.take == 1 and latency and sample.exclusion in (None, ValidityRule.DISTURBED)


def _is_disturbed(sample: Sample, ratios: Mapping[Call, float], limit: float) -> bool:
    ratio = ratios.get(_call(sample), 0.0)
    return ratio > 1 and log(ratio) > limit and (sample.latency_ns or 0) * (1 - 1 / ratio) > MIN_EXTRA_NS


def _call(sample: Sample) -> Call:
    return sample.case_id, sample.repeat


# What a call should take, up to a factor that is the same for all calls


def _expected(calls: Mapping[Call, Sample]) -> _Expected:
    """Return the expected times by the best method that at least half of the calls allow, nanoseconds."""
    for method in (_by_durations, _by_counts):
        expected = method(calls)
        if 2 * len(expected) >= len(calls):
            return expected
    return _by_cases(calls)


def _by_durations(calls: Mapping[Call, Sample]) -> _Expected:
    """The model's own rates x the tokens: a line for the prompt, of which a part may be cached, a rate to generate."""
    prompts: dict[Call, tuple[float, float]] = {}
    replies: dict[Call, tuple[float, float]] = {}
    for call, sample in calls.items():
        t = sample.timings
        if t.prompt_ns is None or t.prompt_tokens is None or not t.generation_ns or not t.generated_tokens:
            continue
        prompts[call] = float(t.prompt_tokens - (t.cached_prompt_tokens or 0)), float(t.prompt_ns)
        replies[call] = float(t.generated_tokens), float(t.generation_ns)
    if not prompts:
        return {}
    start, per_token = _line([*_by_case(prompts).values()])
    rate = median(ns / tokens for tokens, ns in replies.values())
    return {
        call: max(0.0, start + per_token * tokens) + rate * replies[call][0] for call, (tokens, _) in prompts.items()
    }


def _by_counts(calls: Mapping[Call, Sample]) -> _Expected:
    """A fit of the latencies on the counts of tokens: start + a x prompt + b x reply, no term below zero."""
    counts: dict[Call, tuple[float, float]] = {}
    for call, sample in calls.items():
        t = sample.timings
        if t.prompt_tokens is not None and t.generated_tokens is not None:
            counts[call] = float(t.prompt_tokens - (t.cached_prompt_tokens or 0)), float(t.generated_tokens)
    if not counts:
        return {}
    terms = _fit([(1.0, *counts[call]) for call in counts], [float(calls[call].latency_ns or 0) for call in counts])
    return {call: sum(term * x for term, x in zip(terms, (1.0, *count), strict=True)) for call, count in counts.items()}


def _by_cases(calls: Mapping[Call, Sample]) -> _Expected:
    """The same case in the other passes, each pass at its own speed; a case without one is not compared.

    Of two other passes the longer one counts, so that a call that was once faster does not make the others slow.
    """
    logs = {call: log(sample.latency_ns or 1) for call, sample in calls.items()}
    of_case: dict[str, dict[int, float]] = defaultdict(dict)
    for (case_id, repeat), value in logs.items():
        of_case[case_id][repeat] = value
    middle = {case_id: median(values.values()) for case_id, values in of_case.items()}
    by_pass: dict[int, list[float]] = defaultdict(list)
    for (case_id, repeat), value in logs.items():
        by_pass[repeat].append(value - middle[case_id])
    speed = {repeat: median(values) for repeat, values in by_pass.items()}
    return {
        (case_id, repeat): exp(median_high(value - speed[other] for other, value in values.items() if other != repeat))
        for case_id, values in of_case.items()
        if len(values) > 1
        for repeat in values
    }


def _by_case(points: Mapping[Call, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Return the medians of each case, so that neither one call nor a case with many calls moves a line."""
    of_case: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (case_id, _), point in points.items():
        of_case[case_id].append(point)
    return {case_id: (median(x for x, _ in found), median(y for _, y in found)) for case_id, found in of_case.items()}


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return start and slope of the line through the points, robust against three in ten of them (Theil-Sen)."""
    step = -(-len(points) // MAX_CASES_OF_A_LINE)
    some = sorted(points)[::step]
    slopes = [(y2 - y1) / (x2 - x1) for n, (x1, y1) in enumerate(some) for x2, y2 in some[n + 1 :] if x2 > x1]
    slope = max(0.0, median(slopes)) if slopes else 0.0
    return median(y - slope * x for x, y in some), slope


def _fit(rows: Sequence[tuple[float, ...]], values: Sequence[float]) -> list[float]:
    """Return terms, none below zero, so that the sum of |value / (terms x row) - 1| is about the least."""
    from numpy import array, maximum, sqrt
    from scipy.optimize import nnls

    unit = median(values)
    shares = array(rows) * (unit / array(values))[:, None]
    weights = array([1.0] * len(rows))
    for _ in range(_FIT_ROUNDS):
        terms, _ = nnls(shares * weights[:, None], weights)
        weights = 1 / sqrt(maximum(abs(shares @ terms - 1), 1e-3))
    return [unit * float(term) for term in terms]
