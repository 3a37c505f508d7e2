"""Jobs that benchmark, deliver and reconcile. What starts them is in schedules.py and sensors.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from bench_pipeline.assets.trigger_tags import BENCHMARK
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.promotion.reconciliation import reconcile

AssetJob = Any  # Dagster does not export the type that define_asset_job returns
# Longer than any benchmark; the daemon ends a run that hangs beyond it.
MAX_RUNTIME = {"dagster/max_runtime": str(24 * 3600)}
FOR_ALL_TASKS = dg.AssetSelection.assets("eligible_models", "workflow_docs", "champion_registry")
DELIVERY = ("promotion_plan", "production_update", "validation")
"""The stages of a task from the plan on."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The benchmark jobs: one for all tasks together, and one per task."""

    all_tasks: AssetJob
    of_tasks: tuple[AssetJob, ...]


def job_name(task: str) -> str:
    """Return the name of a task's job."""
    return f"benchmark_{task}"


def promotion_job_name(task: str) -> str:
    """Return the name of the job that delivers a benchmark of a task."""
    return f"promote_{task}"


def benchmark_jobs(tasks: Sequence[str], broken: Sequence[str], delivers: bool = True) -> Jobs:
    """Return the jobs. The job for all tasks includes the broken tasks, whose one asset fails with their faults.

    `delivers` says whether the code location also has the stages from the plan on.
    """
    everything = dg.AssetSelection.key_prefixes(*tasks, *broken) if (*tasks, *broken) else dg.AssetSelection.assets()
    then = "rank them, and promote where the decision says so" if delivers else "and rank them; promotes nothing"
    return Jobs(
        all_tasks=dg.define_asset_job(
            "benchmark_all",
            selection=(FOR_ALL_TASKS | everything).materializable(),
            description=f"Measure all eligible models on every task, {then}.",
            tags=MAX_RUNTIME,
        ),
        of_tasks=tuple(
            dg.define_asset_job(
                job_name(task),
                selection=(FOR_ALL_TASKS | dg.AssetSelection.key_prefixes(task)).materializable(),
                description=f"Measure all eligible models on {task}, {then}.",
                tags=MAX_RUNTIME,
            )
            for task in tasks
        ),
    )


def promotion_jobs(tasks: Sequence[str]) -> list[AssetJob]:
    """Return the jobs that deliver a benchmark: the one that the tag names, else the latest that Dagster ranked."""
    documents = dg.AssetSelection.assets("workflow_docs", "champion_registry")
    return [
        dg.define_asset_job(
            promotion_job_name(task),
            selection=documents | dg.AssetSelection.assets(*([task, stage] for stage in DELIVERY)),
            description=(
                f"Decide upon a benchmark of {task} and promote where the decision and the approval say so. The tag "
                f"{BENCHMARK} names the benchmark; without it, it is the latest that Dagster ranked."
            ),
            tags=MAX_RUNTIME,
        )
        for task in tasks
    ]


@dg.op(description="Undoes promotions whose validation failed in an interrupted run, and writes the missing documents.")
def reconcile_production(context: dg.OpExecutionContext, workbench: WorkbenchResource) -> None:
    """Complete what an interrupted run left open."""
    with workbench.open() as bench:
        done = reconcile(bench, workbench.requester(context.run), context.run.run_id)
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
