"""The suites that come with the program are sound and balanced."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench_pipeline.benchmark.preparation import prepare_from_files
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.settings import Settings

SHIPPED = Path(__file__).parents[2] / "testcases"
SHIPPED_TASKS = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())


def test_suites_ship_with_the_program() -> None:
    assert {"desk", "grading", "grading_injection", "extraction", "formatting"} <= set(SHIPPED_TASKS)


@pytest.mark.parametrize("name", SHIPPED_TASKS)
def test_a_shipped_suite_is_sound_and_has_five_cases_of_each_of_two_classes(name: str) -> None:
    prepared = prepare_from_files(Settings(testcases_dir=SHIPPED), name)
    verdicts = Counter(case.expected_verdict for case in prepared.suite.test_cases if case.twin_of is None)
    assert set(verdicts.values()) == {5}
    assert len(verdicts) == 2
    assert len({case.difficulty for case in prepared.suite.test_cases}) > 1
    assert isinstance(prepared.task, Task)
