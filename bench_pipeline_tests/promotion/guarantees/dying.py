"""The `bench` command in a process of its own that dies where a test says, and what it leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench_pipeline.reporting.workflow_docs import write_documents
from bench_pipeline_tests.kit.shell import Shell
from bench_pipeline_tests.kit.world import World

STATUS = 9
AFTER_THE_COMMIT = f"""
import os
from bench_pipeline.storage.writers.postgresql import PostgresqlWriter
from bench_pipeline.storage.writers.sqlite import SqliteWriter

def dying(apply):
    def apply_and_die(*arguments):
        apply(*arguments)
        os._exit({STATUS})
    return apply_and_die

for writer in (SqliteWriter, PostgresqlWriter):
    writer.apply = dying(writer.apply)
"""
BEFORE_THE_UNDOING = f"""
import os
from bench_pipeline.promotion import validation

validation.undo_failed = lambda *arguments: os._exit({STATUS})
"""
KILLED_WHILE_WRITING = """
import os, signal
from bench_pipeline.reporting import files

fsync, left = os.fsync, {whole}

def sync_or_die(handle):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(handle)

files.os.fsync = sync_or_die
"""
_MAIN = """
from bench_pipeline.cli.main import main
main()
"""


def bench_dying(shell: Shell, how: str, *arguments: str) -> int:
    """Run the command in a process that is broken so, and return how it ended."""
    done = subprocess.run(
        [sys.executable, "-c", how + _MAIN, *arguments],
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        check=False,
        timeout=120,
    )
    return done.returncode


def documents(folder: Path) -> dict[str, bytes]:
    """The documents below a folder by their paths; a file without a name of its own is none."""
    found = [path for path in folder.rglob("*.*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def written(world: World) -> dict[str, bytes]:
    """The documents where the pipeline writes them."""
    return documents(world.folder / "production")


def as_the_database_says(world: World, folder: str = "anew") -> dict[str, bytes]:
    """The documents as they are written from the database alone, into a folder that is empty."""
    place = world.folder / folder
    write_documents(world.database, world.production, place, world.settings.max_model_bytes)
    return documents(place)


def open_intents(world: World) -> int:
    """How many promotions still owe their documents."""
    return [done for (done,) in world.rows("benchmark_intents", "done_at")].count(None)
