"""Stage 5: from the scoreboard into production and back, with the documents that tell of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from bench_pipeline.assets.common import ACCELERATOR_POOL, OWNERS, REQUESTER, WorkbenchParam, numbers, table
from bench_pipeline.benchmark.preparation import read_task
from bench_pipeline.benchmark.ranking import latest_ranked
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.promoting.plan import PlanRow, plan_diff
from bench_pipeline.promotion.gates import awaited
from bench_pipeline.promotion.plan import DecidedPlan, impacts, make_plan, store_plan, stored_plan
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline.promotion.validation import ValidationResult, validate_promotion
from bench_pipeline.reporting.workflow_docs import champion_registry
from bench_pipeline.storage import promotions
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.plans import latest_plan
from bench_pipeline.storage.promotions import unvalidated


def production_assets(task: str) -> list[dg.AssetsDefinition]:
    """Return the assets of a task from its decision to its validation."""
    return [_decision(task), _promotion_plan(task), _production_update(task), _validation(task)]


def _plan(bench: Workbench, task: str) -> DecidedPlan:
    stated, ranked = read_task(bench.settings, task), latest_ranked(bench.database, task)
    return make_plan(bench, [ranked], [stated])


_DECISION_COLUMNS = {"conversation": "string", "decision": "string", "incumbent": "string", "champion": "string",
                     "runner_up": "string", "gain_percent": "float", "reason": "string"}  # fmt: skip


def _decision_records(rows: Sequence[PlanRow]) -> list[dict[str, str | float | None]]:
    return [
        {
            "conversation": f"{row.conversation_id} {row.conversation}",
            "decision": row.decision.value if row.decision else "none",
            "incumbent": row.old_actor or "none",
            "champion": row.new_actor or "none",
            "runner_up": row.runner_up or "none",
            "gain_percent": round(row.gain * 100, 1) if row.gain is not None else None,
            "reason": row.reason,
        }
        for row in rows
    ]


def _decision(task: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[task, "decision"],
        group_name=task,
        owners=OWNERS,
        kinds={"python"},
        deps=[dg.AssetKey([task, "scoreboard"])],
        description=f"For every conversation of {task}: promote, keep, inconclusive or invalid, with the reason.",
    )
    def decision(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            plan = _plan(bench, task).plan
        return dg.MaterializeResult(
            metadata={
                "benchmark_id": plan.evidence[0].benchmark_id,
                "evidence_hash": plan.evidence[0].evidence_hash,
                "promote": len(plan.changes),
                "table": table(_decision_records(plan.rows), _DECISION_COLUMNS),
            }
        )

    return decision


def _promotion_plan(task: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[task, "promotion_plan"],
        group_name=task,
        owners=OWNERS,
        kinds={"sql"},
        deps=[dg.AssetKey([task, "decision"])],
        description=f"The exact rows of conversations that {task} would change. Changes nothing.",
    )
    def promotion_plan(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            made = _plan(bench, task)
            store_plan(bench.database, made, REQUESTER)
            saved = impacts(bench, made, datetime.now(UTC))
        plan = made.plan
        rows = [
            {"conversation_id": row.conversation_id, "old_actor_id": row.old_actor_id, "new_actor_id": row.new_actor_id,
             "change": f"{row.old_actor or 'none'} -> {row.new_actor}",
             "impact": str(saved.get(row.conversation_id, "not known"))}
            for row in plan.changes
        ]  # fmt: skip
        columns = {"conversation_id": "int", "old_actor_id": "int", "new_actor_id": "int", "change": "string",
                   "impact": "string"}  # fmt: skip
        return dg.MaterializeResult(
            data_version=dg.DataVersion(plan.hash),
            metadata={
                "plan_hash": plan.hash,
                "rows": len(rows),
                "approval": plan.terms.approval.value,
                "diff": dg.MetadataValue.md(f"```diff\n{plan_diff(plan)}\n```"),
                "plan": dg.MetadataValue.json(plan.model_dump(mode="json")),
                "table": table(rows, columns),
            },
        )

    return promotion_plan


def _production_update(task: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[task, "production_update"],
        group_name=task,
        owners=OWNERS,
        kinds={"sql"},
        deps=[dg.AssetKey([task, "promotion_plan"])],
        description=(
            f"Applies the last plan of {task} in one transaction: each row only while it holds the planned old "
            "actor, all or none. Checks the plan's evidence, actors and approval itself, whatever ran before."
        ),
    )
    def production_update(context: dg.AssetExecutionContext, workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            plan = stored_plan(bench.database, task)
            promotion = apply_plan(bench, plan.hash, REQUESTER, context.run.run_id)
        if promotion is None:
            context.log.info("; ".join(f"{row.conversation}: {row.reason}" for row in plan.rows))
        return dg.MaterializeResult(
            metadata={
                "changed": len(plan.changes) if promotion else 0,
                "promotion_id": promotion.promotion_id if promotion else "none",
                "table": table(_decision_records(plan.rows), _DECISION_COLUMNS),
            }
        )

    return production_update


def approval_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that says what the last plan waits for."""

    @dg.asset_check(
        asset=dg.AssetKey([task, "promotion_plan"]),
        name="nothing_is_awaited",
        description="The plan needs no approval, or has it, and promotions are not frozen.",
    )
    def nothing_is_awaited(workbench: WorkbenchParam) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            with bench.database.engine.connect() as connection:
                stored = latest_plan(connection, task)
            waits = awaited(bench, stored) if stored else ""
        return dg.AssetCheckResult(
            passed=not waits,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"waits: {waits}" if waits else "it may be applied",
        )

    return nothing_is_awaited


