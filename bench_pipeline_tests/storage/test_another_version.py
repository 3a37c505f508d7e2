"""What depends on the version of PostgreSQL works on a second one, where this machine has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import insert, text

from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.storage.tables import AUDIT, metadata
from bench_pipeline_tests.kit.engines import ON_ANOTHER_VERSION
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.production import PRODUCTION
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.benchmark_of_fast import store_benchmark
from bench_pipeline_tests.promotion.refused_evidence import TABLE
from bench_pipeline_tests.storage.broken.test_broken_databases import faults_told

FIRST_WAY = dict(reversed(TABLE))
"""For each reason the first set-up that leads to it."""


@ON_ANOTHER_VERSION
def test_an_installed_database_is_well_and_production_is_changed_and_changed_back(world: World, typed: Typed) -> None:
    assert faults_told(typed) == {}
    world.ranked("fast", "slow")

    promoted = json.loads(typed("promote", "--task", "grading", "--json").stdout)
    assert (promoted["promotion"]["promotion_id"], promoted["validation"]["passed"]) == (1, True)
    assert world.holds() == [FAST] * 3
    assert typed("rollback", "1").returncode == 0
    assert world.holds() == [SLOW] * 3


@ON_ANOTHER_VERSION
def test_a_plan_is_refused_for_every_reason(world: World) -> None:
    """The tables are filled anew for each, in one database, which is much faster than a database for each."""
    told, rows = {}, world.snapshot()
    for reason, set_up in FIRST_WAY.items():
        store_benchmark(world)
        attempt = set_up(world)
        with pytest.raises(PlanRefused) as refused:
            world.bench.writer.apply(attempt.plan_hash, "the tests", None, list(attempt.seen))
        told[reason] = refused.value.reason
        start_anew(world, rows)
    assert told == {reason: reason for reason in FIRST_WAY}


def start_anew(world: World, rows: Mapping[str, Sequence[tuple[object, ...]]]) -> None:
    """Take back what a set-up did: our tables empty and guarded, production as it was, and nothing meddles with it."""
    tables = PRODUCTION.sorted_tables
    world.change(
        text("SET LOCAL session_replication_role = replica"),
        text(f"TRUNCATE {', '.join([*metadata.tables, *PRODUCTION.tables])} RESTART IDENTITY"),
        *(text(f"ALTER TABLE {table.name} ENABLE TRIGGER USER") for table in AUDIT),
        text("DROP FUNCTION IF EXISTS meddle() CASCADE"),
        text("DROP INDEX IF EXISTS alone"),
        *(insert(table).values(rows[table.name]) for table in tables if rows[table.name]),
    )
