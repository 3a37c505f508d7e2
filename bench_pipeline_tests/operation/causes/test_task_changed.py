"""What a task measures changed since its last benchmark: which part, and what does not count as a change."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from sqlalchemy import update

from bench_pipeline.domain.errors import FileRefused
from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding
from bench_pipeline.operation.causes.task_changed import find_task_changed
from bench_pipeline.storage.tables import benchmark_runs
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import SLOW
from bench_pipeline_tests.kit.tasks import GRADE_A, suite_value, task_value
from bench_pipeline_tests.kit.world import World

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def found_in(world: World) -> list[Finding]:
    return find_task_changed(world.bench, "grading", world.candidates(), NOW)


def write_suite(world: World, value: dict[str, Any]) -> None:
    (world.folder / "testcases" / "grading" / "suite.json").write_text(json.dumps(value), encoding="utf-8")


def write_task_file(world: World, **changes: object) -> None:
    text = yaml.safe_dump(task_value() | changes)
    (world.folder / "testcases" / "grading" / "task.yaml").write_text(text, encoding="utf-8")


def with_case(number: int, **changes: object) -> dict[str, Any]:
    suite = suite_value()
    suite["test_cases"][number] |= changes
    return suite


def a_case_changed(world: World) -> None:
    write_suite(world, with_case(0, summary="another summary"))


def a_case_replaced(world: World) -> None:
    write_suite(world, with_case(0, id="PASS_009"))


def a_label_changed(world: World) -> None:
    write_suite(world, with_case(0, expected_scores={"accuracy": 8, "completeness": 9, "formatting": 9}))


def a_version_raised(world: World) -> None:
    write_suite(world, suite_value() | {"version": "1.1.0"})


def productions_prompt_changed(world: World) -> None:
    world.set_template(GRADE_A, "Judge {summary} by {posting}.")


def the_labels_changed(world: World) -> None:
    verdict = {"reader": "leading_tag", "labels": {"PASS": ["PASS", "OK"], "FAIL": ["FAIL"]}}
    write_task_file(world, verdict=verdict)


def the_reading_changed(world: World) -> None:
    write_task_file(world, verdict={"reader": "final_line"})


def the_reader_changed(world: World) -> None:
    """An older program measured it."""
    changed = {"reader_version": "2", "evidence_key": "0" * 64}
    world.change(update(benchmark_runs).values(changed))


def a_decoding_option_changed(world: World) -> None:
    write_task_file(world, decoding={"num_ctx": 4096, "num_predict": 32})


def a_setting_changed(world: World) -> None:
    world.configure(repeats=2, batch_size=7)


CHANGES = {
    a_case_changed: "the suite: 1 case changed",
    a_case_replaced: "the suite: 1 case added, 1 case removed",
    a_label_changed: "the gold labels of 1 case",
    a_version_raised: "the suite, version 1.1.0 instead of 1.0.0",
    productions_prompt_changed: "the prompt (conversation 3336)",
    the_labels_changed: "the labels of the verdict",
    the_reading_changed: "how a verdict is read (verdict in task.yaml)",
    the_reader_changed: "the reader of verdicts, version 3 instead of 2",
    a_decoding_option_changed: "the protocol: decoding.num_ctx 4096 instead of 2048",
    a_setting_changed: "the protocol: batch_size 7 instead of 5; the protocol: repeats 2 instead of 1",
}


@ONE_ENGINE
@pytest.mark.parametrize(("change", "says"), CHANGES.items(), ids=[one.__name__ for one in CHANGES])
def test_a_change_is_found_and_says_what_changed(world: World, change: Callable[[World], None], says: str) -> None:
    benchmark_id = world.ranked("slow").benchmark.benchmark_id
    assert found_in(world) == []

    change(world)

    (finding,) = found_in(world)
    assert (finding.cause, finding.cause.action, finding.models) == (Cause.TASK_CHANGED, Action.MEASURE, None)
    assert finding.why == f"changed since benchmark {benchmark_id}: {says}"


def test_a_cause_ends_with_a_benchmark_of_the_task_as_it_is_and_another_change_is_another_cause(world: World) -> None:
    world.ranked("slow")
    a_case_changed(world)
    (first,) = found_in(world)
    world.ranked("slow")
    assert found_in(world) == []

    productions_prompt_changed(world)
    (second,) = found_in(world)

    assert first.evidence != second.evidence
    assert second.why.endswith(": the prompt (conversation 3336)")


@ONE_ENGINE
def test_a_change_that_is_taken_back_needs_no_benchmark(world: World) -> None:
    world.ranked("slow")
    a_case_changed(world)
    write_suite(world, suite_value())
    assert found_in(world) == []


@ONE_ENGINE
def test_a_benchmark_under_other_terms_is_no_change_and_hides_none(world: World) -> None:
    own = world.ranked("slow").benchmark.benchmark_id
    world.ranked("slow", repeats=3)
    assert found_in(world) == []

    a_label_changed(world)

    (finding,) = found_in(world)
    assert finding.why == f"changed since benchmark {own}: the gold labels of 1 case"


@ONE_ENGINE
def test_a_task_that_was_never_measured_is_left_to_a_person(world: World) -> None:
    a_case_changed(world)
    assert found_in(world) == []


@ONE_ENGINE
def test_other_models_and_another_incumbent_are_no_change_of_the_task(world: World) -> None:
    world.ranked("slow")
    world.set_actor(SLOW, enabled=False)
    world.give(GRADE_A, 1)
    assert found_in(world) == []


@ONE_ENGINE
def test_a_faulty_suite_is_refused_and_not_taken_for_a_change(world: World) -> None:
    world.ranked("slow")
    write_suite(world, {"test_cases": []})
    with pytest.raises(FileRefused):
        found_in(world)
