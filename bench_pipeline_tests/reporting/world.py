"""A real database with production's tables, two measured actors and a champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, rank
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity
from bench_pipeline.domain.models.model_ref import parse_execution_path
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.reporting.workflow_docs import StepFacts, WorkflowFacts, read_workflows
from bench_pipeline.storage import benchmarks, champions
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.history import replace_history
from bench_pipeline.storage.production import Production, open_production
from bench_pipeline_tests.reporting.examples import benchmark

AT = datetime(2025, 3, 1, 3, 0, tzinfo=UTC)
LIMIT = 8_000_000_000
FAST, SLOW, SCRIPT, DISABLED, HUGE = 1, 2, 3, 4, 5
EXTRACT, GRADE_A, GRADE_B, REGRADE, TICKET = 3335, 3336, 3337, 3339, 3340
_PRODUCTION = f"""
CREATE TABLE actors (actor_id INTEGER, actor_name TEXT, actor_type TEXT, execution_path TEXT, enabled BOOLEAN);
CREATE TABLE conversations (conversation_id INTEGER, conversation_name TEXT, actor_id INTEGER);
CREATE TABLE workflows (workflow_id INTEGER, workflow_name TEXT);
CREATE TABLE workflow_conversations (workflow_id INTEGER, conversation_id INTEGER, execution_order INTEGER);
INSERT INTO actors VALUES ({FAST}, 'fast', 'ai_model', 'fast:1b', 1), ({SLOW}, 'slow', 'ai_model', 'ollama:slow:7b', 1),
    ({SCRIPT}, 'ticket.py', 'script', 'scripts/ticket.py', 1), ({DISABLED}, 'old', 'ai_model', 'old:3b', 0),
    ({HUGE}, 'huge', 'ai_model', 'huge:70b', 1);
INSERT INTO conversations VALUES ({EXTRACT}, 'Extract', {SLOW}), ({GRADE_A}, 'Grade A', {FAST}),
    ({GRADE_B}, 'Grade B', {SLOW}), ({REGRADE}, 'Regrade', {FAST}), ({TICKET}, 'Ticket', {SCRIPT});
INSERT INTO workflows VALUES (3001, 'Complete Job Processing Pipeline');
INSERT INTO workflow_conversations VALUES (3001, {EXTRACT}, 10), (3001, {GRADE_A}, 20), (3001, {GRADE_B}, 30),
    (3001, {TICKET}, 40), (3001, {REGRADE}, 50)
"""  # noqa: S608 - numbers of this module


@dataclass(frozen=True)
class World:
    """The database, and what the documents make of it."""

    database: Database
    production: Production

    def run(self, statement: str, **values: object) -> None:
        with self.database.writing() as connection:
            connection.execute(text(statement), values)

    def give(self, conversation_id: int, actor_id: int | None) -> None:
        self.run(
            "UPDATE conversations SET actor_id = :actor WHERE conversation_id = :conversation",
            actor=actor_id,
            conversation=conversation_id,
        )

    def workflow(self, max_model_bytes: int = LIMIT) -> WorkflowFacts:
        (facts,) = read_workflows(self.database, self.production, max_model_bytes)
        return facts

    def step(self, conversation_id: int, max_model_bytes: int = LIMIT) -> StepFacts:
        steps = self.workflow(max_model_bytes).steps
        return next(step for step in steps if step.conversation_id == conversation_id)

    def measure(self, benchmark_id: str, at: datetime, latencies: dict[int, float]) -> None:
        """Store a finished benchmark of grading in which these actors qualified."""
        names = {FAST: "fast:1b", SLOW: "slow:7b"}
        results = [
            ModelResult(names[actor], Standing.QUALIFIED, 4, 4, 100.0, 4, actor, latency, 1e6 / latency)
            for actor, latency in latencies.items()
        ]
        row = replace(benchmark(benchmark_id=benchmark_id, started_at=at), finished_at=None)
        with self.database.writing() as connection:
            benchmarks.insert_benchmark(connection, row)
            huge = Candidate("huge:70b", HUGE, None, None, Exclusion.TOO_LARGE, "40.0 GB, the limit is 8.0 GB")
            benchmarks.replace_candidates(connection, benchmark_id, [huge])
            for actor in latencies:
                ref = parse_execution_path(names[actor])
                identity = ModelIdentity(name=ref.address, runtime="ollama", size_bytes=actor * 2_000_000_000)
                candidate = Candidate(names[actor], actor, ref, identity)
                number = benchmarks.insert_model_run(connection, benchmark_id, candidate, identity, at)
                benchmarks.record_load(connection, number, LoadReport(load_ns=actor * 1_000_000_000))
            benchmarks.finish_benchmark(connection, benchmark_id, at)
            replace_history(connection, row, rank(results), {})

    def register(self, conversation_id: int, champion: int, runner_up: int | None) -> None:
        row = Champion(conversation_id, "grading", champion, runner_up, "grading-1", 120.0, AT)
        with self.database.writing() as connection:
            champions.restore_champion(connection, conversation_id, row)


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """A database below `folder` in which grading was measured once and has a champion for two of its steps."""
    database = open_database(f"sqlite:///{folder / 'bench.db'}")
    with database.writing() as connection:
        for statement in _PRODUCTION.split(";"):
            connection.execute(text(statement))
    world = World(database, open_production(database, {}))
    world.measure("grading-1", AT, {FAST: 120.0, SLOW: 480.0})
    world.register(GRADE_A, FAST, SLOW)
    world.register(GRADE_B, FAST, SLOW)
    yield world
    database.close()
