"""Stage 5: from the scoreboard into production and back, with the documents that tell of it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from bench_pipeline.assets.common import ACCELERATOR_POOL, OWNERS, WorkbenchParam, WorkbenchResource, numbers, table
from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.ranking import latest_ranked
from bench_pipeline.domain.plan import PlanRow
from bench_pipeline.promotion.applying import apply_plan
from bench_pipeline.promotion.planning import DecidedPlan, impacts, make_plan, store_plan, stored_plan
from bench_pipeline.promotion.validating import ValidationResult, validate_promotion
from bench_pipeline.reporting.workflow_docs import champion_registry, write_documents
from bench_pipeline.storage import promotions
from bench_pipeline.workbench import Workbench


def production_assets(task: str) -> list[dg.AssetsDefinition]:
    """Return the assets of a task from its decision to its validation."""
    return [_decision(task), _promotion_plan(task), _production_update(task), _validation(task)]


def _plan(bench: Workbench, task: str) -> DecidedPlan:
    ranked = latest_ranked(bench.database, task)
    return make_plan(bench.database, bench.production, ranked, bench.settings.promotion_policy)


_DECISION_COLUMNS = {"conversation": "string", "decision": "string", "incumbent": "string", "champion": "string",
                     "runner_up": "string", "gain_percent": "float", "reason": "string"}  # fmt: skip


def _decision_records(rows: Sequence[PlanRow]) -> list[dict[str, str | float | None]]:
    return [
        {
            "conversation": f"{row.conversation_id} {row.conversation}",
            "decision": row.decision.value,
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
                "benchmark_id": plan.benchmark_id,
                "evidence_hash": plan.evidence_hash,
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
            store_plan(bench.database, made)
            saved = impacts(bench.database, bench.production, made, datetime.now(UTC))
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
            metadata={"plan_hash": plan.hash, "rows": len(rows), "table": table(rows, columns)},
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
            "actor, all or none. Checks the plan's evidence and actors itself, whatever ran before."
        ),
    )
    def production_update(context: dg.AssetExecutionContext, workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            plan = stored_plan(bench.database, task)
            promotion = apply_plan(bench.database, bench.production, plan, "dagster", context.run.run_id)
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


def _validation(task: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[task, "validation"],
        group_name=task,
        owners=OWNERS,
        kinds={"ollama"},
        pool=ACCELERATOR_POOL,
        deps=[dg.AssetKey([task, "production_update"])],
        description=(
            f"The known cases of {task} once more, on the champion that was promoted; a failed validation undoes "
            "the promotion."
        ),
    )
    def validation(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            result = _validate(workbench, bench, task)
        if result is None:
            return dg.MaterializeResult(metadata={"validated": "no promotion waits for validation"})
        return dg.MaterializeResult(
            metadata={
                "validated": f"promotion {result.promotion.promotion_id}",
                "passed": result.passed,
                "reasons": "; ".join(result.reasons) or "none",
                "rolled_back": len(result.rollback.restored) if result.rollback else 0,
                **numbers(avg_latency_ms=result.champion.avg_latency_ms if result.champion else None),
            }
        )

    return validation


def _validate(workbench: WorkbenchResource, bench: Workbench, task: str) -> ValidationResult | None:
    with bench.database.engine.connect() as connection:
        promotion = promotions.latest_promotion(connection, task)
    if promotion is None or promotion.status != promotions.APPLIED:
        return None
    return validate_promotion(
        bench.database,
        bench.production,
        prepare(bench.settings, task, bench.database, bench.production),
        promotion,
        candidates(bench.settings, bench.database, bench.production, bench.runtimes),
        bench.runtimes,
        bench.settings.max_model_bytes,
        workbench.tell,
    )


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
            changed = write_documents(
                bench.database, bench.production, bench.settings.production_dir, bench.settings.max_model_bytes
            )
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
        champions = {row.conversation_id: row.champion_actor_id for row in promotions.all_champions(connection)}
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
