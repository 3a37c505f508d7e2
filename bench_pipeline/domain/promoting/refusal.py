"""Why a plan is not applied: one table of reasons, whichever database found it.

The check itself is done where the rows are locked: `storage/writers/sqlite.py`, or the function of
`storage/writers/apply.sql`. Both name a reason of this table and its facts; the sentence is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench_pipeline.domain.errors import GateFailed

AGAIN = "nothing was changed, make a new plan"
SENTENCES: Mapping[str, str] = {
    # The plan
    "plan_unknown": "there is no stored plan {plan_hash}; `bench plan` shows the one of now, `bench promote` stores it",
    "plan_altered": "the stored plan {plan_hash} is not what its hash was made of; " + AGAIN,
    "plan_undone": "this plan was applied and undone ({reason}); run a new benchmark first",
    "plan_expired": "the plan was made at {made_at}, more than {plan_hours:g} hours ago; " + AGAIN,
    "changed_since": "this plan is promotion {promotion_id} already, and since then conversation {conversation_id} "
    "holds actor {holds}, not {planned}; run a new benchmark to plan from what production holds now",
    "plan_outdated": "the plan rests on benchmark {planned_id}, but the newer benchmark {newer_id} decides otherwise "
    "for conversation {conversation_id} ({conversation}) of task {task}; " + AGAIN,
    # Who may
    "frozen": "promotions are frozen by {set_by} since {set_at}: {reason}; `bench thaw` ends that",
    "approval_missing": "the plan waits for approval; `bench approve {short}`, then apply it again",
    "approval_expired": "the approval by {approved_by} of {approved_at} is older than {approval_hours:g} hours; "
    "`bench approve {short}` anew",
    "approval_own": "{approved_by} asked for this plan and cannot approve it; another person has to: "
    "`bench approve {short}`",
    "barred": "{actor} is barred from conversation {conversation_id}: {why}; something in its evidence has to change, "
    "or `bench rollback {promotion_id}` takes that back",
    # How much
    "too_many_rows": "the plan changes {rows} conversations, the limit is {max_rows}; raise max_rows in task.yaml or "
    "BENCH_MAX_ROWS, or promote fewer tasks at once",
    "not_listed": "conversation {conversation_id} ({conversation}) is not one that task {task} serves; " + AGAIN,
    # The evidence
    "evidence_gone": "benchmark {benchmark_id}, which the plan rests on, is gone; " + AGAIN,
    "no_evidence": "the plan names no benchmark for task {task}; " + AGAIN,
    "evidence_changed": "benchmark {benchmark_id} was ranked anew since the plan was made; " + AGAIN,
    "evidence_invalid": "benchmark {benchmark_id} is invalid: {reason}; measure again",
    "evidence_old": "{model} was measured at {measured_at}, more than {evidence_days:g} days ago; benchmark it again",
    "not_qualified": "{model} is not qualified in benchmark {benchmark_id}: {why}; " + AGAIN,
    # The actors
    "actor_gone": "actor {actor_id} ({actor}) is gone; " + AGAIN,
    "actor_disabled": "actor {actor} is not enabled now; " + AGAIN,
    "actor_type": "actor {actor} is no ai_model now; " + AGAIN,
    "actor_moved": "actor {actor} is called by {path!r} now; benchmark it again",
    "identity_unknown": "whether {actor} is still the model that was measured cannot be told: {why}; "
    "nothing was changed, try again when its runtime answers",
    "identity_changed": "{actor} is not the model any more that was measured: {why}; benchmark it again",
    # The rows
    "conversation_changed": "conversation {conversation_id} ({conversation}) no longer holds actor {planned} "
    "({planned_name}), as the plan says, but {holds}; " + AGAIN,
    "not_as_written": "after the change conversation {conversation_id} holds actor {holds}, not {planned}; "
    "nothing was changed, look for a trigger on that table",
    "prompt_changed": "conversation {conversation_id} ({conversation}) has a prompt of its own now, which was not "
    "measured; " + AGAIN,
    "schema_changed": "production's tables are not what they were when the plan was made; " + AGAIN,
    # Undoing
    "undone_already": "promotion {promotion_id} was undone already: {reason}",
    "not_an_undoing": "the plan is not the exact undoing of promotion {promotion_id}; " + AGAIN,
    # The database
    "busy": "another transaction holds a row that the plan needs for longer than {seconds} s; "
    "nothing was changed, try again",
}


class PlanRefused(GateFailed):
    """A plan was not applied and nothing was changed; `reason` is a key of `SENTENCES`, `facts` fill it."""

    def __init__(self, reason: str, facts: Mapping[str, Any]) -> None:
        self.reason = reason
        self.facts = dict(facts)
        super().__init__(SENTENCES[reason].format(**facts))


class OutcomeUnknown(GateFailed):
    """The connection was lost at the commit and the database does not answer: the change is made, or it is not."""
