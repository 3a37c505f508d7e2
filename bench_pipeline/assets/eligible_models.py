"""Stage 2: which models are eligible, and why the others are not. The rules are in benchmark/eligibility.py."""

import dagster as dg

from bench_pipeline.assets.metadata import CODE_VERSION, MODELS, OWNERS, table
from bench_pipeline.assets.partitions import register_partitions
from bench_pipeline.assets.production_tables import ACTORS
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.domain.hashing import content_hash

_COLUMNS = {"model": "string", "eligible": "bool", "reason": "string", "detail": "string", "size_gb": "float"}


@dg.asset(
    group_name=MODELS,
    owners=OWNERS,
    kinds={"sql"},
    deps=[ACTORS],
    code_version=CODE_VERSION,
    description="Every actor, eligible or excluded with the reason. Adds one partition per eligible model.",
)
def eligible_models(context: dg.AssetExecutionContext, workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
    """List the actors, ask their runtimes, and register the partitions."""
    with workbench.open() as bench:
        found = workbench.candidates(bench, context.run.run_id)
    new = register_partitions(context.instance, found)
    rows = [
        {
            "model": line.name,
            "eligible": line.eligible,
            "reason": line.exclusion.value if line.exclusion else "",
            "detail": line.detail,
            "size_gb": line.identity.size_bytes / 1e9 if line.identity and line.identity.size_bytes else None,
        }
        for line in found
    ]
    seen = [
        [line.name, line.exclusion, line.identity.model_dump(mode="json") if line.identity else None] for line in found
    ]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash(seen)),
        metadata={
            "eligible": sum(line.eligible for line in found),
            "actors": len(found),
            "new_partitions": len(new),
            "table": table(rows, _COLUMNS),
        },
    )
