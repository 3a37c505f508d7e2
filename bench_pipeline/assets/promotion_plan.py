"""Stage 6: the decision about every conversation, and the exact rows that would change. Applying is stage 7."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, table
from bench_pipeline.assets.production_tables import CONVERSATIONS, INTERACTIONS
from bench_pipeline.assets.trigger_tags import BENCHMARK, carried
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.ranking import read_ranked
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.plan import PlanRow, plan_diff
from bench_pipeline.promotion.delivery import propose, stored_plan
from bench_pipeline.promotion.gates import awaited
from bench_pipeline.promotion.plan import impacts
from bench_pipeline.storage.decisions import decisions_of_plan

DECISION_COLUMNS = {"conversation": "string", "decision": "string", "incumbent": "string", "champion": "string",
                    "runner_up": "string", "gain_percent": "float", "reason": "string"}  # fmt: skip
_CHANGE_COLUMNS = {"conversation_id": "string", "old_actor_id": "string", "new_actor_id": "string", "change": "string",
                   "impact": "string"}  # fmt: skip
NO_IMPACT = "not known"
"""What the table of changes says where production keeps no calls or nothing was compared."""


def decision_records(rows: Sequence[PlanRow]) -> list[dict[str, str | float | None]]:
    """Return the rows of a plan as the table of decisions shows them."""
    return [
        {
            "conversation": f"{row.conversation_id} {row.conversation}",
            "decision": row.decision.value if row.decision else "none",
            "incumbent": row.old_actor or "none",
            "champion": row.new_actor or "none",
            "runner_up": row.runner_up or "none",
            "gain_percent": row.gain * 100 if row.gain is not None else None,
            "reason": row.reason,
        }
        for row in rows
    ]


def promotion_plan_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/promotion_plan`."""
    scoreboard = dg.AssetKey([task, "scoreboard"])

    @dg.asset(
        key=[task, "promotion_plan"],
        group_name=task,
        owners=OWNERS,
        kinds={"sql"},
        deps=[scoreboard, CONVERSATIONS, INTERACTIONS],
        code_version=CODE_VERSION,
        description=(
            f"For every conversation of {task}: promote, keep, inconclusive or invalid, with the reason, and the exact "
            "rows that would change. Changes no conversation, except that it first undoes a promotion whose "
            "validation failed in an interrupted run."
        ),
    )
    def promotion_plan(context: dg.AssetExecutionContext, workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            carried(context, bench)
            ranked = read_ranked(bench.database, handed_on(context, scoreboard, "benchmark_id"))
            if ranked.benchmark.task_type != task:
                raise InputError(
                    f"benchmark {ranked.benchmark.benchmark_id} is one of {ranked.benchmark.task_type}, not of {task}; "
                    f"correct the tag {BENCHMARK} of the run"
                )
            made = propose(bench, [ranked], workbench.requester(context.run), context.run.run_id)
            saved = impacts(bench, made, datetime.now(UTC))
        plan = made.plan
        changes = [
            {
                "conversation_id": str(row.conversation_id),
                "old_actor_id": str(row.old_actor_id),
                "new_actor_id": str(row.new_actor_id),
                "change": f"{row.old_actor or 'none'} -> {row.new_actor}",
                "impact": str(saved.get(row.conversation_id, NO_IMPACT)),
            }
            for row in plan.changes
        ]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(plan.hash),
            metadata={
                "benchmark_id": ranked.benchmark.benchmark_id,
                "evidence_hash": plan.evidence[0].evidence_hash,
                "plan_hash": plan.hash,
                "promote": len(plan.changes),
                "approval": plan.terms.approval.value,
                "decisions": table(decision_records(plan.rows), DECISION_COLUMNS),
                "changes": table(changes, _CHANGE_COLUMNS),
                "diff": dg.MetadataValue.md(f"```diff\n{plan_diff(plan)}\n```"),
                "plan": dg.MetadataValue.json(plan.model_dump(mode="json")),
            },
        )

    return promotion_plan


def readable_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that no incumbent that was right before gives only unreadable answers now."""
    key = dg.AssetKey([task, "promotion_plan"])

    @dg.asset_check(
        asset=key,
        name="incumbents_are_readable",
        description="No incumbent that was right before gives only unreadable answers now, under the same terms.",
    )
    def incumbents_are_readable(
        context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource
    ) -> dg.AssetCheckResult:
        with workbench.open() as bench, bench.database.engine.connect() as connection:
            stored = decisions_of_plan(connection, handed_on(context, key, "plan_hash"))
        lines = {
            one.conversation_id: f"conversation {one.conversation_id}, right in {one.was_right}: {one.reason}"
            for one in stored
            if one.was_right
        }
        return dg.AssetCheckResult(
            passed=not lines,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(lines.values()) or "every incumbent is readable",
        )

    return incumbents_are_readable


def unblocked_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that nothing blocks the plan."""
    key = dg.AssetKey([task, "promotion_plan"])

    @dg.asset_check(
        asset=key,
        name="plan_is_unblocked",
        description="The plan needs no approval, or has it; promotions are not frozen; no rule refuses it.",
    )
    def plan_is_unblocked(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            plan_hash = handed_on(context, key, "plan_hash")
            waits = awaited(bench, stored_plan(bench, plan_hash))
        return dg.AssetCheckResult(
            passed=not waits,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"waits: {waits}" if waits else "it can be applied",
        )

    return plan_is_unblocked
