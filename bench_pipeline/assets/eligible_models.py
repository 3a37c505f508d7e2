"""Stage 2: which models are eligible, and why the others are not. The rules are in benchmark/eligibility.py."""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from bench_pipeline.assets.metadata import CODE_VERSION, MODELS, OWNERS, TRIGGERS, first_rows, text
from bench_pipeline.assets.partitions import partitions_without_actor, register_partitions
from bench_pipeline.assets.production_tables import ACTORS, MODEL_SERVERS
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.text import listed

_COLUMNS = {"model": "string", "eligible": "bool", "reason": "string", "detail": "string", "size_gb": "float"}


@dg.asset(
    group_name=MODELS,
    owners=OWNERS,
    kinds={"sql", "llm"},
    deps=[ACTORS, MODEL_SERVERS],
    code_version=CODE_VERSION,
    description="Every actor, eligible or excluded with the reason. Adds one partition per eligible model.",
)
def eligible_models(context: dg.AssetExecutionContext, workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
    """List the actors, ask their runtimes, and register the partitions."""
    with workbench.open() as bench:
        found = workbench.candidates(bench, context.run.run_id)
    new = register_partitions(context.instance, found)
    gone = partitions_without_actor(context.instance, found)
    rows = [
        {
            "model": line.name,
            "eligible": line.eligible,
            "reason": line.exclusion.value if line.exclusion else "",
            "detail": line.detail,
            "size_gb": line.identity.size_bytes / 1e9 if line.identity and line.identity.size_bytes else None,
        }
        for line in sorted(found, key=lambda line: (not line.eligible, line.name))
    ]
    seen = [
        [line.name, line.exclusion, line.identity.model_dump(mode="json") if line.identity else None] for line in found
    ]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash(seen)),
        metadata={
            "eligible": sum(line.eligible for line in found),
            "actors": len(found),
            "excluded": text(_counted(found)),
            "new_partitions": len(new),
            "new_models": text(new),
            "partitions_without_actor": text(gone),
            "triggers": dg.MetadataValue.asset(TRIGGERS),
            **first_rows("table", rows, _COLUMNS, "bench models"),
        },
    )


def _counted(found: Sequence[Candidate]) -> list[str]:
    """Return how many actors each rule excluded, the most frequent first."""
    counts = Counter(line.exclusion for line in found if line.exclusion is not None)
    return [f"{count} {rule}" for rule, count in counts.most_common()]


@dg.asset_check(
    asset=dg.AssetKey("eligible_models"),
    name="models_are_eligible",
    blocking=True,
    description="At least one model can be measured; otherwise the run stops here.",
)
def models_are_eligible(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> dg.AssetCheckResult:
    """Stop a run that could measure nothing, with the rules that excluded the actors."""
    with workbench.open() as bench:
        found = workbench.candidates(bench, context.run.run_id)
    eligible = sum(line.eligible for line in found)
    why = listed(_counted(found)) or "the table of actors is empty"
    return dg.AssetCheckResult(
        passed=eligible > 0,
        description=f"{eligible} of {len(found)} actors are eligible"
        if eligible
        else f"None of {len(found)} actors is eligible ({why}). Nothing can be measured. See `bench models` and "
        "`bench doctor`, then start the run again.",
        metadata={"eligible": eligible, "actors": len(found)},
    )
