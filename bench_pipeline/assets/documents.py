"""After all stages: the workflow documents and the champion registry. They are rendered in reporting/."""

from collections.abc import Sequence

import dagster as dg

from bench_pipeline.assets.metadata import CODE_VERSION, DOCUMENTS, OWNERS
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline.reporting.workflow_docs import champion_registry
from bench_pipeline.storage.champions import all_champions

WORKFLOW_DOCS, CHAMPION_REGISTRY = dg.AssetKey("workflow_docs"), dg.AssetKey("champion_registry")


def document_assets(tasks: Sequence[str]) -> list[dg.AssetsDefinition]:
    """Return the documents, which follow the validation of every task."""
    after = [dg.AssetKey([task, "validation"]) for task in tasks]

    @dg.asset(
        key=WORKFLOW_DOCS,
        group_name=DOCUMENTS,
        owners=OWNERS,
        kinds={"markdown"},
        deps=after,
        code_version=CODE_VERSION,
        description="One document per workflow: its steps, their actors, possible batches, and issues.",
    )
    def workflow_docs(workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            changed, _ = write_open_documents(bench)
        return dg.MaterializeResult(
            metadata={"changed": len(changed), "files": "\n".join(str(path) for path in changed) or "none"}
        )

    @dg.asset(
        key=CHAMPION_REGISTRY,
        group_name=DOCUMENTS,
        owners=OWNERS,
        kinds={"json"},
        deps=[*after, WORKFLOW_DOCS],
        code_version=CODE_VERSION,
        description="The champion and runner-up of each conversation, and the benchmark that chose them.",
    )
    def registry(workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            value = champion_registry(bench.database, bench.production)
        return dg.MaterializeResult(metadata={"registry": dg.MetadataValue.json(value)})

    return [workflow_docs, registry]


@dg.asset_check(
    asset=CHAMPION_REGISTRY,
    name="production_equals_registry",
    description="Every conversation still has the actor that a benchmark set or confirmed.",
)
def production_equals_registry(workbench: WorkbenchResource) -> dg.AssetCheckResult:
    """Compare conversations.actor_id with the registry; a difference is a later change by hand."""
    with workbench.open() as bench, bench.database.engine.connect() as connection:
        champions = {row.conversation_id: row.champion_actor_id for row in all_champions(connection)}
        held = {row.conversation_id: row.actor_id for row in bench.production.conversations(connection, champions)}
    different = [
        f"conversation {number} has actor {held.get(number)}, its champion is {champion}"
        for number, champion in champions.items()
        if held.get(number) != champion
    ]
    return dg.AssetCheckResult(
        passed=not different,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(different) or f"{len(champions)} conversations have their champion",
    )
