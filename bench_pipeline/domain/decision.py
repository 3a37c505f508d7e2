"""Whether a conversation gets a new actor: a function of the scoreboard, the incumbent and the policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench_pipeline.domain.actor import Exclusion
from bench_pipeline.domain.scoreboard import ModelResult, Scoreboard, Standing

MODEL_ACTOR_TYPE = "ai_model"


class DecisionKind(StrEnum):
    """What a benchmark says of a conversation."""

    PROMOTE = "promote"
    KEEP = "keep"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Incumbent:
    """Who carries out a conversation now, and what the benchmark found of that model.

    `result` is None when it was not measured; `exclusion` then says why, None when nobody asked for it.
    """

    actor_id: int | None
    name: str | None = None
    actor_type: str | None = None
    result: ModelResult | None = None
    exclusion: Exclusion | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """`min_gain`: the share of the incumbent's mean latency that a challenger must save."""

    min_gain: float = 0.05


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one conversation. `gain` is the share of latency saved, when both were measured."""

    kind: DecisionKind
    reason: str
    challenger: ModelResult | None = None
    runner_up: ModelResult | None = None
    gain: float | None = None


def decide(scoreboard: Scoreboard, incumbent: Incumbent, policy: Policy) -> Decision:
    """Return the decision; the first rule that matches wins."""
    actors = [result for result in scoreboard.ranked if result.actor_id is not None]
    if not actors:
        return _without_champion(scoreboard)
    champion, runner_up = actors[0], next(iter(actors[1:]), None)

    def answer(kind: DecisionKind, reason: str, gain: float | None = None) -> Decision:
        return Decision(kind, reason, champion, runner_up, gain)

    if champion.actor_id == incumbent.actor_id:
        return answer(DecisionKind.KEEP, f"{champion.model} is the champion already")
    if incumbent.actor_id is None:
        return answer(DecisionKind.PROMOTE, "the conversation has no actor yet")
    if incumbent.actor_type is not None and incumbent.actor_type != MODEL_ACTOR_TYPE:
        return answer(DecisionKind.KEEP, f"{incumbent.name} is no model but a {incumbent.actor_type}: a person decides")
    measured = incumbent.result
    if measured is None:
        return answer(*_unmeasured(incumbent))
    if measured.standing is Standing.INCONCLUSIVE:
        return answer(DecisionKind.INCONCLUSIVE, f"{incumbent.name} could not be measured to the end: {measured.why}")
    if not measured.qualified:
        return answer(
            DecisionKind.PROMOTE,
            f"{incumbent.name} no longer qualifies: {measured.cases_correct}/{measured.cases} correct",
        )
    return _by_gain(measured, champion, runner_up, policy)


# What may be otherwise tomorrow without anybody's decision: an outage must never promote.
_PASSING = (None, Exclusion.RUNTIME_UNAVAILABLE)


def _unmeasured(incumbent: Incumbent) -> tuple[DecisionKind, str]:
    if incumbent.exclusion in _PASSING:
        why = "its runtime did not answer" if incumbent.exclusion else "it was not part of this benchmark"
        return DecisionKind.INCONCLUSIVE, f"{incumbent.name} was not measured: {why}"
    return DecisionKind.PROMOTE, f"{incumbent.name} is not eligible any more ({incumbent.exclusion})"


def _by_gain(measured: ModelResult, champion: ModelResult, runner_up: ModelResult | None, policy: Policy) -> Decision:
    gain = 1 - (champion.avg_latency_ms or 0) / (measured.avg_latency_ms or 1)
    faster = f"{gain:.1%} faster than {measured.model} (n={champion.calls} calls each)"
    if gain < policy.min_gain:
        reason = f"{faster}, less than the margin of {policy.min_gain:.0%}"
        return Decision(DecisionKind.KEEP, reason, champion, runner_up, gain)
    return Decision(DecisionKind.PROMOTE, faster, champion, runner_up, gain)


def _without_champion(scoreboard: Scoreboard) -> Decision:
    open_ones = [r.model for r in scoreboard.results if r.standing is Standing.INCONCLUSIVE]
    if open_ones:
        names = ", ".join(open_ones)
        return Decision(DecisionKind.INCONCLUSIVE, f"no actor qualified, and {names} could not be measured to the end")
    if scoreboard.ranked:
        return Decision(DecisionKind.KEEP, "the models that qualified are no actors")
    return Decision(DecisionKind.KEEP, "no model was correct in all cases")
