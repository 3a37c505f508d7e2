"""The work that is measured: a task with any number of cases, and a production database with any number of models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from sqlalchemy import create_engine, insert

from bench_pipeline.demo.sample_database import (
    actors,
    application,
    conversations,
    workflow_conversations,
    workflows,
)
from benchmarks.stub import Stub

CONVERSATION = 3336
_TEMPLATE = "Posting: {posting}\nSummary: {summary}\nReply [PASS] or [FAIL]."
_INSTRUCTIONS = "Judge the summary by the posting; begin with the tag.\n" * 30


@dataclass(frozen=True)
class Scenario:
    """How many models and cases, how long the stub takes for a call (ms), how often and with what it is measured."""

    models: int
    cases: int
    latency_ms: float
    rounds: int
    through_dagster: bool = False

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.models} x {self.cases} at {self.latency_ms:.0f} ms"

    @property
    def model_names(self) -> list[str]:
        """The stub's models."""
        return [f"m{number:03d}:latest" for number in range(self.models)]


def stub(scenario: Scenario) -> Stub:
    """Return the model server of a scenario."""
    return Stub(scenario.model_names, scenario.latency_ms, answer)


def answer(prompt: str) -> str:
    """Return the right verdict on a case."""
    return "[FAIL] it names another job" if "a bad summary" in prompt else "[PASS] it names the job"


def write_task(folder: Path, cases: int) -> None:
    """Write the task `grading` with this number of cases, half of each class."""
    home = folder / "testcases" / "grading"
    home.mkdir(parents=True)
    suite = {"task_type": "grading", "version": "1", "created": "2026-01-01", "test_cases": suite_cases(cases)}
    task = {
        "task": "grading",
        "description": "Synthetic.",
        "conversations": [CONVERSATION],
        "prompt": {"template": _INSTRUCTIONS + _TEMPLATE},
        "verdict": {"reader": "leading_tag"},
        "promotion": {"auto": [CONVERSATION]},
    }
    (home / "suite.json").write_text(json.dumps(suite), encoding="utf-8")
    (home / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def suite_cases(number: int) -> list[dict[str, object]]:
    """Return the cases as a suite holds them."""
    return [_case(index, ("PASS", "FAIL")[index % 2]) for index in range(number)]


def _case(index: int, verdict: str) -> dict[str, object]:
    return {
        "id": f"CASE_{index:04d}",
        "type": verdict,
        "difficulty": "easy",
        "posting_id": index,
        "summary": f"{'a good' if verdict == 'PASS' else 'a bad'} summary of posting {index}",
        "expected_verdict": verdict,
        "expected_scores": {"accuracy": 5, "completeness": 5, "formatting": 5},
        "reasoning": "synthetic",
        "posting": f"Posting {index}: a person is sought for a post.",
    }


def prompts(number: int) -> list[str]:
    """Return prompts of the same length as the task's, for a program that knows no suite."""
    return [f"{'Judge the summary. ' * 85}{case['posting']} {case['summary']}" for case in suite_cases(number)]


def write_production(url: str, models: Sequence[str]) -> None:
    """Make a production database whose actors are these models; the first one serves the task's conversation."""
    rows = [
        {
            "actor_id": number,
            "actor_name": name,
            "actor_type": "ai_model",
            "execution_path": f"ollama:{name}",
            "enabled": True,
        }
        for number, name in enumerate(models, start=1)
    ]
    step = {"workflow_id": 1, "conversation_id": CONVERSATION, "execution_order": 1}
    served = {"conversation_id": CONVERSATION, "conversation_name": "Grade", "actor_id": 1}
    engine = create_engine(url)
    with engine.begin() as connection:
        application.create_all(connection)
        connection.execute(insert(actors), rows)
        connection.execute(insert(conversations), served)
        connection.execute(insert(workflows), {"workflow_id": 1, "workflow_name": "Synthetic"})
        connection.execute(insert(workflow_conversations), step)
    engine.dispose()
