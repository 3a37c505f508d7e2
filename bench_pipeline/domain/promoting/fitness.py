"""Whether a benchmark is fit to decide about production by default, and whether a newer one outdates a plan.

Says nothing about the decision itself. A benchmark that is not fit can still be named by a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_pipeline.domain.measuring.scoreboard import Standing
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.promoting.decision import DecisionKind, Incumbent, unmeasured_because
from bench_pipeline.domain.promoting.plan import PlanRow
from bench_pipeline.domain.tasks.readers.contracts import Contract

# A term that was measured more strictly than it would be now: all models were on the GPU.
_STRICTER = {("placement", "gpu", "auto")}


@dataclass(frozen=True, slots=True)
class MeasuredTerms:
    """What was measured, or would be now: hashes of suite and prompt, the protocol, and how verdicts are read.

    `verdict` is the contract of task.yaml; None if this version cannot read the stored one.
    """

    suite_hash: str
    prompt_hash: str
    protocol: Mapping[str, Any]
    verdict: Contract | None


def foreign_terms(measured: MeasuredTerms, present: MeasuredTerms) -> str:
    """Return by which term a benchmark differs from what the task would measure now; empty when by none."""
    if measured.suite_hash != present.suite_hash:
        return "its suite is not the task's own of now"
    if measured.prompt_hash != present.prompt_hash:
        return "its prompt is not the present one"
    if measured.verdict != present.verdict:
        return "its verdicts were not read as task.yaml says now"
    names = sorted({*measured.protocol, *present.protocol})
    differing = [
        f"{name} {measured.protocol.get(name)} instead of {present.protocol.get(name)}"
        for name in names
        if measured.protocol.get(name) != present.protocol.get(name)
        and (name, measured.protocol.get(name), present.protocol.get(name)) not in _STRICTER
    ]
    return f"its protocol is not the task's own: {', '.join(differing)}" if differing else ""


def unmeasured_incumbent(incumbents: Iterable[Incumbent]) -> str:
    """Return why a benchmark cannot speak about an incumbent of now; empty when it can about each.

    It can when the model was measured to the end, or was excluded for a lasting reason.
    """
    for incumbent in incumbents:
        if incumbent.actor_id is None or incumbent.actor_type is None or not incumbent.is_model:
            continue
        if incumbent.result is not None:
            if incumbent.result.standing is Standing.INCONCLUSIVE:
                return f"the incumbent {incumbent.name} could not be measured to the end: {incumbent.result.why}"
        elif incumbent.exclusion is None or not incumbent.exclusion.lasting:
            return f"the incumbent {incumbent.name} was not measured: {unmeasured_because(incumbent.exclusion)}"
    return ""


def outdated_row(planned: Sequence[PlanRow], newer: Sequence[PlanRow], known: Collection[ActorId]) -> PlanRow | None:
    """Return the first planned row about which a newer benchmark decides otherwise, or None.

    `known` are the actors that the newer benchmark looked at: about a planned change to another actor it says nothing.
    A planned change is confirmed by the same change only. A row that would stay is outdated only by a change.
    """
    by_conversation = {row.conversation_id: row for row in newer}
    for row in planned:
        now = by_conversation.get(row.conversation_id)
        if now is None or (row.changes and row.new_actor_id not in known):
            continue
        change = now.decision is DecisionKind.PROMOTE
        same = change and now.new_actor_id == row.new_actor_id
        if (row.changes and not same) or (not row.changes and change):
            return row
    return None
