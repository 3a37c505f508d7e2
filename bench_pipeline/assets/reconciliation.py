"""Before anything else: what an earlier run left open when it died is finished."""

import dagster as dg

from bench_pipeline.assets.common import OWNERS, REQUESTER, WorkbenchParam
from bench_pipeline.promotion.reconciliation import reconcile


@dg.asset(
    group_name="production",
    owners=OWNERS,
    kinds={"sql"},
    description=(
        "Finishes what a run that died left open: undoes a promotion whose validation failed, and writes the documents "
        "that a promotion still owes. Every job begins with it."
    ),
)
def reconciliation(context: dg.AssetExecutionContext, workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
    """Reconcile production, its registry and its documents."""
    with workbench.open() as bench:
        done = reconcile(bench, REQUESTER, context.run.run_id)
    return dg.MaterializeResult(
        metadata={
            "undone": ", ".join(f"promotion {one.undone.promotion_id}" for one in done.undone) or "none",
            "intents": done.intents,
            "documents": "\n".join(str(path) for path in done.documents) or "none",
            "waiting_for_validation": ", ".join(str(one.promotion_id) for one in done.waiting) or "none",
        }
    )
