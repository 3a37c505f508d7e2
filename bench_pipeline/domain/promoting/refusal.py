"""Why a plan is not applied: one table of reasons for both databases.

The rules are in `rules.py`, and for PostgreSQL in `storage/writers/apply.sql`. Both name a reason of this table and
its facts; the sentence is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench_pipeline.domain.errors import GateFailed

AGAIN = "nothing was changed, make a new plan"
SENTENCES: Mapping[str, str] = {
    # The plan
    "plan_unknown": "there is no stored plan {plan_hash}; `bench plan` shows a plan, `bench promote` stores it",
    "plan_altered": "the stored plan {plan_hash} was altered: its hash differs; " + AGAIN,
    "plan_undone": "this plan was already applied and undone ({reason}); run a new benchmark first",
    "plan_expired": "the plan was made at {made_at}, more than {plan_hours:g} hours ago; " + AGAIN,
    "changed_since": "this plan was already applied as promotion {promotion_id}, but conversation {conversation_id} "
    "now holds actor {holds}, not {planned}; run a new benchmark to plan from what production holds now",
    "plan_outdated": "the plan rests on benchmark {planned_id}, but the newer benchmark {newer_id} decides otherwise "
    "for conversation {conversation_id} ({conversation}) of task {task}; " + AGAIN,
    # Who may
    "frozen": "promotions are frozen by {set_by} since {set_at}: {reason}; `bench thaw` ends that",
    "approval_missing": "the plan waits for approval; run `bench approve {short}`, then apply it again",
    "approval_expired": "the approval by {approved_by} of {approved_at} is older than {approval_hours:g} hours; "
    "run `bench approve {short}` again",
    "approval_own": "{approved_by} requested this plan and cannot approve it; another person has to run "
    "`bench approve {short}`",
    "barred": "{actor} is barred from conversation {conversation_id}: {why}; its evidence has to change first, "
    "or `bench rollback {promotion_id}` lifts the bar",
    # How much
    "too_many_rows": "the plan changes {rows} conversations, the limit is {max_rows}; raise max_rows in task.yaml or "
    "BENCH_MAX_ROWS, or promote fewer tasks at once",
    "not_listed": "task {task} does not serve conversation {conversation_id} ({conversation}); " + AGAIN,
    # The evidence
    "evidence_gone": "benchmark {benchmark_id}, which the plan rests on, is gone; " + AGAIN,
    "no_evidence": "the plan names no benchmark for task {task}; " + AGAIN,
    "evidence_changed": "benchmark {benchmark_id} was ranked again after the plan was made; " + AGAIN,
    "evidence_invalid": "benchmark {benchmark_id} is invalid: {reason}; run a new benchmark",
    "evidence_old": "{model} was measured at {measured_at}, more than {evidence_days:g} days ago; benchmark it again",
    "not_qualified": "{model} is not qualified in benchmark {benchmark_id}: {why}; " + AGAIN,
    # The actors
    "actor_gone": "actor {actor_id} ({actor}) is gone; " + AGAIN,
    "actor_disabled": "actor {actor} is disabled; " + AGAIN,
    "actor_type": "actor {actor} is no longer a model; " + AGAIN,
    "actor_moved": "the execution path of actor {actor} is {path!r} now; benchmark it again",
    "identity_unknown": "cannot tell whether {actor} is still the measured model: {why}; "
    "nothing was changed, try again when its runtime answers",
    "identity_changed": "{actor} is no longer the measured model: {why}; benchmark it again",
    # The rows
    "conversation_changed": "conversation {conversation_id} ({conversation}) does not hold actor {planned} "
    "({planned_name}) as the plan says, but {holds}; " + AGAIN,
    "conversation_ambiguous": "production has {rows} rows for conversation {conversation_id} ({conversation}); "
    "nothing was changed, make its id unique",
    "not_as_written": "after the change conversation {conversation_id} holds actor {holds}, not {planned}; "
    "nothing was changed, look for a trigger on that table",
    "prompt_changed": "conversation {conversation_id} ({conversation}) now has its own prompt, which was not "
    "measured; " + AGAIN,
    "schema_changed": "the schema of production's tables changed after the plan was made; " + AGAIN,
    # Undoing
    "undone_already": "promotion {promotion_id} is already undone: {reason}",
    "not_an_undoing": "the plan does not exactly undo promotion {promotion_id}; " + AGAIN,
    # The database
    "busy": "another transaction has held a row that the plan needs for more than {seconds} s; "
    "nothing was changed, try again",
}
APPROVAL_REASONS = ("approval_missing", "approval_expired", "approval_own")


class PlanRefused(GateFailed):
    """A plan was not applied and nothing was changed; `reason` is a key of `SENTENCES`, `facts` fill it."""

    def __init__(self, reason: str, facts: Mapping[str, Any]) -> None:
        self.reason = reason
        self.facts = dict(facts)
        super().__init__(SENTENCES[reason].format(**facts))


class OutcomeUnknown(GateFailed):
    """The connection was lost at the commit and the database does not answer: the change is made, or it is not."""