def _validation(task: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[task, "validation"],
        group_name=task,
        owners=OWNERS,
        kinds={"ollama"},
        pool=ACCELERATOR_POOL,
        deps=[dg.AssetKey([task, "production_update"])],
        description=(
            f"The known cases of {task} once more, on every champion that was promoted and not validated yet; a "
            "failed validation undoes the promotion."
        ),
    )
    def validation(context: dg.AssetExecutionContext, workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            with bench.database.engine.connect() as connection:
                waiting = unvalidated(connection, task)
            results = [
                validate_promotion(bench, promotion, REQUESTER, workbench.tell, context.run.run_id)
                for promotion in waiting
            ]
        if not results:
            return dg.MaterializeResult(metadata={"validated": "no promotion waits for validation"})
        return dg.MaterializeResult(metadata=_validated(results))

    return validation


def _validated(results: Sequence[ValidationResult]) -> dict[str, Any]:
    last = results[-1]
    measured = [one.result.avg_latency_ms for one in last.champions if one.result]
    return {
        "validated": ", ".join(f"promotion {one.promotion.promotion_id}" for one in results),
        "passed": all(one.passed for one in results),
        "reasons": "; ".join(reason for one in results for reason in one.reasons) or "none",
        "rolled_back": sum(len(one.rollback.restored) for one in results if one.rollback),
        **numbers(avg_latency_ms=measured[0] if measured else None),
    }


def validation_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that the last validation passed."""

    @dg.asset_check(
        asset=dg.AssetKey([task, "validation"]),
        name="validation_passed",
        description="The promoted champion was correct in all cases and not slower than the incumbent.",
    )
    def validation_passed(workbench: WorkbenchParam) -> dg.AssetCheckResult:
        with workbench.open() as bench, bench.database.engine.connect() as connection:
            last = promotions.last_validation_of_task(connection, task)
        if last is None:
            return dg.AssetCheckResult(passed=True, description="nothing was promoted yet")
        return dg.AssetCheckResult(
            passed=last.passed,
            description="; ".join(last.details["reasons"]) or f"promotion {last.promotion_id} holds",
        )

    return validation_passed


def document_assets(tasks: Sequence[str]) -> list[dg.AssetsDefinition]:
    """Return the documents that are regenerated from the database after every task's validation."""
    after = [dg.AssetKey([task, "validation"]) for task in tasks]

    @dg.asset(
        group_name="production",
        owners=OWNERS,
        kinds={"markdown"},
        deps=after,
        description="A document a workflow: its steps, who carries them out, what could be batched, what is wrong.",
    )
    def workflow_docs(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            changed, _ = write_open_documents(bench)
        return dg.MaterializeResult(
            metadata={"changed": len(changed), "files": "\n".join(str(path) for path in changed) or "none"}
        )

    @dg.asset(
        key="champion_registry",
        group_name="production",
        owners=OWNERS,
        kinds={"json"},
        deps=[*after, workflow_docs],
        description="Which champion and runner-up each conversation has, and since which benchmark.",
    )
    def registry_asset(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            registry = champion_registry(bench.database, bench.production)
        return dg.MaterializeResult(metadata={"registry": dg.MetadataValue.json(registry)})

    return [workflow_docs, registry_asset]


@dg.asset_check(
    asset=dg.AssetKey("champion_registry"),
    name="production_equals_registry",
    description="Every conversation still holds the actor that a benchmark put or confirmed there.",
)
def production_equals_registry(workbench: WorkbenchParam) -> dg.AssetCheckResult:
    """Compare conversations.actor_id with the registry; a difference is somebody's later change."""
    with workbench.open() as bench, bench.database.engine.connect() as connection:
        champions = {row.conversation_id: row.champion_actor_id for row in all_champions(connection)}
        held = {row.conversation_id: row.actor_id for row in bench.production.conversations(connection, champions)}
    different = [
        f"conversation {number} holds actor {held.get(number)}, its champion is {champion}"
        for number, champion in champions.items()
        if held.get(number) != champion
    ]
    return dg.AssetCheckResult(
        passed=not different,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(different) or f"{len(champions)} conversations hold their champion",
    )
