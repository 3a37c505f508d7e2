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
    "plan_malformed": "plan {short} is incomplete or of an unknown kind: {what}; " + AGAIN,
    "in_future": "{what} is dated {at}, which is in the future; nothing was changed, correct the clock",
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
    "not_marked": "conversation {conversation_id} ({conversation}) is not under promotion.auto of task {task}, so its "
    "change needs an approval; " + AGAIN,
    "barred": "{actor} is barred from conversation {conversation_id}: {why}; its evidence has to change first, "
    "or `bench rollback {promotion_id}` lifts the bar",
    # How much
    "too_many_rows": "the plan changes {rows} conversations, the limit is {max_rows}; raise max_rows in task.yaml or "
    "BENCH_MAX_ROWS, or promote fewer tasks at once",
    "not_listed": "task {task} does not serve conversation {conversation_id} ({conversation}); " + AGAIN,
    # The evidence
    "task_changed": "the {what} of task {task} is not the one that benchmark {benchmark_id} measured; "
    "nothing was changed, run `bench run --task {task}`",
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
    "prompt_changed": "the prompt that production keeps for conversation {conversation_id} ({conversation}) changed "
    "after the plan was made; " + AGAIN,
    "update_ignored": "the UPDATE of conversation {conversation_id} ({conversation}) changed no row, though it holds "
    "actor {holds} as planned; nothing was changed, look at {suspects}",
    "trigger_failed": "a trigger on the table of conversations failed ({triggers}): {error}; nothing was changed",
    "constraint": "the database does not accept the change: {error}; nothing was changed",
    "schema_changed": "the schema of production's tables changed after the plan was made; " + AGAIN,
    # Undoing
    "undone_already": "promotion {promotion_id} is already undone: {reason}",
    "not_a_failover": "the plan does not switch conversation {conversation_id} ({conversation}) from its registered "
    "champion to its registered runner-up; nothing was changed, run `bench failover` again",
    "not_an_undoing": "the plan does not exactly undo promotion {promotion_id}; " + AGAIN,
    # The database
    "busy": "another transaction has held a row that the plan needs for more than {seconds} s{blockers}; "
    "nothing was changed, try again",
}
APPROVAL_REASONS = ("approval_missing", "approval_expired", "approval_own")


class PlanRefused(GateFailed):
    """A plan was not applied and nothing was changed.

    `reason` is a key of `SENTENCES`, `facts` fill it, `note` follows it.
    """

    def __init__(self, reason: str, facts: Mapping[str, Any], note: str = "") -> None:
        self.reason = reason
        self.facts = dict(facts)
        sentence = SENTENCES[reason].format(**facts)
        super().__init__(f"{sentence} ({note})" if note else sentence)


class OutcomeUnknown(GateFailed):
    """The connection was lost at the commit and the database does not answer: the change is made, or it is not."""
