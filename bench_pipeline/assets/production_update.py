"""Stage 7: applies the plan to production and writes the documents, through promotion/delivery.py."""

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, table
from bench_pipeline.assets.promotion_plan import DECISION_COLUMNS, decision_records
from bench_pipeline.assets.trigger_tags import carried
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.promotion.delivery import DeliveryRequest, put_into_production, stored_plan


def production_update_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/production_update`."""
    promotion_plan = dg.AssetKey([task, "promotion_plan"])

    @dg.asset(
        key=[task, "production_update"],
        group_name=task,
        owners=OWNERS,
        kinds={"sql"},
        deps=[promotion_plan],
        code_version=CODE_VERSION,
        description=(
            f"Applies the plan of {task} in one transaction: all rows or none, each only if it still has the planned "
            "old actor. Checks evidence, actors and approval itself, whatever ran before. Then writes the documents."
        ),
    )
    def production_update(
        context: dg.AssetExecutionContext, workbench: WorkbenchResource
    ) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            carried(context, bench)
            plan_hash = handed_on(context, promotion_plan, "plan_hash")
            plan = stored_plan(bench, plan_hash).plan
            request = DeliveryRequest(
                workbench.requester(context.run), plan_hash=plan_hash, dagster_run_id=context.run.run_id
            )
            promotion, documents = put_into_production(bench, plan_hash, request, workbench.hear)
        if promotion is None:
            context.log.info("; ".join(f"{row.conversation}: {row.reason}" for row in plan.rows))
        return dg.MaterializeResult(
            metadata={
                "plan_hash": plan_hash,
                "changed": len(plan.changes) if promotion else 0,
                "promotion_id": promotion.promotion_id if promotion else "none",
                "documents": "\n".join(str(path) for path in documents) or "none",
                "table": table(decision_records(plan.rows), DECISION_COLUMNS),
            }
        )

    return production_update
