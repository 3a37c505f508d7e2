"""The conversations that tasks list, held against production's: the remedy can be written as it stands."""

from __future__ import annotations

import pytest

from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.tasks.served import served_faults
from bench_pipeline.domain.tasks.strict_yaml import strict_yaml
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline_tests.kit.tasks import task_value


@pytest.mark.parametrize(
    "kept",
    [
        [3336, 3337],
        ["3336", "0x10", "007"],
        ["abcdef00-0000-4000-8000-000000003336"],
        ['a "b"', "c, d", "e: f", "# g", "[h]", "yes", "ü😀", "i\nj", "~", "- k"],
    ],
)
def test_the_remedy_lists_what_exists_as_yaml_reads_it_back(kept: list[ConversationId]) -> None:
    task = Task.model_validate(task_value() | {"conversations": [*kept, "gone"], "promotion": {}})

    (fault,) = served_faults({"grading/task.yaml": task}, [*kept, "other"])

    assert fault.problem == "conversation gone does not exist in production"
    assert strict_yaml(fault.remedy.removeprefix("write `").removesuffix("`")) == {"conversations": kept}
