"""G12: the documents are a function of the database alone, and a write that fails leaves the old file whole."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from subprocess import CompletedProcess

import pytest

from bench_pipeline.promotion import reconciliation as reconciling
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.tasks import EXTRACT
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.dying import (
    KILLED_WHILE_WRITING,
    as_the_database_says,
    bench_dying,
    documents,
    open_intents,
    written,
)

pytestmark = pytest.mark.usefixtures("hurried")

DOCUMENTS = 3  # those that a promotion changes: one workflow's, and the registry twice


@pytest.fixture
def owed(typed: Typed, world: World) -> dict[str, bytes]:
    """The documents of before a promotion, which are out of date now."""
    ranked = world.ranked("fast", "slow")
    typed("docs")
    before = written(world)
    world.apply(world.plan(ranked))
    return before


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def reconcile_on_a_full_disk(typed: Typed) -> CompletedProcess[str]:
    """The disk is full while documents are written, and at no other time: the database has one of its own."""
    write = reconciling.write_documents

    def without_room(database: Database, production: Production, folder: Path, max_model_bytes: int) -> list[Path]:
        with full_disk():
            return write(database, production, folder, max_model_bytes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconciling, "write_documents", without_room)
        return typed("reconcile")


def test_g12_on_a_full_disk_the_old_documents_stay_and_the_command_names_the_file(
    typed: Typed, world: World, owed: dict[str, bytes]
) -> None:
    done = reconcile_on_a_full_disk(typed)

    assert done.returncode == 2
    assert ".md: cannot be written: File too large; correct that or choose another folder" in done.stderr
    assert written(world) == owed
    assert list((world.folder / "production").rglob("*.tmp")) == []


def test_g12_documents_that_found_no_room_are_still_owed_and_written_next_time(
    typed: Typed, world: World, owed: dict[str, bytes]
) -> None:
    reconcile_on_a_full_disk(typed)
    assert open_intents(world) == 1

    typed("reconcile")

    assert written(world) == as_the_database_says(world)
    assert open_intents(world) == 0


@pytest.mark.parametrize("whole", range(DOCUMENTS), ids=["first document", "second document", "third document"])
def test_g12_a_process_that_is_killed_while_it_writes_leaves_whole_documents_and_they_are_still_owed(
    shell: Shell, world: World, owed: dict[str, bytes], whole: int
) -> None:
    new = as_the_database_says(world)

    killed = bench_dying(shell, KILLED_WHILE_WRITING.format(whole=whole), "reconcile")

    assert killed == -SIGKILL
    after = written(world)
    assert after.keys() == new.keys()
    assert after != new
    assert sum(after[path] == new[path] for path in after if owed[path] != new[path]) == whole
    assert all(after[path] in (owed[path], new[path]) for path in after)
    assert open_intents(world) == 1


@ONE_ENGINE
def test_g12_after_a_kill_the_next_reconcile_finishes(
    typed: Typed, shell: Shell, world: World, owed: dict[str, bytes]
) -> None:
    bench_dying(shell, KILLED_WHILE_WRITING.format(whole=1), "reconcile")

    typed("reconcile")

    assert written(world) == as_the_database_says(world)
    assert open_intents(world) == 0


@ONE_ENGINE
def test_g12_who_reads_a_document_while_it_is_replaced_reads_the_old_one_to_its_end(
    typed: Typed, world: World, owed: dict[str, bytes]
) -> None:
    with (world.folder / "production" / "champions.json").open("rb") as reader:
        typed("reconcile")

        assert reader.read() == owed["champions.json"]


def test_g12_the_documents_of_one_database_are_the_same_wherever_and_however_often_they_are_written(
    world: World, owed: dict[str, bytes]
) -> None:
    first = as_the_database_says(world, "first")

    assert set(first) == set(owed)
    assert as_the_database_says(world, "second") == first
    assert as_the_database_says(world, "first") == first


def test_g12_what_stands_in_a_document_does_not_find_its_way_into_the_next(typed: Typed, world: World) -> None:
    world.promoted()
    typed("docs")
    for path in documents(world.folder / "production"):
        (world.folder / "production" / path).write_bytes(b"somebody's note")

    typed("docs")

    assert written(world) == as_the_database_says(world)


def test_g12_the_documents_follow_the_database_there_and_back(typed: Typed, world: World) -> None:
    world.promoted()
    typed("docs")
    before = written(world)

    world.give(EXTRACT, None)
    typed("docs")
    assert written(world) != before
    world.give(EXTRACT, 2)
    typed("docs")

    assert written(world) == before
