"""A sound suite of two cases, and ways to change it and to read what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.tasks.suite import Suite, parse_suite

FILE = "testcases/grading/suite.json"
PLACEHOLDERS = ("[TBD]", "[TODO]", "[todo]", "[INSERT SUMMARY HERE]", "[placeholder 3]", "Lorem ipsum dolor")
BLANKS = (" ", "\t\n", "...", "…", ". . .")
Change = Callable[[dict[str, Any]], object]


def case_of(number: int, verdict: str) -> dict[str, Any]:
    return {
        "id": f"{verdict}_{number}",
        "type": verdict,
        "difficulty": "easy",
        "posting_id": 5100 + number,
        "summary": f"Gardener in Derby, {number} hedges.",
        "expected_verdict": verdict,
        "expected_scores": {"accuracy": 10, "completeness": 9, "formatting": 8},
        "reasoning": "All facts agree.",
        "posting": f"Elmsway Park in Derby seeks a gardener for {number} hedges.",
    }


def document() -> dict[str, Any]:
    return {
        "task_type": "grading",
        "version": "1.0.0",
        "created": "2026-11-24",
        "test_cases": [case_of(1, "PASS"), case_of(2, "FAIL")],
    }


def changed(*changes: Change) -> dict[str, Any]:
    value = document()
    for change in changes:
        change(value)
    return value


def field(name: str, value: object, case: int = 0) -> Change:
    return lambda document: document["test_cases"][case].update({name: value})


def parsed(value: object) -> Suite:
    return parse_suite(json.dumps(value).encode(), FILE)


def faults_of(raw: bytes) -> tuple[Fault, ...]:
    with pytest.raises(FileRefused) as refused:
        parse_suite(raw, FILE)
    return refused.value.faults


def faults(*changes: Change) -> tuple[Fault, ...]:
    return faults_of(json.dumps(changed(*changes)).encode())
