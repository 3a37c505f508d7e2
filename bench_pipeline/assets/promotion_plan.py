"""Stage 6: the decision about every conversation, and the exact rows that would change. Applying is stage 7."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, SHOWN, TRIGGERS, cut, first_rows, words
from bench_pipeline.assets.production_tables import CONVERSATIONS, INTERACTIONS
from bench_pipeline.assets.trigger_tags import BENCHMARK, carried
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.ranking import read_ranked, read_scoreboard
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.estimates import counted
from bench_pipeline.domain.promoting.plan import PlanRow, PromotionPlan, plan_diff
from bench_pipeline.domain.text import listed
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
                "result": _result(plan),
                "promote": len(plan.changes),
                "approval": plan.terms.approval.value,
                "report": dg.MetadataValue.asset(dg.AssetKey([task, "report"])),
                "triggers": dg.MetadataValue.asset(TRIGGERS),
                "diff": dg.MetadataValue.md(_diff(plan)),
                **first_rows("decisions", decision_records(plan.rows), DECISION_COLUMNS, f"bench plan --task {task}"),
                **first_rows("changes", changes, _CHANGE_COLUMNS, f"bench plan --task {task}"),
                "benchmark_id": ranked.benchmark.benchmark_id,
                "evidence_hash": plan.evidence[0].evidence_hash,
                "plan_hash": plan.hash,
                "plan": dg.MetadataValue.json(cut(plan.model_dump(mode="json"))),
            },
        )

    return promotion_plan


def _result(plan: PromotionPlan) -> str:
    """Return how many conversations change, and what is decided about the others."""
    others = Counter(row.decision.value for row in plan.rows if row.decision is not None and not row.changes)
    counts = [f"{len(plan.changes)} to promote", *(f"{count} {kind}" for kind, count in sorted(others.items()))]
    approval = f"; approval {plan.terms.approval.value}" if plan.changes else ""
    return f"{counted(len(plan.rows), 'conversation')}: {', '.join(counts)}{approval}"


def _diff(plan: PromotionPlan) -> str:
    more = len(plan.changes) - SHOWN
    first = plan_diff(plan.model_copy(update={"rows": plan.changes[:SHOWN]}))
    return f"```diff\n{first}\n```" + (f"\n\nand {more:,} more" if more > 0 else "")


def valid_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that the plan rests on a valid benchmark; it stops the run before production is touched."""
    key = dg.AssetKey([task, "promotion_plan"])

    @dg.asset_check(
        asset=key,
        name="evidence_is_valid",
        blocking=True,
        description="The benchmark behind the plan is valid. Otherwise the run stops before production_update.",
    )
    def evidence_is_valid(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            benchmark, board = read_scoreboard(bench.database, handed_on(context, key, "benchmark_id"))
        if not board.invalid:
            return dg.AssetCheckResult(passed=True, description=f"{benchmark.benchmark_id} is valid")
        return dg.AssetCheckResult(
            passed=False,
            description=words(
                f"{benchmark.benchmark_id} is invalid: {board.invalid}. No decision may rest on it, so production is "
                f"not touched. Find what else ran on the machine, then benchmark again with `bench run --task {task}`."
            ),
        )

    return evidence_is_valid


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
            description=words(listed(list(lines.values()))) or f"every incumbent is readable (n={len(stored)})",
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
            description=words(f"waits: {waits}") if waits else "it can be applied",
        )

    return plan_is_unblocked
