"""After all stages: the workflow documents and the champion registry. They are rendered in reporting/."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import dagster as dg

from bench_pipeline.assets.metadata import CODE_VERSION, DOCUMENTS, OWNERS, cut, first_rows, text
from bench_pipeline.assets.production_tables import CONVERSATIONS, WORKFLOWS
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.domain.promoting.holders import Holder
from bench_pipeline.promotion.holders import conversation_holders
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline.reporting.workflow_docs import champion_registry

WORKFLOW_DOCS, CHAMPION_REGISTRY = dg.AssetKey("workflow_docs"), dg.AssetKey("champion_registry")
_HOLDER_COLUMNS = {"conversation": "string", "actor": "string", "champion": "bool", "before": "string",
                   "promotion": "string", "task": "string", "benchmark_id": "string"}  # fmt: skip


def document_assets(tasks: Sequence[str]) -> list[dg.AssetsDefinition]:
    """Return the documents, which follow the validation of every task."""
    after = [dg.AssetKey([task, "validation"]) for task in tasks]

    @dg.asset(
        key=WORKFLOW_DOCS,
        group_name=DOCUMENTS,
        owners=OWNERS,
        kinds={"markdown"},
        deps=[*after, WORKFLOWS],
        code_version=CODE_VERSION,
        description="One document per workflow: its steps, their actors, possible batches, and issues.",
    )
    def workflow_docs(workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            changed, _ = write_open_documents(bench)
            folder = bench.settings.production_dir
        return dg.MaterializeResult(
            metadata={
                "changed": len(changed),
                "files": text(changed),
                "folder": dg.MetadataValue.path(str(folder.resolve())),
            }
        )

    @dg.asset(
        key=CHAMPION_REGISTRY,
        group_name=DOCUMENTS,
        owners=OWNERS,
        kinds={"json"},
        deps=[*after, WORKFLOW_DOCS, CONVERSATIONS],
        code_version=CODE_VERSION,
        description=(
            "Who carries out each conversation now and who did before, its champion and runner-up, and the benchmark "
            "and the promotion that put it there."
        ),
    )
    def registry(workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            value = champion_registry(bench.database, bench.production)
            found = conversation_holders(bench)
            folder = bench.settings.production_dir
        return dg.MaterializeResult(metadata=_registry_metadata(value, found, str((folder / "champions.md").resolve())))

    return [workflow_docs, registry]


def _registry_metadata(value: dict[str, Any], found: Sequence[Holder], path: str) -> dict[str, Any]:
    return {
        "conversations": len(found),
        "have_their_champion": sum(one.has_champion for one in found),
        "differ_from_champion": sum(not one.has_champion for one in found),
        **first_rows("holders", [_holder(one) for one in found], _HOLDER_COLUMNS, path),
        "file": dg.MetadataValue.path(path),
        "registry": dg.MetadataValue.json(cut(value)),
    }


def _holder(one: Holder) -> dict[str, object]:
    since = f"{one.promotion_id} of {one.since.astimezone(UTC):%Y-%m-%d}" if one.since else "none"
    return {
        "conversation": f"{one.conversation_id} {one.conversation}",
        "actor": one.actor or "none",
        "champion": one.has_champion,
        "before": one.before or "none",
        "promotion": since,
        "task": one.task,
        "benchmark_id": one.benchmark_id or "none",
    }
