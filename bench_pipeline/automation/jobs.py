"""Jobs: measuring one task or all, promoting by what was measured, and reconciling. What starts them is elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from bench_pipeline.assets.workbench_resource import REQUESTER, WorkbenchResource
from bench_pipeline.promotion.reconciliation import reconcile

AssetJob = Any  # Dagster does not export the type that define_asset_job returns
# Longer than any benchmark; the daemon ends a run that hangs beyond it.
MAX_RUNTIME = {"dagster/max_runtime": str(24 * 3600)}
DOCUMENTS = dg.AssetSelection.assets("workflow_docs", "champion_registry")
FOR_ALL_TASKS = dg.AssetSelection.assets("eligible_models") | DOCUMENTS
PROMOTION_STAGES = ("promotion_plan", "production_update", "validation")


@dataclass(frozen=True, slots=True)
class Jobs:
    """The benchmark jobs: one for all tasks together, and one per task."""

    all_tasks: AssetJob
    of_tasks: tuple[AssetJob, ...]


def job_name(task: str) -> str:
    """Return the name of a task's job."""
    return f"benchmark_{task}"


def promotion_job_name(task: str) -> str:
    """Return the name of the job that promotes by a task's benchmarks."""
    return f"promote_{task}"


def promotion_jobs(tasks: Sequence[str]) -> tuple[AssetJob, ...]:
    """Return the jobs that decide from a benchmark, promote, validate and write the documents; they measure nothing."""
    return tuple(
        dg.define_asset_job(
            promotion_job_name(task),
            selection=DOCUMENTS | dg.AssetSelection.assets(*([task, stage] for stage in PROMOTION_STAGES)),
            description=f"Decide from a benchmark of {task}, promote if the decision says so and approval allows it, "
            "validate, and write the documents.",
            tags=MAX_RUNTIME,
        )
        for task in tasks
    )


def benchmark_jobs(tasks: Sequence[str], broken: Sequence[str]) -> Jobs:
    """Return the jobs. The job for all tasks includes the broken tasks, whose one asset fails with their faults."""
    everything = dg.AssetSelection.key_prefixes(*tasks, *broken) if (*tasks, *broken) else dg.AssetSelection.assets()
    return Jobs(
        all_tasks=dg.define_asset_job(
            "benchmark_all",
            selection=FOR_ALL_TASKS | everything,
            description="Measure all eligible models on every task, rank them, and promote where the decision says so.",
            tags=MAX_RUNTIME,
        ),
        of_tasks=tuple(
            dg.define_asset_job(
                job_name(task),
                selection=FOR_ALL_TASKS | dg.AssetSelection.key_prefixes(task),
                description=f"Measure all eligible models on {task}, rank them, and promote if the decision says so.",
                tags=MAX_RUNTIME,
            )
            for task in tasks
        ),
    )


@dg.op(description="Undoes promotions whose validation failed in an interrupted run, and writes the missing documents.")
def reconcile_production(context: dg.OpExecutionContext, workbench: WorkbenchResource) -> None:
    """Complete what an interrupted run left open."""
    with workbench.open() as bench:
        done = reconcile(bench, REQUESTER, context.run.run_id)
    context.add_output_metadata(
        {
            "undone": ", ".join(f"promotion {one.undone.promotion_id}" for one in done.undone) or "none",
            "intents": done.intents,
            "documents": "\n".join(str(path) for path in done.documents) or "none",
            "waiting_for_validation": ", ".join(str(one.promotion_id) for one in done.waiting) or "none",
        }
    )


@dg.job(
    name="reconcile", description="Complete what an interrupted run left open. Every delivery starts with this too."
)
def reconcile_job() -> None:
    """Reconcile production, its registry and its documents."""
    reconcile_production()
