"""What people should know about a champion although nothing is refused. What is refused is in rules.py and refusal.py.

Each function looks at one property and returns its concern, or None where there is nothing to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bench_pipeline.domain.measuring.estimates import counted
from bench_pipeline.domain.measuring.scoreboard import (
    TIE_LEVEL,
    ModelResult,
    Scoreboard,
    Standing,
    compare_means,
    is_near,
)
from bench_pipeline.domain.measuring.statistics import PairedComparison, interval_text
from bench_pipeline.domain.promoting.holders import Holder, WayBack
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.text import listed

_ENDED = (Standing.QUALIFIED, Standing.DISQUALIFIED)


@dataclass(frozen=True, slots=True)
class Concern:
    """What is the case with its n, why it matters, and what to do; each a sentence without its full stop."""

    what: str
    matters: str
    remedy: str

    def __str__(self) -> str:
        """Return the three sentences."""
        return f"{self.what}. {self.matters}. {self.remedy}."


def no_runner_up(board: Scoreboard) -> Concern | None:
    """Return the concern that one model qualified and no other can replace it; a board without a champion has none."""
    if board.champion is None or board.runner_up is not None:
        return None
    n = f"1 of {counted(len(board.results), 'model')}"
    return Concern(
        f"Only {board.champion.model} was correct in all {counted(board.champion.cases, 'case')} ({n})",
        "If it fails or is removed, no measured model can take over",
        "Install another model, or read with `bench why` what the others got wrong",
    )


def near_margin(board: Scoreboard, incumbents: Collection[str], policy: PromotionPolicy) -> Concern | None:
    """Return the concern that another measurement could turn the decision.

    Compared are the champion and the incumbent, or, where the champion is the incumbent, the runner-up and the
    champion. The decision could turn where the interval of the share that is saved includes the margin.
    """
    pair = _rivals(board, incumbents)
    if pair is None:
        return None
    challenger, holder = pair
    found = compare_means(challenger, holder, TIE_LEVEL)
    if found is None:
        if not is_near(challenger, holder) or not is_near(holder, challenger):
            return None
        figures = "one pass each, which gives no interval"
    else:
        if not 1 - found.high <= policy.min_gain <= 1 - found.low:
            return None
        figures = _saving(found)
    margin = f"the margin of {policy.min_gain:.0%}"
    return Concern(
        f"{challenger.model} against {holder.model} in production: {figures}, so {margin} is neither reached nor missed"
        " for certain",
        "The next benchmark may decide the other way, although no model changed",
        "Measure with more passes before you act on the difference: set BENCH_REPEATS or BENCH_FINAL_PASSES higher",
    )


def _rivals(board: Scoreboard, incumbents: Collection[str]) -> tuple[ModelResult, ModelResult] | None:
    """Return the challenger and who would be replaced; None where nobody could be."""
    champion, runner_up = board.champion, board.runner_up
    if champion is None:
        return None
    if champion.model in incumbents:
        return (runner_up, champion) if runner_up is not None else None
    held = next((result for result in board.ranked if result.model in incumbents), None)
    return (champion, held) if held is not None else None


def _saving(found: PairedComparison) -> str:
    return f"{found.gain:.1%} saved per case ({interval_text(found, lambda ratio: 1 - ratio)})"


def saturated(board: Scoreboard) -> Concern | None:
    """Return the concern that the suite does not tell models apart: all of at least two fail the same cases, or none.

    Models that were not measured to the end, or that a race stopped, do not count.
    """
    ended = [result for result in board.results if result.standing in _ENDED]
    failed = {frozenset(failure.case_id for failure in result.failures) for result in ended}
    if len(ended) < 2 or len(failed) > 1:
        return None
    n = f"n={counted(len(ended), 'model')}, {counted(ended[0].cases, 'case')}"
    (cases,) = failed
    if not cases:
        return Concern(
            f"Every model was correct in every case ({n})",
            "The suite shows no difference in correctness, so latency alone decides, also for models that are too weak",
            "Add harder cases to suite.json; `bench cases import` drafts them from what production was asked",
        )
    return Concern(
        f"Every model failed the same cases and no other: {listed(sorted(cases))} ({n})",
        "A case that no model gets right may have a wrong gold label, and the suite shows no difference in correctness",
        "Check the gold verdict of these cases, and with `bench cases show` what is asked",
    )


def flaky_cases(board: Scoreboard) -> Concern | None:
    """Return the concern that models that are right in all other cases flip on a case between passes."""
    otherwise_right = [
        result
        for result in board.results
        if result.standing in _ENDED and {failure.case_id for failure in result.failures} <= set(result.flaky)
    ]
    counts = Counter(case_id for result in otherwise_right for case_id in result.flaky)
    if not counts:
        return None
    n = counted(len(otherwise_right), "model")
    named = [f"{case_id} (by {count})" for case_id, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    return Concern(
        f"Models that are right in all other cases flip between passes on {listed(named)} (n={n})",
        "Such a case disqualifies by chance, and the next benchmark may rank other models",
        "See with `bench cases show` what is asked: make the case unambiguous, or set temperature to 0",
    )


def old_evidence(measured: Mapping[str, datetime], now: datetime, limit_days: float) -> Concern | None:
    """Return the concern that what was measured is older than the limit. `measured` is by what it decided upon."""
    limit = timedelta(days=limit_days)
    old = sorted((at, name) for name, at in measured.items() if now - at > limit)
    if not old:
        return None
    named = [f"{name}, measured {at:%Y-%m-%d}" for at, name in old]
    return Concern(
        f"{len(old)} of {counted(len(measured), 'champion')} rest on measurements older than {limit_days:g} days: "
        f"{listed(named)}",
        "Models, servers and prompts change meanwhile, and a promotion refuses evidence of that age",
        "Benchmark again with `bench run`, or switch on the schedule",
    )


def no_way_back(ways: Sequence[WayBack]) -> Concern | None:
    """Return the concern that a model to go back to, or to fail over to, cannot be called any more."""
    missing = [way for way in ways if way.missing]
    if not missing:
        return None
    named = [f"{way.actor}, {way.role} of {way.conversation}: {way.missing}" for way in missing]
    return Concern(
        f"{len(missing)} of {counted(len(ways), 'way')} back cannot be used: {listed(named)}",
        "An undoing or a failover would put a model into production that does not answer",
        "Install or enable the model again, or benchmark so that another one becomes the runner-up",
    )


def other_than_champion(found: Sequence[Holder]) -> Concern | None:
    """Return the concern that a conversation has another actor than its champion."""
    different = [one for one in found if not one.has_champion]
    if not different:
        return None
    named = [
        f"{one.conversation_id} {one.conversation} has {one.actor or 'no actor'} (actor {one.actor_id}), its champion "
        f"is actor {one.champion_id}"
        for one in different
    ]
    return Concern(
        f"{len(different)} of {counted(len(found), 'conversation')} do not have their champion: {listed(named)}",
        "Somebody changed production by hand since, or a promotion was undone, so it runs on another model than the "
        "one that the benchmark chose",
        "See with `bench blame` who changed it; `bench promote` plans the difference again",
    )
