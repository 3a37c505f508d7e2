"""The work that is measured: a stub that answers one call at a time, a suite of any size, a world of any size."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from sqlalchemy import create_engine, insert

from bench_pipeline_tests.fakes.ollama_server import FakeModel, FakeOllama, Record
from bench_pipeline_tests.world import (
    PRODUCTION,
    TEMPLATE,
    actors,
    conversations,
    workflow_conversations,
    workflows,
)

_INSTRUCTIONS = "Judge the summary by the posting; begin with the tag.\n" * 30


@dataclass(frozen=True)
class Scenario:
    """How many models and cases, and how long the stub takes for a call (ms)."""

    models: int
    cases: int
    latency_ms: float

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.models} x {self.cases} at {self.latency_ms:.0f} ms"

    @property
    def model_names(self) -> list[str]:
        """The stub's models."""
        return [f"m{number:03d}:latest" for number in range(self.models)]


def stub(scenario: Scenario) -> FakeOllama:
    """Return the server: single-flight, every answer right."""
    models = {name: FakeModel(answers=_answer, latency_ms=scenario.latency_ms) for name in scenario.model_names}
    return FakeOllama(models, single_flight=True)


def _answer(prompt: str) -> str:
    return "[FAIL] it does not" if "a bad summary" in prompt else "[PASS] it does"


def write_suite(folder: Path, cases: int) -> None:
    """Write the task `grading` with so many cases, half of each class."""
    home = folder / "testcases" / "grading"
    home.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": f"CASE_{number:04d}",
            "type": verdict,
            "difficulty": "easy",
            "posting_id": number,
            "summary": f"{'a good' if verdict == 'PASS' else 'a bad'} summary of posting {number}",
            "expected_verdict": verdict,
            "expected_scores": {"accuracy": 5, "completeness": 5, "formatting": 5},
            "reasoning": "synthetic",
            "posting": f"Posting {number}: a person is sought for a post.",
        }
        for number in range(cases)
        for verdict in [("PASS", "FAIL")[number % 2]]
    ]
    suite = {"task_type": "grading", "version": "1", "created": "2026-01-01", "test_cases": rows}
    task = {
        "task": "grading",
        "description": "Synthetic.",
        "conversations": [3336],
        "prompt": {"template": _INSTRUCTIONS + TEMPLATE},
        "verdict": {"reader": "leading_tag"},
    }
    (home / "suite.json").write_text(json.dumps(suite), encoding="utf-8")
    (home / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def write_world(url: str, models: Sequence[str]) -> None:
    """Make a production database whose actors are these models."""
    engine = create_engine(url)
    with engine.begin() as connection:
        PRODUCTION.create_all(connection)
        connection.execute(
            insert(actors),
            [
                {
                    "actor_id": number,
                    "actor_name": name,
                    "actor_type": "ai_model",
                    "execution_path": f"ollama:{name}",
                    "enabled": True,
                }
                for number, name in enumerate(models, start=1)
            ],
        )
        connection.execute(
            insert(conversations), {"conversation_id": 3336, "conversation_name": "Grade", "actor_id": 1}
        )
        connection.execute(insert(workflows), {"workflow_id": 1, "workflow_name": "Synthetic"})
        connection.execute(
            insert(workflow_conversations), {"workflow_id": 1, "conversation_id": 3336, "execution_order": 1}
        )
    engine.dispose()


def busy_s(log: Sequence[Record]) -> float:
    """Return how long the stub was answering anything, seconds: the union of its requests' spans."""
    spans = sorted((record.arrived_ns, record.answered_ns) for record in log if record.answered_ns is not None)
    total, end = 0, 0
    for begun, ended in spans:
        total += max(0, ended - max(begun, end))
        end = max(end, ended)
    return total / 1e9


def service_ms(log: Sequence[Record]) -> float:
    """Return the median time that the stub took for a call with a prompt, milliseconds."""
    return statistics.median(
        (record.answered_ns - record.arrived_ns) / 1e6
        for record in log
        if record.path == "/api/chat" and record.body["messages"] and record.answered_ns is not None
    )


def loads(log: Sequence[Record]) -> int:
    """Return how often the stub loaded a model."""
    return sum(record.loaded for record in log)
