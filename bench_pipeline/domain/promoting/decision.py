"""Whether a conversation gets a new actor: a function of the scoreboard, the incumbent and the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing, met_in_final
from bench_pipeline.domain.measuring.statistics import PairedComparison, interval_text
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.promoting import by_case
from bench_pipeline.domain.promoting.final import (
    MAX_FINAL_PASSES,
    decisive,
    gains_enough,
    passes_missing,
    promotable,
)
from bench_pipeline.domain.promoting.policy import PromotionPolicy


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
    `other_prompt` says where the measured prompt came from when the conversation has another of its own.
    `undone` says which promotion made this very change before and was undone. `was_right` names the benchmark in which
    a model that now gives only unreadable answers was last correct in all cases, under the same identity, suite,
    prompt, reader and decoding. All three are empty otherwise.
    `is_model` is also true for an actor that is gone.
    """

    actor_id: ActorId | None
    name: str | None = None
    actor_type: str | None = None
    result: ModelResult | None = None
    exclusion: Exclusion | None = None
    other_prompt: str = ""
    undone: str = ""
    was_right: str = ""
    is_model: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one conversation.

    `gain` is the share of the incumbent's mean latency that is saved, when both were measured. `comparison` is
    what decided between the two.
    """

    kind: DecisionKind
    reason: str
    challenger: ModelResult | None = None
    runner_up: ModelResult | None = None
    gain: float | None = None
    comparison: PairedComparison | None = None


def decide(scoreboard: Scoreboard, incumbent: Incumbent | None, policy: PromotionPolicy) -> Decision:
    """Return the decision; the first rule that matches wins. `incumbent` is None without such a conversation.

    1. There is no such conversation: invalid.
    2. Its own prompt is not the measured one: keep.
    3. The run is invalid: invalid.
    4. No actor qualified: inconclusive if one could not be measured to the end, else keep.
    5. The incumbent is the champion: keep.
    6. There is no incumbent: promote.
    7. The incumbent is not a model: keep.
    8. The incumbent was not measured: inconclusive if that may pass, else promote.
    9. Unreadable answers alone disqualify the incumbent, which was right before under the same terms: inconclusive.
    10. The incumbent is disqualified: promote.
    11. The incumbent was not measured to the end: inconclusive.
    12. Challenger and incumbent did not make two passes of a final: inconclusive.
    13. The challenger saves less than the margin in the mean: keep.
    14. The interval does not show that it is faster, or its mean over the final is not lower: keep.
    15. Otherwise: promote.

    Where a rule says promote and the very same change was undone before: keep.
    The champion is the fastest qualified actor; where the incumbent was in a final, the fastest of that final.
    Rules 12 to 14 are those of the policy's version.
    """
    if incumbent is None:
        return Decision(DecisionKind.INVALID, "there is no such conversation; correct conversations in task.yaml")
    if incumbent.other_prompt:
        why = f"its own prompt is not the one that was measured ({incumbent.other_prompt})"
        return Decision(DecisionKind.KEEP, why)
    found = _by_scoreboard(scoreboard, incumbent, policy)
    if found.kind is DecisionKind.PROMOTE and incumbent.undone:
        return replace(found, kind=DecisionKind.KEEP, reason=incumbent.undone)
    return found


def _by_scoreboard(scoreboard: Scoreboard, incumbent: Incumbent, policy: PromotionPolicy) -> Decision:
    if scoreboard.invalid:
        return Decision(DecisionKind.INVALID, scoreboard.invalid)
    actors = [result for result in scoreboard.ranked if result.actor_id is not None]
    if not actors:
        return _without_champion(scoreboard)
    champion = _champion(actors, incumbent.result)
    runner_up = next((actor for actor in actors if actor is not champion), None)

    def answer(kind: DecisionKind, reason: str) -> Decision:
        return Decision(kind, reason, champion, runner_up)

    if champion.actor_id == incumbent.actor_id:
        return answer(DecisionKind.KEEP, _already(champion, actors[0]))
    if incumbent.actor_id is None:
        return answer(DecisionKind.PROMOTE, "the conversation has no actor yet")
    if not incumbent.is_model:
        return answer(
            DecisionKind.KEEP, f"{incumbent.name} is not a model but of type {incumbent.actor_type}; a person decides"
        )
    measured = incumbent.result
    if measured is None:
        return answer(*_unmeasured(incumbent))
    if measured.standing is Standing.DISQUALIFIED:
        return answer(*_disqualified(incumbent, measured))
    if not measured.qualified:
        return answer(DecisionKind.INCONCLUSIVE, f"{incumbent.name} could not be measured to the end: {measured.why}")
    kind, reason, comparison = _compared(champion, measured, actors, policy)
    return replace(
        answer(kind, reason),
        gain=1 - (champion.avg_latency_ms or 0) / (measured.avg_latency_ms or 1),
        comparison=comparison,
    )


def _champion(actors: Sequence[ModelResult], incumbent: ModelResult | None) -> ModelResult:
    """A model that did not meet the incumbent in the final has no evidence of the same kind to replace it on."""
    if incumbent is None or not incumbent.qualified:
        return actors[0]
    return next((actor for actor in actors if met_in_final(actor, incumbent)), actors[0])


def _already(champion: ModelResult, first: ModelResult) -> str:
    if champion.model == first.model:
        return f"{champion.model} is the champion already"
    return f"{champion.model} was the fastest of the final; {first.model}, which leads by its mean, was not in it"


def _unmeasured(incumbent: Incumbent) -> tuple[DecisionKind, str]:
    if incumbent.exclusion is not None and incumbent.exclusion.lasting:
        return DecisionKind.PROMOTE, f"{incumbent.name} is no longer eligible ({incumbent.exclusion})"
    return DecisionKind.INCONCLUSIVE, f"{incumbent.name} was not measured: {unmeasured_because(incumbent.exclusion)}"


def _disqualified(incumbent: Incumbent, measured: ModelResult) -> tuple[DecisionKind, str]:
    correct = f"{measured.cases_correct}/{measured.cases} correct"
    if incumbent.was_right and measured.only_unreadable:
        return DecisionKind.INCONCLUSIVE, (
            f"{incumbent.name} gave unreadable answers ({correct}), although it was right in all cases of benchmark "
            f"{incumbent.was_right} under the same terms: check its runtime, then benchmark again"
        )
    return DecisionKind.PROMOTE, f"{incumbent.name} no longer qualifies: {correct}"


def unmeasured_because(exclusion: Exclusion | None) -> str:
    """Return in words why an incumbent has no result, for the reasons that may pass by themselves."""
    match exclusion:
        case None:
            return "it was not part of this benchmark"
        case Exclusion.RUNTIME_UNAVAILABLE:
            return "its runtime did not answer"
        case Exclusion.PROTOCOL:
            return "its runtime cannot keep the protocol"
        case _:
            return exclusion.replace("_", " ")


def _compared(
    champion: ModelResult, measured: ModelResult, actors: Sequence[ModelResult], policy: PromotionPolicy
) -> tuple[DecisionKind, str, PairedComparison | None]:
    """Return rules 12 to 15: the answer, its reason, and the comparison that it rests on."""
    if policy.version == by_case.VERSION:
        others = sum(actor.model != measured.model for actor in actors)
        comparison = by_case.compare(champion, measured, others, policy)
        replaced, reason = by_case.verdict(champion, measured, comparison, policy)
        kinds = {None: DecisionKind.INCONCLUSIVE, True: DecisionKind.PROMOTE, False: DecisionKind.KEEP}
        return kinds[replaced], reason, comparison
    comparison = decisive(champion, measured, policy)
    if comparison is None:
        return DecisionKind.INCONCLUSIVE, _unmet(champion, measured), None
    found = _in_words(champion, measured, comparison)
    if promotable(champion, measured, comparison, policy):
        return DecisionKind.PROMOTE, found, comparison
    if not gains_enough(comparison, policy):
        return DecisionKind.KEEP, f"{found}: less than the margin of {policy.min_gain:.0%}", comparison
    if comparison.high < 1:
        return DecisionKind.KEEP, f"{found}: its mean over all passes of the final is not lower", comparison
    why = f"{found}: the interval does not show that it is faster{_more_passes(comparison, policy)}"
    return DecisionKind.KEEP, why, comparison


def _unmet(champion: ModelResult, measured: ModelResult) -> str:
    names = f"{champion.model} and {measured.model}"
    if met_in_final(champion, measured):
        return f"{names} have fewer than two passes of the final with valid latencies for half of the cases"
    why = "did not meet in a final, and only a final decides between two"
    return f"{names} {why}; benchmark again with BENCH_FINAL_PASSES=20"


def _more_passes(comparison: PairedComparison, policy: PromotionPolicy) -> str:
    missing = passes_missing(comparison, policy)
    if missing is None:
        return ""
    total = comparison.n + missing
    remedy = f" (BENCH_FINAL_PASSES={total})" if total <= MAX_FINAL_PASSES else f", more than {MAX_FINAL_PASSES} in all"
    return f"; if it goes on like this, about {missing} more passes of each would{remedy}"


def _in_words(champion: ModelResult, measured: ModelResult, comparison: PairedComparison) -> str:
    saved = comparison.gain
    faster = f"{abs(saved):.1%} {'slower' if saved < 0 else 'faster'} than {measured.model} in the final"
    interval = interval_text(comparison, lambda ratio: 1 - ratio)
    means = f"mean {champion.avg_latency_ms or 0:,.0f} ms against {measured.avg_latency_ms or 0:,.0f} ms"
    return f"{faster} ({interval}; {means})"


def _without_champion(scoreboard: Scoreboard) -> Decision:
    open_ones = [r.model for r in scoreboard.results if r.standing is Standing.INCONCLUSIVE]
    if open_ones:
        names = ", ".join(open_ones)
        return Decision(DecisionKind.INCONCLUSIVE, f"no actor qualified, and {names} could not be measured to the end")
    if scoreboard.ranked:
        return Decision(DecisionKind.KEEP, "the models that qualified are no actors")
    return Decision(DecisionKind.KEEP, "no model was correct in all cases")
