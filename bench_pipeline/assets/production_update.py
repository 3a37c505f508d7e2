"""Stage 7: applies the plan to production and writes the documents, through promotion/delivery.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, first_rows, text
from bench_pipeline.assets.trigger_tags import carried
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.estimates import counted
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.promoting.changes import PromotionRow
from bench_pipeline.domain.promoting.plan import PlanRow
from bench_pipeline.promotion.delivery import (
    DeliveryEvent,
    DeliveryRequest,
    PlanApplied,
    put_into_production,
    stored_plan,
)
from bench_pipeline.storage.production import Conversation

_COLUMNS = {"conversation": "string", "actor_now": "string", "actor_before": "string", "changed": "bool",
            "runner_up": "string", "decision": "string", "reason": "string"}  # fmt: skip


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
            "old actor. Checks evidence, actors and approval itself, whatever ran before. Then writes the documents. "
            "Its data version is who carries out the conversations."
        ),
    )
    def production_update(
        context: dg.AssetExecutionContext, workbench: WorkbenchResource
    ) -> dg.MaterializeResult[None]:
        applied = _Applied(workbench)
        with workbench.open() as bench:
            carried(context, bench)
            plan_hash = handed_on(context, promotion_plan, "plan_hash")
            plan = stored_plan(bench, plan_hash).plan
            request = DeliveryRequest(
                workbench.requester(context.run), plan_hash=plan_hash, dagster_run_id=context.run.run_id
            )
            promotion, documents = put_into_production(bench, plan_hash, request, applied)
            now = _held(bench, [row.conversation_id for row in plan.rows])
        if promotion is None:
            context.log.info(text([f"{row.conversation}: {row.reason}" for row in plan.rows]))
        changed = {row.conversation_id for row in applied.rows}
        return dg.MaterializeResult(
            data_version=dg.DataVersion(content_hash(sorted((str(n), str(one.actor_id)) for n, one in now.items()))),
            metadata={
                "result": _result(plan.rows, len(changed), applied.already),
                "changed": len(changed),
                "promotion_id": promotion.promotion_id if promotion else "none",
                "report": dg.MetadataValue.asset(dg.AssetKey([task, "report"])),
                "validation": dg.MetadataValue.asset(dg.AssetKey([task, "validation"])),
                "documents": text(documents),
                **first_rows("table", [_record(row, now, changed) for row in plan.rows], _COLUMNS, "bench blame"),
                "plan_hash": plan_hash,
            },
        )

    return production_update


class _Applied:
    """Hears the events of a delivery, and remembers which rows this run changed."""

    def __init__(self, workbench: WorkbenchResource) -> None:
        self.rows: tuple[PromotionRow, ...] = ()
        self.already = False
        self._workbench = workbench

    def __call__(self, event: DeliveryEvent) -> None:
        if isinstance(event, PlanApplied):
            self.already = event.already
            self.rows = () if event.already else event.promotion.changed
        self._workbench.hear(event)


def _held(bench: Workbench, numbers: Sequence[ConversationId]) -> dict[ConversationId, Conversation]:
    with bench.database.engine.connect() as connection:
        return {one.conversation_id: one for one in bench.production.conversations(connection, numbers)}


def _result(rows: Sequence[PlanRow], changed: int, already: bool) -> str:
    of = counted(len(rows), "conversation")
    if changed:
        return f"{changed} of {of} changed"
    return f"nothing changed: the plan was applied by an earlier run ({of})" if already else f"nothing changed ({of})"


def _record(row: PlanRow, now: Mapping[ConversationId, Conversation], changed: set[ConversationId]) -> dict[str, Any]:
    held = now.get(row.conversation_id)
    return {
        "conversation": f"{row.conversation_id} {row.conversation}",
        "actor_now": (held.actor_name if held else None) or "none",
        "actor_before": row.old_actor or "none",
        "changed": row.conversation_id in changed,
        "runner_up": row.runner_up or "none",
        "decision": row.decision.value if row.decision else "none",
        "reason": row.reason,
    }
