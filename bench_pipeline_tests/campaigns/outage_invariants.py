"""What must hold once a new model's story came to its end, whatever was killed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from bench_pipeline_tests.kit.rehearsal import Rehearsal
from bench_pipeline_tests.kit.tasks import SERVED

IN_PROGRESS = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")
_DAGSTER = """
query ($filter: RunsFilter!) {
  runsOrError(filter: $filter) { ... on Runs { results { id status jobName } } }
  instance { concurrencyLimits { concurrencyKey activeSlotCount pendingStepRunIds } }
}
"""
_MEASURED = """
SELECT r.evidence_key, m.benchmark_id, m.finished_at IS NOT NULL AND m.failure IS NULL AS whole
FROM benchmark_model_runs m JOIN benchmark_runs r USING (benchmark_id)
WHERE m.model_name = :model AND m.role = 'candidate' AND r.purpose = 'benchmark'
"""
_DECIDED = """
SELECT conversation_id, decision FROM benchmark_decisions WHERE benchmark_id = :benchmark ORDER BY decision_id
"""
_PROMOTED = """
SELECT p.promotion_id, p.kind, q.conversation_id,
  (SELECT bool_and(v.passed) FROM benchmark_validations v WHERE v.promotion_id = p.promotion_id) AS passed
FROM benchmark_promotions p JOIN benchmark_promotion_rows q USING (promotion_id)
WHERE q.new_actor_id = :actor OR q.old_actor_id = :actor
"""
_TRIGGERS = "SELECT cause, subject, state, note FROM benchmark_triggers WHERE state NOT IN ('done', 'withdrawn')"
_HELD = "SELECT actor_id FROM conversations WHERE conversation_id = :id"


@dataclass(frozen=True)
class Story:
    """How far the story of one model came, as production's database and Dagster tell it."""

    measured: tuple[tuple[str, str, bool], ...]
    """Evidence key, benchmark, and whether the run is whole, of each run of the model."""
    decided: dict[str, list[str]]
    """The decisions upon its benchmark, by conversation."""
    promoted: tuple[tuple[int, str, str, bool | None], ...]
    """Number, kind, conversation and result of the validation of each change that has to do with it."""
    held: tuple[str, ...]
    """Who carries out each served step."""
    waiting: tuple[str, ...]
    """The triggers that are not settled."""
    runs: tuple[str, ...]
    """Dagster's runs in progress."""
    slots: int
    """The slots of pools that are taken."""

    @property
    def stage(self) -> str:
        """How far it came, in words."""
        if self.promoted and all(passed for *_, passed in self.promoted):
            return "validated"
        if self.promoted:
            return "promoted"
        if self.decided:
            return "decided"
        if any(whole for *_, whole in self.measured):
            return "measured"
        return "being measured" if self.measured else "noticed" if self.waiting else "added"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is going to happen."""
        wanted = any("promote" in one for one in self.decided.values())
        delivered = not wanted or self.stage == "validated"
        return bool(self.decided) and delivered and not (self.waiting or self.runs or self.slots)


def look(rehearsal: Rehearsal, connection: Connection, model: str, actor: int) -> Story:
    """Read it all."""
    measured = tuple((str(k), str(b), bool(w)) for k, b, w in connection.execute(text(_MEASURED), {"model": model}))
    decided: dict[str, list[str]] = {}
    for benchmark in {benchmark for _, benchmark, _ in measured}:
        for conversation, decision in connection.execute(text(_DECIDED), {"benchmark": benchmark}):
            decided.setdefault(str(conversation), []).append(str(decision))
    changes = connection.execute(text(_PROMOTED), {"actor": str(actor)})
    state = rehearsal.graphql(_DAGSTER, filter={"statuses": list(IN_PROGRESS)})
    limits: list[dict[str, Any]] = state["instance"]["concurrencyLimits"]
    return Story(
        measured,
        decided,
        tuple((int(n), str(kind), str(c), passed) for n, kind, c, passed in changes),
        tuple(str(connection.scalar(text(_HELD), {"id": step})) for step in SERVED),
        tuple(f"{c} {s}: {st} ({n})" for c, s, st, n in connection.execute(text(_TRIGGERS))),
        tuple(f"{run['jobName']} {run['status']}" for run in state["runsOrError"]["results"]),
        sum(limit["activeSlotCount"] for limit in limits),
    )


def faults(story: Story, actor: int) -> Iterator[str]:
    """Whatever died: measured once per evidence, decided once, nothing left over."""
    whole = [key for key, _, is_whole in story.measured if is_whole]
    if len(whole) != 1:
        yield f"it was not measured exactly once: {story.measured}"
    if not story.decided:
        yield "nobody decided upon it"
    promoted = [conversation for _, kind, conversation, _ in story.promoted if kind == "promotion"]
    if len(promoted) != len(set(promoted)):
        yield f"it was promoted twice: {story.promoted}"
    if any(kind != "promotion" for _, kind, _, _ in story.promoted):
        yield f"its promotion was undone: {story.promoted}"
    wanted = [conversation for conversation, all_of_it in story.decided.items() if "promote" in all_of_it]
    if set(promoted) != set(wanted):
        yield f"promoted in {sorted(promoted)}, decided so in {sorted(wanted)}"
    if wanted and (story.stage != "validated" or set(story.held) != {str(actor)}):
        yield f"it was to be promoted, and it is {story.stage}; the steps have {story.held}"
    if story.waiting:
        yield f"triggers are not settled: {'; '.join(story.waiting)}"
    if story.runs:
        yield f"runs are in progress: {', '.join(story.runs)}"
    if story.slots:
        yield f"{story.slots} slots of pools are taken"
