"""Checks on the champion registry: of what is in production now, over all tasks. The rules are in domain/promoting."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from bench_pipeline.assets.checks import warned
from bench_pipeline.assets.documents import CHAMPION_REGISTRY
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.domain.promoting.concerns import no_way_back, old_evidence, other_than_champion
from bench_pipeline.domain.promoting.holders import ways_back
from bench_pipeline.promotion.holders import conversation_holders
from bench_pipeline.storage.champions import measured_at

_SPECS = [
    dg.AssetCheckSpec(
        "production_equals_registry",
        asset=CHAMPION_REGISTRY,
        description="Every conversation still has the actor that a benchmark set or confirmed.",
    ),
    dg.AssetCheckSpec(
        "evidence_is_recent",
        asset=CHAMPION_REGISTRY,
        description="Every champion was measured within BENCH_PROMOTION_EVIDENCE_DAYS.",
    ),
    dg.AssetCheckSpec(
        "ways_back_are_installed",
        asset=CHAMPION_REGISTRY,
        description="The actor before each champion, and its runner-up, are enabled and installed.",
    ),
]


@dg.multi_asset_check(name="champion_registry_checks", specs=_SPECS)
def registry_checks(
    context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource
) -> Iterator[dg.AssetCheckResult]:
    """Compare production with the registry, and tell how old and how reversible its champions are."""
    with workbench.open() as bench:
        found = conversation_holders(bench)
        with bench.database.engine.connect() as connection:
            measured = measured_at(connection)
        limit_days = bench.settings.promotion_evidence_days
        ways = ways_back(found, workbench.candidates(bench, context.run.run_id)) if found else []
    moments = {one.conversation: measured[one.conversation_id] for one in found if one.conversation_id in measured}
    n = len(found)
    yield warned("production_equals_registry", other_than_champion(found), f"{n} conversations have their champion")
    old = old_evidence(moments, datetime.now(UTC), limit_days)
    yield warned("evidence_is_recent", old, f"n={len(moments)} champions, none measured over {limit_days:g} days ago")
    yield warned("ways_back_are_installed", no_way_back(ways), f"n={len(ways)} ways back, none missing")
