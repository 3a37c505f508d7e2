"""`bench db prune`: which replies it removes, what stays, and who says later that they are gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from sqlalchemy import select, text, update

from bench_pipeline.benchmark.ranking import read_ranked
from bench_pipeline.reporting.report import render_report
from bench_pipeline.storage.locks import BENCHMARK
from bench_pipeline.storage.tables import benchmark_runs, metadata
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

KEEP = ("db", "prune", "--keep", "24m")
TEXTS = {"reply", "thinking", "pruned_at"}


def make_old(world: World, benchmark_id: str) -> None:
    """Let the benchmark have begun three years ago."""
    begun = datetime.now(UTC) - timedelta(days=3 * 365)
    of_it = benchmark_runs.c.benchmark_id == benchmark_id
    world.change(update(benchmark_runs).where(of_it).values(started_at=begun))


def everything_else(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of our tables without the texts of replies."""
    with world.owner.engine.connect() as connection:
        return {
            table.name: [
                tuple(map(repr, row))
                for row in connection.execute(
                    select(*(c for c in table.c if c.name not in TEXTS)).order_by(*table.primary_key)
                )
            ]
            for table in metadata.sorted_tables
        }


def with_replies(world: World) -> set[str]:
    """The benchmarks that still have all their replies."""
    query = text(
        "SELECT r.benchmark_id, count(*) - count(s.reply) FROM benchmark_samples s "
        "JOIN benchmark_model_runs r ON r.model_run_id = s.model_run_id GROUP BY r.benchmark_id"
    )
    with world.owner.engine.connect() as connection:
        return {benchmark_id for benchmark_id, missing in connection.execute(query) if not missing}


def ran(world: World, *names: str) -> str:
    return world.ranked(*names).benchmark.benchmark_id


def test_it_removes_the_replies_of_old_benchmarks_and_nothing_else(typed: Typed, world: World) -> None:
    old, young = ran(world, "fast", "wrong"), ran(world, "fast", "slow")
    make_old(world, old)
    before = everything_else(world)

    done = typed(*KEEP, "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    assert with_replies(world) == {young}
    assert everything_else(world) == before
    assert typed(*KEEP, "--yes").stdout.splitlines()[0].endswith(": 0 benchmarks, 0 calls, 0.0 million characters")


@ONE_ENGINE
def test_a_dry_run_says_how_much_it_would_remove_and_removes_nothing(typed: Typed, world: World) -> None:
    old = ran(world, "fast", "slow")
    make_old(world, old)

    done = typed(*KEEP, "--dry-run", "--json")

    said = json.loads(done.stdout)
    assert (done.returncode, said["removed"], said["found"]["benchmark_ids"]) == (0, False, [old])
    assert said["found"]["calls"] == len(world.rows("benchmark_samples", "sample_id"))
    assert said["found"]["characters"] > 0
    assert with_replies(world) == {old}


@ONE_ENGINE
def test_the_benchmark_that_production_rests_on_keeps_its_replies(typed: Typed, world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.apply(world.plan(ranked))
    make_old(world, ranked.benchmark.benchmark_id)

    done = typed(*KEEP, "--yes")

    assert "kept: the replies of 1 benchmarks that production or a later benchmark rests on" in done.stdout
    assert with_replies(world) == {ranked.benchmark.benchmark_id}


@ONE_ENGINE
def test_a_benchmark_whose_promotion_is_undone_loses_its_replies(typed: Typed, world: World) -> None:
    ranked = world.ranked("fast", "slow")
    world.apply(world.plan(ranked))
    make_old(world, ranked.benchmark.benchmark_id)
    typed("rollback")

    typed(*KEEP, "--yes")

    assert with_replies(world) == set()


@ONE_ENGINE
def test_model_runs_that_count_in_a_younger_benchmark_keep_their_replies(typed: Typed, world: World) -> None:
    lender = ran(world)
    borrower = world.ranked_among("fast").benchmark.benchmark_id
    make_old(world, lender)

    typed(*KEEP, "--yes")
    assert with_replies(world) == {lender, borrower}

    make_old(world, borrower)
    typed(*KEEP, "--yes")
    assert with_replies(world) == set()


@ONE_ENGINE
def test_a_benchmark_without_replies_is_not_judged_again(typed: Typed, world: World) -> None:
    old = ran(world, "fast", "slow")
    make_old(world, old)
    typed(*KEEP, "--yes")

    done = typed("rescore", "--task", "grading", "--save")

    assert done.returncode == 2
    assert f"the replies of {old} were removed on {datetime.now(UTC):%Y-%m-%d}" in done.stderr


@ONE_ENGINE
def test_a_report_says_that_the_replies_were_removed(typed: Typed, world: World) -> None:
    old = ran(world, "fast", "slow")
    make_old(world, old)
    before = render_report(read_ranked(world.database, old))
    typed(*KEEP, "--yes")

    after = render_report(read_ranked(world.database, old))

    (added,) = set(after.splitlines()) - set(before.splitlines())
    assert added.startswith(f"The replies of this benchmark were removed on {datetime.now(UTC):%Y-%m-%d}")


@ONE_ENGINE
def test_an_interrupted_benchmark_that_can_be_resumed_keeps_its_replies(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ran(world, "fast", "slow")
    make_old(world, old)
    world.change(update(benchmark_runs).values(status="running", finished_at=None))
    monkeypatch.setenv("BENCH_RESUME_HOURS", str(4 * 365 * 24))
    typed(*KEEP, "--yes")
    assert with_replies(world) == {old}

    monkeypatch.setenv("BENCH_RESUME_HOURS", "24")
    typed(*KEEP, "--yes")
    assert with_replies(world) == set()


@ONE_ENGINE
def test_it_asks_first(typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ran(world, "fast", "slow")
    make_old(world, old)
    asked = typed(*KEEP)
    assert (asked.returncode, "add --yes to agree" in asked.stderr) == (2, True)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda _: False)
    assert typed(*KEEP).returncode == 1
    assert with_replies(world) == {old}


@ONE_ENGINE
def test_it_waits_for_no_benchmark(typed: Typed, world: World) -> None:
    old = ran(world, "fast", "slow")
    make_old(world, old)

    with world.database.exclusive(BENCHMARK):
        done = typed(*KEEP, "--yes")

    assert (done.returncode, with_replies(world)) == (1, {old})
