"""Sentences about a scoreboard and its samples, each with its figures, units and n. Tables are in report.py."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing
from bench_pipeline.domain.measuring.verdict_quality import VerdictQuality, verdict_quality
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome

_MOST_NAMED = 3


def insights(scoreboard: Scoreboard, samples_by_model: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Return the sentences that the data of one benchmark supports; none without a measured model.

    `samples_by_model` maps each model of the scoreboard to its samples.
    """
    if not scoreboard.results:
        return []
    qualities = {model: verdict_quality(samples) for model, samples in samples_by_model.items()}
    return [
        *_share_qualified(scoreboard),
        *_margin(scoreboard),
        *_size_and_speed(scoreboard),
        *_families(scoreboard),
        *_champions_time(scoreboard, samples_by_model),
        *_cases(samples_by_model),
        *_constant_verdicts(qualities),
        *(_confusions(qualities) if has_own_classes(samples_by_model) else _false_verdicts(qualities)),
    ]


def has_own_classes(samples_by_model: Mapping[str, Sequence[Sample]]) -> bool:
    """Whether the cases have other classes than PASS and FAIL."""
    return any(sample.expected not in tuple(Gold) for samples in samples_by_model.values() for sample in samples)


def _share_qualified(scoreboard: Scoreboard) -> Iterator[str]:
    qualified, models = len(scoreboard.ranked), len(scoreboard.results)
    unfinished = sum(result.standing is Standing.INCONCLUSIVE for result in scoreboard.results)
    outpaced = sum(result.standing is Standing.OUTPACED for result in scoreboard.results)
    cases = _counted(scoreboard.results[0].cases, "case")
    rest = f"; {unfinished} could not be measured to the end" if unfinished else ""
    rest += f"; {outpaced} stopped by the race, correctness unknown" if outpaced else ""
    share = f"{qualified} of {_counted(models, 'model')} qualified ({qualified / models:.0%})"
    yield f"{share}: correct in all {cases}{rest}."


def _margin(scoreboard: Scoreboard) -> Iterator[str]:
    first, second = scoreboard.champion, scoreboard.runner_up
    if first is None or second is None or first.avg_latency_ms is None or not second.avg_latency_ms:
        return
    figures = f"{_speed(first)} against {_speed(second)}"
    if second.model in first.tied_with:
        yield f"{first.model} and {second.model} are tied; their difference may be chance: {figures}."
        return
    saved = second.avg_latency_ms - first.avg_latency_ms
    share = saved / second.avg_latency_ms
    yield f"{first.model} leads {second.model} by {_ms(saved)} per case ({share:.1%}): {figures}."


def _size_and_speed(scoreboard: Scoreboard) -> Iterator[str]:
    sized = [(result.size_bytes, result) for result in scoreboard.ranked if result.size_bytes]
    champion = scoreboard.champion
    if len(sized) < 2 or champion is None or not champion.size_bytes or not champion.avg_latency_ms:
        return
    smallest = min(sized, key=lambda pair: pair[0])
    largest = max(sized, key=lambda pair: pair[0])
    n = f"n={len(sized)} qualified models of known size"
    if champion.size_bytes == smallest[0]:
        yield f"The fastest model, {champion.model}, is also the smallest ({_gb(champion.size_bytes)}; {n})."
    else:
        small = f"{smallest[1].model} ({_gb(smallest[0])}, {_speed(smallest[1])})"
        big = f"{champion.model} ({_gb(champion.size_bytes)}, {_speed(champion)})"
        yield f"The fastest model, {big}, is not the smallest, which is {small}; {n}."
    if largest[0] > champion.size_bytes and largest[1].avg_latency_ms:
        speed, size = largest[1].avg_latency_ms / champion.avg_latency_ms, largest[0] / champion.size_bytes
        yield (
            f"{largest[1].model}, the largest that qualified ({_gb(largest[0])}), is {size:.1f} times the size of "
            f"{champion.model} and takes {speed:.1f} times as long: {_speed(largest[1])} against {_speed(champion)}."
        )


def _families(scoreboard: Scoreboard) -> Iterator[str]:
    by_family: dict[str, list[float]] = defaultdict(list)
    for result in scoreboard.ranked:
        if result.family and result.avg_latency_ms:
            by_family[result.family].append(result.avg_latency_ms)
    if len(by_family) < 2:
        return
    fastest_first = sorted((fmean(latencies), family) for family, latencies in by_family.items())
    means = [f"{family} {_ms(mean)} (n={_counted(len(by_family[family]), 'model')})" for mean, family in fastest_first]
    yield f"Mean latency of the qualified models by family: {_listed(means)}."


