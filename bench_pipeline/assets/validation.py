"""Stage 8: validates what was promoted; a failure undoes the promotion. The work is in promotion/validation.py."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, numbers, text, words
from bench_pipeline.assets.production_tables import MODEL_SERVERS
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.operation.pools import ACCELERATOR_POOL
from bench_pipeline.promotion.delivery import DeliveryRequest, validate_waiting
from bench_pipeline.promotion.validation import ValidationResult
from bench_pipeline.storage import promotions


def validation_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/validation`."""

    @dg.asset(
        key=[task, "validation"],
        group_name=task,
        owners=OWNERS,
        kinds={"llm", "sql"},
        pool=ACCELERATOR_POOL,
        deps=[dg.AssetKey([task, "production_update"]), MODEL_SERVERS],
        code_version=CODE_VERSION,
        description=(
            f"Runs the test cases of {task} again on every promoted champion that is not yet validated. A failed "
            "validation undoes the promotion. Then writes the documents."
        ),
    )
    def validation(context: dg.AssetExecutionContext, workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        request = DeliveryRequest(workbench.requester(context.run), [task], dagster_run_id=context.run.run_id)
        with workbench.open() as bench:
            results, _ = validate_waiting(bench, [task], request, workbench.hear)
        if not results:
            return dg.MaterializeResult(metadata={"validated": "no promotion waits for validation"})
        return dg.MaterializeResult(metadata=_metadata(results))

    return validation


def _metadata(results: Sequence[ValidationResult]) -> dict[str, Any]:
    last = results[-1]
    measured = [one.result.avg_latency_ms for one in last.champions if one.result]
    return {
        "passed": all(one.passed for one in results),
        "validated": words(", ".join(f"promotion {one.promotion.promotion_id}" for one in results)),
        "reasons": words("; ".join(reason for one in results for reason in one.reasons)) or "none",
        "speed": text([f"{c.model}: {line}" for one in results for c in one.champions for line in c.speed]),
        "rolled_back": sum(len(one.rollback.restored) for one in results if one.rollback),
        **numbers(avg_latency_ms=measured[0] if measured else None),
    }


def validation_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that the last validation passed."""

    @dg.asset_check(
        asset=dg.AssetKey([task, "validation"]),
        name="validation_passed",
        description="The promoted champion was correct in all cases and not shown to be slower than the incumbent.",
    )
    def validation_passed(workbench: WorkbenchResource) -> dg.AssetCheckResult:
        with workbench.open() as bench, bench.database.engine.connect() as connection:
            last = promotions.last_validation_of_task(connection, task)
        if last is None:
            return dg.AssetCheckResult(passed=True, description="nothing was promoted yet")
        speed = [line for one in last.details["champions"] for line in one.get("speed", ())]
        outcome = "; ".join(last.details["reasons"]) or f"promotion {last.promotion_id} passed"
        return dg.AssetCheckResult(passed=last.passed, description=words("; ".join([outcome, *speed])))

    return validation_passed
