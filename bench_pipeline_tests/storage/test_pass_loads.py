"""What else ran during a pass, as stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from bench_pipeline.domain.measuring.pass_load import GpuUse, PassLoad
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.copies import copy_model_run
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.pass_loads import pass_loads_of, record_pass_load
from bench_pipeline_tests.storage.test_benchmarks import ROW, begun

QUIET = PassLoad(1, 0.25)
BUSY = PassLoad(1, 1.9, (GpuUse(0, "game", 10**9, 0.5), GpuUse(1, "idle")))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(open_database(database_url)) as database:
        yield database


@pytest.mark.parametrize("load", [QUIET, BUSY, replace(QUIET, gpu_others=())])
def test_a_load_is_read_back_as_it_was_recorded(database: Database, load: PassLoad) -> None:
    with database.writing() as connection:
        run = begun(connection)
        record_pass_load(connection, run, load)
        assert pass_loads_of(connection, [run]) == {run: [load]}


def test_loads_are_read_in_the_order_of_the_passes(database: Database) -> None:
    with database.writing() as connection:
        run = begun(connection)
        for number in (3, 1, 2):
            record_pass_load(connection, run, replace(QUIET, repeat=number))
        assert [one.repeat for one in pass_loads_of(connection, [run])[run]] == [1, 2, 3]


@pytest.mark.parametrize("parts", [(QUIET, BUSY), (BUSY, QUIET)])
def test_of_a_pass_in_two_parts_the_busier_one_stays(database: Database, parts: tuple[PassLoad, ...]) -> None:
    with database.writing() as connection:
        run = begun(connection)
        for part in parts:
            record_pass_load(connection, run, part)
        assert pass_loads_of(connection, [run]) == {run: [BUSY]}


def test_a_copied_model_run_keeps_its_loads(database: Database) -> None:
    with database.writing() as connection:
        run = begun(connection)
        record_pass_load(connection, run, BUSY)
        store.insert_benchmark(connection, replace(ROW, benchmark_id="copy"))
        copied = copy_model_run(connection, run, "copy")
        assert pass_loads_of(connection, [run, copied]) == {run: [BUSY], copied: [BUSY]}


def test_a_deleted_model_run_takes_its_loads_with_it(database: Database) -> None:
    with database.writing() as connection:
        run = begun(connection)
        record_pass_load(connection, run, BUSY)
        store.delete_model_run(connection, run)
        assert pass_loads_of(connection, [run]) == {run: []}
