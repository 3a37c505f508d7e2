"""The rehearsal of the tests' own task and production. How a rehearsal works is in rehearsal.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench_pipeline_tests.kit.models import FINAL_PASSES
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.rehearsal.rehearsal import Rehearsal
from bench_pipeline_tests.kit.tasks import write_task


def rehearsal_of_grading(
    folder: Path, ollama_url: str, fill: Callable[[str], None] = fill_production, **variables: str
) -> Rehearsal:
    """A rehearsal of the task `grading` over this Ollama server; `fill` makes production in an empty database."""
    write_task(folder / "testcases")
    own = {
        "OLLAMA_HOST": ollama_url,
        "BENCH_TESTCASES_DIR": str(folder / "testcases"),
        "BENCH_FINAL_PASSES": str(FINAL_PASSES),
    }
    return Rehearsal(folder, fill, own | variables)
