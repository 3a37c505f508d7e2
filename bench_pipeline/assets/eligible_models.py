"""Stage 2: who may take part, and why the others may not; every eligible model gets its partition."""

import dagster as dg

from bench_pipeline.assets.common import OWNERS, WorkbenchParam, register_partitions, table
from bench_pipeline.benchmark.eligibility import candidates


@dg.asset(
    group_name="models",
    owners=OWNERS,
    kinds={"sql"},
    deps=[dg.AssetKey("reconciliation")],
    description="Every actor with a line: eligible, or excluded with its reason. Adds a partition a model.",
)
def eligible_models(context: dg.AssetExecutionContext, workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
    """List the actors, ask their runtimes, and register the partitions."""
    with workbench.open() as bench:
        found = candidates(bench)
    new = register_partitions(context.instance, found)
    rows = [
        {
            "model": line.name,
            "eligible": line.eligible,
            "reason": line.exclusion.value if line.exclusion else "",
            "detail": line.detail,
            "size_gb": round(line.identity.size_bytes / 1e9, 2) if line.identity and line.identity.size_bytes else None,
        }
        for line in found
    ]
    columns = {"model": "string", "eligible": "bool", "reason": "string", "detail": "string", "size_gb": "float"}
    return dg.MaterializeResult(
        metadata={
            "eligible": sum(line.eligible for line in found),
            "actors": len(found),
            "new_partitions": len(new),
            "table": table(rows, columns),
        }
    )
