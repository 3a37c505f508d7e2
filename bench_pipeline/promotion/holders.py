"""Reads who carries out the conversations that a benchmark decided upon. The value is in domain/promoting/."""

from __future__ import annotations

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.promoting.holders import Holder, holders
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.promotions import all_promotions


def conversation_holders(bench: Workbench) -> list[Holder]:
    """Return the conversations of the champion registry with their actors now and before."""
    with bench.database.engine.connect() as connection:
        champions = all_champions(connection)
        wanted = [champion.conversation_id for champion in champions]
        now = bench.production.conversations(connection, wanted)
        changes = all_promotions(connection)
    return holders({one.conversation_id: (one.name, one.actor_id, one.actor_name) for one in now}, champions, changes)