def _champions_time(scoreboard: Scoreboard, samples_by_model: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    if scoreboard.champion is None:
        return
    name = scoreboard.champion.model
    split = [
        (sample.timings.prompt_ns, sample.timings.generation_ns)
        for sample in samples_by_model.get(name, ())
        if sample.timings.prompt_ns is not None and sample.timings.generation_ns is not None
    ]
    reading, generating = sum(pair[0] for pair in split), sum(pair[1] for pair in split)
    if not reading + generating:
        return
    share = reading / (reading + generating)
    means = f"{_ms(reading / len(split) / 1e6)} and {_ms(generating / len(split) / 1e6)} per call"
    yield (
        f"{name} spends {share:.0%} of its server time reading the prompt and {1 - share:.0%} generating "
        f"({means}, server's timings, n={_counted(len(split), 'call')})."
    )


def _cases(samples_by_model: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    """Compare the cases over the models that answered them; an infrastructure error is not an answer."""
    answered: dict[str, set[str]] = defaultdict(set)
    failed: dict[str, set[str]] = defaultdict(set)
    for model, samples in samples_by_model.items():
        for sample in _answers(samples):
            answered[sample.case_id].add(model)
            if sample.outcome is not Outcome.CORRECT:
                failed[sample.case_id].add(model)
    if not answered:
        return
    hardest = sorted(failed, key=lambda case: (-len(failed[case]) / len(answered[case]), case))
    if hardest:
        named = [
            f"{case} (failed by {len(failed[case])} of {_counted(len(answered[case]), 'model')})" for case in hardest
        ]
        yield f"Hardest cases: {_listed(named)}."
    easy = len(answered) - len(failed)
    yield f"{easy} of {_counted(len(answered), 'case')} were answered correctly by every model that answered them."


def _constant_verdicts(qualities: Mapping[str, VerdictQuality]) -> Iterator[str]:
    for model, quality in qualities.items():
        if quality.constant_verdict is not None:
            n = _counted(quality.read, "verdict")
            yield f"{model} always says {quality.constant_verdict}, whatever the case (n={n})."


def _false_verdicts(qualities: Mapping[str, VerdictQuality]) -> Iterator[str]:
    """Count them over all models, then, if there are several models, for each one that has any."""
    read = {model: quality for model, quality in qualities.items() if quality.read}
    if not read:
        return
    yield f"Over all models, {_false(list(read.values()))}."
    if len(read) > 1:
        yield from (f"{m}: {_false([q])}." for m, q in read.items() if q.false_pass or q.false_fail)


def _confusions(qualities: Mapping[str, VerdictQuality]) -> Iterator[str]:
    """Name the most frequent confusions over all models; those of each model are in the table of verdicts."""
    read = sum(quality.read for quality in qualities.values())
    if not read:
        return
    counts: Counter[tuple[str, str]] = Counter()
    for quality in qualities.values():
        counts.update({(pair.gold, pair.said): pair.count for pair in quality.confusions})
    named = [f"{gold} as {said} {count}" for (gold, said), count in counts.most_common()]
    pairs = f": {_listed(named)}" if named else ""
    yield f"Over all models, {counts.total()} of {_counted(read, 'verdict')} took a case for another class{pairs}."


def _false(qualities: Sequence[VerdictQuality]) -> str:
    should_fail, should_pass = sum(q.should_fail for q in qualities), sum(q.should_pass for q in qualities)
    return (
        f"{sum(q.false_pass for q in qualities)} of {_counted(should_fail, 'verdict')} on cases that should FAIL "
        f"said PASS (false PASS), and {sum(q.false_fail for q in qualities)} of {_counted(should_pass, 'verdict')} "
        "on cases that should PASS said FAIL (false FAIL)"
    )


def _answers(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.outcome is not Outcome.ERROR]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _MOST_NAMED
    return ", ".join(parts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _speed(result: ModelResult) -> str:
    return f"{_ms(result.avg_latency_ms or 0)} (n={_counted(result.valid_calls, 'call')})"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f} ms" if milliseconds < 10 else f"{milliseconds:,.0f} ms"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"
