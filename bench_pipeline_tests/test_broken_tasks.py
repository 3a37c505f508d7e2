"""A broken task takes down itself alone: the others load, tick and run, and the broken one is named once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench_pipeline_tests.kit.daemon import requests_of, tick
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import BROKEN, FAST
from bench_pipeline_tests.kit.pipeline import Pipeline, failures_of
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import suite_value, task_value, write_task

pytestmark = ONE_ENGINE


def text_that_is_not_yaml(folder: Path) -> str:
    write_task(folder, suite_value("other"), task_value("other", ()), "other")
    (folder / "other" / "task.yaml").write_text("task: [", encoding="utf-8")
    return "other"


def a_faulty_suite(folder: Path) -> str:
    write_task(folder, suite_value("other") | {"test_cases": []}, task_value("other", ()), "other")
    return "other"


def a_suite_of_another_task(folder: Path) -> str:
    write_task(folder, suite_value("grading"), task_value("other", ()), "other")
    return "other"


def no_suite(folder: Path) -> str:
    (write_task(folder, suite_value("other"), task_value("other", ()), "other") / "suite.json").unlink()
    return "other"


def no_task_file(folder: Path) -> str:
    (write_task(folder, suite_value("other"), task_value("other", ()), "other") / "task.yaml").unlink()
    return "other"


def a_name_that_no_task_has(folder: Path) -> str:
    write_task(folder, suite_value("other"), task_value("other", ()), "My Task-2!")
    return "My Task-2!"


def a_name_of_a_job(folder: Path) -> str:
    write_task(folder, suite_value("all"), task_value("all", ()), "all")
    return "all"


def a_wrong_setting(folder: Path) -> str:
    write_task(folder, suite_value("other"), task_value("other", ()) | {"time_limit_s": "soon"}, "other")
    return "other"


def a_prompt_of_no_task(folder: Path) -> str:
    write_task(folder, suite_value("other"), task_value("other", ()) | {"prompt": {"task": "nowhere"}}, "other")
    return "other"


def a_file_that_is_a_directory(folder: Path) -> str:
    (folder / "other" / "task.yaml").mkdir(parents=True)
    return "other"


FAULTS = [
    text_that_is_not_yaml,
    a_faulty_suite,
    a_suite_of_another_task,
    no_suite,
    no_task_file,
    a_name_that_no_task_has,
    a_name_of_a_job,
    a_wrong_setting,
    a_prompt_of_no_task,
    a_file_that_is_a_directory,
]
Break = Callable[[Path], str]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_definitions_load_and_name_it_once(pipeline: Pipeline, fault: Break) -> None:
    name = fault(pipeline.world.folder / "testcases")

    described = [spec.description or "" for spec in pipeline.definitions.resolve_all_asset_specs()]
    jobs = {job.name for job in pipeline.definitions.resolve_all_job_defs()}

    assert sum(f"{name}: " in text and "This task cannot be used" in text for text in described) == 1
    assert {"benchmark_all", "benchmark_grading", "reconcile"} <= jobs
    assert f"benchmark_{name}" not in jobs - {"benchmark_all"}


@pytest.mark.parametrize("fault", [text_that_is_not_yaml, a_name_that_no_task_has])
def test_the_job_of_all_tasks_promotes_the_others_and_fails_with_the_faults(pipeline: Pipeline, fault: Break) -> None:
    name = fault(pipeline.world.folder / "testcases")

    result = pipeline.run(job="benchmark_all", fails=True)

    assert name in failures_of(result)
    assert pipeline.world.holds() == [FAST] * 3
    assert pipeline.metadata("grading/validation")["passed"] is True


def test_the_job_of_another_task_does_not_notice(pipeline: Pipeline) -> None:
    a_faulty_suite(pipeline.world.folder / "testcases")

    pipeline.run()

    assert pipeline.world.holds() == [FAST] * 3


@pytest.mark.parametrize("broken_at_load", [True, False])
def test_the_sensor_ticks_for_the_others(pipeline: Pipeline, broken_at_load: bool) -> None:
    folder = pipeline.world.folder / "testcases"
    write_task(folder, suite_value("other"), task_value("other", ()), "other")
    pipeline.world.remove_actor(BROKEN)
    pipeline.world.remove_actor(FAST)
    if broken_at_load:
        a_faulty_suite(folder)
    pipeline.run()
    a_faulty_suite(folder)
    pipeline.world.add_actor(FAST, "fast", "ollama:fast:1b")

    requests = requests_of(tick(pipeline))

    assert [request.job_name for request in requests] == ["benchmark_grading"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_names_it_once(typed: Typed, pipeline: Pipeline, fault: Break) -> None:
    name = fault(pipeline.world.folder / "testcases")

    findings = json.loads(typed("doctor", "--json").stdout)

    assert [line["what"] for line in findings if not line["ok"] and name in line["what"]] == [f"task {name}"]
    assert any(line["what"] == "test cases" and line["ok"] and "grading" in line["text"] for line in findings)
