"""Observes each new actor just before a plan is applied: its execution path, and the model that answers there.

The writer receives what was observed and compares it again under its locks.
"""

from __future__ import annotations

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import RuntimeFailure
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.models.model_ref import ModelRef, UnknownExecutionPath, parse_execution_path
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.plan import PlanRow, PromotionPlan, identity_hash
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.runtimes.registry import Runtimes


def observe(bench: Workbench, plan: PromotionPlan) -> list[Observed]:
    """Return each new actor's present path and model identity. Raises `PlanRefused` if they are not as measured."""
    rows = {row.new_actor_id: row for row in plan.changes if row.new_actor_id is not None}
    with Runtimes(bench.settings) as runtimes:  # new ones, with an empty cache
        return [_observed(bench, runtimes, actor_id, row) for actor_id, row in rows.items()]


def _observed(bench: Workbench, runtimes: Runtimes, actor_id: ActorId, row: PlanRow) -> Observed:
    with bench.database.engine.connect() as connection:
        actor = bench.production.actor_now(connection, actor_id)
    if actor is None:
        raise PlanRefused("actor_gone", {"actor_id": actor_id, "actor": row.new_actor})
    try:
        ref = parse_execution_path(actor.execution_path)
    except UnknownExecutionPath:
        ref = None
    if ref is None or ref.execution_path != row.execution_path:
        raise PlanRefused("actor_moved", {"actor": row.new_actor, "path": actor.execution_path})
    identity = _identity(runtimes, ref, row)
    if identity_hash(identity) != row.identity_hash:
        version = identity.runtime_version or "of unknown version"
        why = f"now it is {identity.name} {identity.digest or 'without a digest'} on {identity.runtime} {version}"
        raise PlanRefused("identity_changed", {"actor": row.new_actor, "why": why})
    return Observed(actor_id, actor.execution_path, identity_hash(identity))


def _identity(runtimes: Runtimes, ref: ModelRef, row: PlanRow) -> ModelIdentity:
    """Return the identity on the first named host where it is as measured, else on the first that tells it."""
    found: list[ModelIdentity] = []
    failures: list[str] = []
    for place in runtimes.places(ref):
        try:
            found.append(runtimes.of(place).describe(place))
        except RuntimeFailure as failure:
            failures.append(str(failure))
    if not found:
        raise PlanRefused("identity_unknown", {"actor": row.new_actor, "why": "; ".join(failures)})
    return next((one for one in found if identity_hash(one) == row.identity_hash), found[0])
