"""The sample task: four cases, the conversations that it serves, and its folder.

The text of a case is not part of the template, so a prompt identifies its case.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

CASES = {
    "PASS_001": "the gardener of Elmsway Park, by name and place",
    "PASS_002": "the night nurse at Corvane Clinic",
    "FAIL_001": "a pleasant job in the fresh air",
    "FAIL_002": "a baker, though the posting seeks a welder",
}
TEMPLATE = "Posting: {posting}\nSummary: {summary}\nReply [PASS] or [FAIL]."
EXTRACT, GRADE_A, GRADE_B, IMPROVE, REGRADE, TICKET, FORMAT = range(3335, 3342)
SERVED = (GRADE_A, GRADE_B, REGRADE)


def suite_value(task: str = "grading") -> dict[str, Any]:
    """The four cases as `suite.json` holds them."""
    return {
        "task_type": task,
        "version": "1.0.0",
        "created": "2026-11-24",
        "test_cases": [
            {
                "id": case,
                "type": case[:4],
                "difficulty": "easy",
                "posting_id": number,
                "summary": summary,
                "expected_verdict": case[:4],
                "expected_scores": {"accuracy": 9, "completeness": 9, "formatting": 9},
                "reasoning": "made for the tests",
                "posting": "We seek a person for a post.",
            }
            for number, (case, summary) in enumerate(CASES.items(), start=1)
        ],
    }


def task_value(task: str = "grading", conversations: Sequence[int] = SERVED) -> dict[str, Any]:
    """A task for these conversations, all of which may change without an approval."""
    return {
        "task": task,
        "description": "Whether a summary is good enough.",
        "conversations": list(conversations),
        "prompt": {"conversation": GRADE_A, "template": TEMPLATE},
        "verdict": {"reader": "leading_tag"},
        "decoding": {"num_ctx": 2048, "num_predict": 32},
        "time_limit_s": 30,
        "promotion": {"auto": list(conversations)},
    }


def write_task(
    folder: Path,
    suite: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    name: str = "grading",
) -> Path:
    """Write the folder of a task below `folder` and return it."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    (home / "suite.json").write_text(json.dumps(suite or suite_value()), encoding="utf-8")
    (home / "task.yaml").write_text(yaml.safe_dump(dict(task or task_value())), encoding="utf-8")
    return home


def case_of(prompt: str) -> str:
    """The case that a prompt holds, or `warm-up`."""
    return next((case for case, summary in CASES.items() if summary in prompt), "warm-up")
